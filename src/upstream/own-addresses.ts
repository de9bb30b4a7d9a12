/**
 * The appliance's own addresses. Read again at intervals, since `outcall attach --isolate` plugs new networks into the
 * running appliance (threat 24).
 */
import { networkInterfaces } from 'node:os';
import type { Clock } from '../domain/clock.ts';
import { canonicalIp } from '../domain/ip.ts';

/** A network plugged in is known after this long at the latest; one reading costs some 50 us. */
const REREAD_AFTER_MS = 1_000;

/** A function that gives the canonical addresses of all interfaces, not older than a second. */
export function interfaceAddresses(clock: Clock): () => ReadonlySet<string> {
  let known: ReadonlySet<string> = new Set();
  let readAt = Number.NEGATIVE_INFINITY;
  return () => {
    const now = clock.now();
    // A clock that was set back must not freeze the answer.
    if (now - readAt >= REREAD_AFTER_MS || now < readAt) {
      known = readInterfaces();
      readAt = now;
    }
    return known;
  };
}

function readInterfaces(): ReadonlySet<string> {
  const found = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return new Set(found.map(({ address }) => canonicalIp(address)).filter((address) => address !== undefined));
}
