/** Looks up what a rule names beyond addresses (TXT, ...): at the servers of --upstream-dns, or at the system's. */
import { getServers } from 'node:dns';
import { systemClock } from '../domain/clock.ts';
import type { Host } from '../domain/hostname.ts';
import { StubResolver } from '../upstream/resolver.ts';
import { RecordResolver, type RecordSection } from '../upstream/resolver-records.ts';

/** A client waits 5 s (resolv.conf's default) before it asks again. */
const LOOKUP_TIMEOUT_MS = 4_000;

export function dnsRelay(upstreamDns: readonly string[]): (host: Host, type: number) => Promise<RecordSection> {
  const servers = upstreamDns.length > 0 ? upstreamDns : getServers();
  const resolver = new StubResolver({ servers, timeoutMs: LOOKUP_TIMEOUT_MS, clock: systemClock });
  const records = new RecordResolver(resolver, systemClock);
  return (host, type) => records.records(host, type);
}
