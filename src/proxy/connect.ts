/**
 * CONNECT, from the target to the 200 (threats 1, 11, 18).
 *   1. the target becomes facts
 *   2. policy: a block is a 403, and nothing has been resolved or dialled
 *   3. the name is resolved and its addresses classified, so that a failure can still be told in HTTP
 *   4. 200; then host-door.ts reads the first bytes, or a direct_ip rule relays them unread
 */

import { fieldValue } from '../domain/facts.ts';
import { asFailure, type FailureReason } from '../domain/failure.ts';
import type { Allow } from '../domain/verdict.ts';
import { parseConnectTarget } from '../wire/authority.ts';
import { escapeTargetForLog } from '../wire/escape.ts';
import type { RequestHead } from '../wire/http1-head.ts';
import { blockRefusal, failureRefusal, refusalBytes } from '../wire/refusal.ts';
import type { Flow } from './flow.ts';
import { HostDoor } from './host-door.ts';
import { blockedFlow, failedFlow, type OutcomeFields, verdictFields } from './outcome.ts';
import { closeAfter } from './refuse.ts';

const ESTABLISHED = Buffer.from('HTTP/1.1 200 Connection Established\r\n\r\n');
/** The longest target that is written to the audit record. */
const LOGGED_TARGET_CHARS = 256;

/** Serves a CONNECT whose head has been read; `rest` is what came after it. The socket has no listeners of ours. */
export function serveConnect(flow: Flow, head: RequestHead, rest: Buffer): void {
  const target = parseConnectTarget(head.target);
  if (!target.ok) {
    const shown = escapeTargetForLog(head.target, LOGGED_TARGET_CHARS);
    refuse(flow, head, { reason: 'invalid_host', detail: `${target.detail}: ${shown}` }, { host: shown });
    return;
  }
  const door = new HostDoor(flow, target.value.host, target.value.port, 'CONNECT');
  const verdict = door.decide();
  if (verdict.action === 'block') {
    blockedFlow(flow, verdict, { ...door.fields(), status: 403 });
    const refusal = blockRefusal(verdict, fieldValue(head.headers, 'accept'));
    closeAfter(flow, flow.raw, refusalBytes(refusal, { head: false, close: true }));
    return;
  }
  if (flow.deps.audit.blocked) {
    refuse(flow, head, { reason: 'audit_unavailable' }, door.fields());
    return;
  }
  void establish(flow, door, verdict, head, rest);
}

async function establish(flow: Flow, door: HostDoor, verdict: Allow, head: RequestHead, rest: Buffer): Promise<void> {
  door.phase('dns_timeout', verdict);
  let addresses: readonly string[];
  try {
    addresses = await flow.deps.upstream.resolve(door.origin(verdict));
  } catch (error) {
    if (flow.raw.destroyed) return;
    const failure = asFailure(error);
    refuse(flow, head, failure, { ...door.fields(), ...verdictFields(verdict) });
    return;
  }
  if (flow.raw.destroyed) return;
  flow.raw.write(ESTABLISHED);
  if (verdict.grant.mode === 'direct_ip' && !verdict.provisional) door.relay(verdict, addresses, rest);
  else door.read(verdict, addresses, rest);
}

function refuse(
  flow: Flow,
  head: RequestHead,
  failure: { readonly reason: FailureReason; readonly detail?: string | undefined },
  fields: OutcomeFields,
): void {
  const refusal = failureRefusal(failure.reason, fieldValue(head.headers, 'accept'));
  failedFlow(flow, failure, { ...fields, method: 'CONNECT', status: refusal.status });
  closeAfter(flow, flow.raw, refusalBytes(refusal, { head: false, close: true }));
}
