/**
 * The transparent door: connections that agents make to the synthetic address of a name, for any TCP port (threats 3, 13,
 * 14, 19). The name is what our DNS filter gave that address for; where the agent connects to says nothing else.
 *   1. the address becomes its name; an address that stands for none is refused
 *   2. policy; under a direct_ip rule the relay begins at once, since there the server may have to speak first
 *   3. host-door.ts reads the first bytes: TLS and HTTP as after a CONNECT, all else refused
 */
import type { Host } from '../domain/hostname.ts';
import type { Flow } from './flow.ts';
import { HostDoor } from './host-door.ts';
import { failedFlow } from './outcome.ts';

export interface SyntheticNames {
  /** The name that the DNS filter gave this address for; undefined for none. */
  hostOf(address: string): Promise<Host | undefined>;
}

const NO_BYTES = Buffer.alloc(0);

/** Takes the flow's socket over. Never rejects: each outcome is recorded. */
export async function serveTransparent(flow: Flow, names: SyntheticNames): Promise<void> {
  const { localAddress, localPort } = flow.raw;
  flow.raw.pause();
  const host = localAddress === undefined ? undefined : await names.hostOf(localAddress).catch(() => undefined);
  if (flow.raw.destroyed) return;
  if (host === undefined || localPort === undefined) {
    const detail = 'no name was resolved to this address';
    failedFlow(flow, { reason: 'invalid_host', detail }, { host: localAddress ?? null, port: localPort ?? null });
    flow.raw.resetAndDestroy();
    return;
  }
  const door = new HostDoor(flow, host, localPort, null);
  const verdict = door.decide();
  if (verdict.action === 'allow' && flow.deps.audit.blocked) {
    door.fail('audit_unavailable', undefined, verdict);
    flow.raw.resetAndDestroy();
  } else if (verdict.action === 'allow' && verdict.grant.mode === 'direct_ip' && !verdict.provisional) {
    door.relay(verdict, undefined, NO_BYTES);
  } else {
    door.read(verdict, undefined, NO_BYTES);
  }
}
