/**
 * How a network of one agent is laid out: who has which address of it. Docker's side and the daemon's side both go by
 * this, so nothing but the network itself need be told, and who speaks on it is settled by the interface (threats 22).
 */
import { type Ipv4, Ipv4Range } from './ipv4-range.ts';

/** 510 names at a time for each agent, and 256 agents in a range of 14 bits. */
export const SLICE_PREFIX = 22;
/** The narrowest with a pool that holds something; the widest is a whole usual network. */
const NARROWEST_PREFIX = 27;
const WIDEST_PREFIX = 16;
/** The first address of all is the network's, the next the bridge's, which has none but keeps it from others. */
const APPLIANCE = 2;
const AGENT = 3;

export interface IsolatedNetwork {
  readonly subnet: Ipv4Range;
  readonly appliance: Ipv4;
  /** The only address that is heard there. */
  readonly agent: Ipv4;
  /** The upper half: addresses that stand for names. */
  readonly pool: Ipv4Range;
}

/** Undefined where the subnet is too narrow or too wide. */
export function isolatedNetwork(subnet: Ipv4Range): IsolatedNetwork | undefined {
  const pool = subnet.upperHalf;
  if (pool === undefined || subnet.prefix > NARROWEST_PREFIX || subnet.prefix < WIDEST_PREFIX) return undefined;
  return { subnet, appliance: subnet.first + APPLIANCE, agent: subnet.first + AGENT, pool };
}

/** All that fit into the range, lowest first. */
export function* slicesOf(range: Ipv4Range): Generator<IsolatedNetwork> {
  const prefix = Math.max(SLICE_PREFIX, range.prefix);
  for (let slice = Ipv4Range.around(range.first, prefix); ; slice = Ipv4Range.around(slice.last + 1, prefix)) {
    const network = isolatedNetwork(slice);
    if (network !== undefined) yield network;
    if (slice.last >= range.last) return;
  }
}
