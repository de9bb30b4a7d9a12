/**
 * Which address an agent gets on its network: fixed, so that it is the same after each restart, and the same for the
 * same name where it is free. The engine's own range and the pool of synthetic addresses are left alone. Pure.
 */
import { createHash } from 'node:crypto';
import { formatIpv4, type Ipv4, Ipv4Range, parseIpv4 } from '../domain/ipv4-range.ts';

/** The lowest addresses of a network are for the bridge, the appliance and their like. */
const RESERVED_LOW = 16;

export interface AddressPlan {
  readonly subnet: string;
  /** What the engine gives to those that do not ask. */
  readonly ipRange: string | undefined;
  readonly taken: ReadonlySet<string>;
}

/** Dotted decimal; undefined where the network has no address left, or its subnet cannot be read. */
export function chooseAddress(plan: AddressPlan, name: string): string | undefined {
  const subnet = Ipv4Range.parse(plan.subnet);
  if (subnet === undefined || subnet.last - subnet.first < 4 * RESERVED_LOW) return undefined;
  const spans = fixedSpans(subnet, Ipv4Range.parse(plan.ipRange ?? ''));
  const count = spans.reduce((sum, span) => sum + lengthOf(span), 0);
  const start = createHash('sha256').update(name).digest().readUInt32BE(0);
  for (let step = 0; step < count; step++) {
    const candidate = formatIpv4(nth(spans, (start + step) % count));
    if (!plan.taken.has(candidate)) return candidate;
  }
  return undefined;
}

export function inAgentsHalf(address: string, subnetText: string): boolean {
  const subnet = Ipv4Range.parse(subnetText);
  const value = parseIpv4(address);
  return subnet !== undefined && value !== undefined && value > subnet.first && value <= lastOfAgents(subnet);
}

/** The lower half of the subnet is for agents, the upper half for the pool. */
function lastOfAgents(subnet: Ipv4Range): Ipv4 {
  return subnet.first + (subnet.last - subnet.first + 1) / 2 - 1;
}

/** First and last address, both within. */
type Span = readonly [Ipv4, Ipv4];

/** The agents' half without the engine's range, which cuts it into two at most. */
function fixedSpans(subnet: Ipv4Range, range: Ipv4Range | undefined): readonly Span[] {
  const [first, last] = [subnet.first + RESERVED_LOW, lastOfAgents(subnet)];
  if (range === undefined || range.first > last || range.last < first) return [[first, last]];
  const spans: readonly Span[] = [
    [first, range.first - 1],
    [Math.max(first, range.last + 1), last],
  ];
  return spans.filter((span) => lengthOf(span) > 0);
}

function lengthOf([first, last]: Span): number {
  return last - first + 1;
}

function nth(spans: readonly Span[], index: number): Ipv4 {
  let rest = index;
  for (const span of spans) {
    if (rest < lengthOf(span)) return span[0] + rest;
    rest -= lengthOf(span);
  }
  throw new RangeError(`there is no address ${index}`);
}
