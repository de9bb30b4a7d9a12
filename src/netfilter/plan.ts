/**
 * Where the agents' networks are plugged in: found by their addresses among the interfaces, each time anew, since a
 * network that is unplugged and plugged in again may come back under another name, and networks of one agent come and go.
 * An interface that is on none of them is outside; one that only looks like one of them is neither, and stays closed.
 */
import { networkInterfaces } from 'node:os';
import { formatIpv4, type Ipv4, Ipv4Range, parseIpv4 } from '../domain/ipv4-range.ts';
import { isolatedNetwork } from '../domain/isolated-network.ts';
import { LockFailure } from './lock-failure.ts';

/** What the options say. */
export interface AgentsRanges {
  readonly agentsSubnet: Ipv4Range;
  readonly pool: Ipv4Range;
  /** Where the networks of one agent are; undefined where there are none. */
  readonly isolated: Ipv4Range | undefined;
}

/** One of the agents' networks as it is plugged in. */
export interface PluggedNetwork {
  readonly interface: string;
  /** Ours. */
  readonly ownAddress: Ipv4;
  readonly subnet: Ipv4Range;
  readonly pool: Ipv4Range;
  /** The only agent there; undefined on the network that agents share. */
  readonly agent: Ipv4 | undefined;
}

export interface Plugged {
  /** The one that agents share comes first. */
  readonly networks: readonly PluggedNetwork[];
  /** Interfaces that lead elsewhere, in the order of their names. */
  readonly outside: readonly string[];
  /** Interfaces with an address of the isolated range that are no network of one agent, each with why. */
  readonly strange: readonly string[];
}

interface Place {
  readonly name: string;
  readonly address: Ipv4;
  readonly subnet: Ipv4Range;
}

/** Throws LockFailure where no interface, or more than one, has an address in the agents' subnet. */
export function findPlugged(
  ranges: AgentsRanges,
  interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces(),
): Plugged {
  const places = placesOf(interfaces);
  const isolated = places.filter(({ address }) => ranges.isolated?.contains(address) === true);
  const networks = [sharedNetwork(ranges, places)];
  const strange: string[] = [];
  for (const place of isolated) {
    const found = isolatedAt(place, ranges, isolated);
    if (typeof found === 'string') strange.push(`${place.name}: ${found}`);
    else networks.push(found);
  }
  const agents = new Set([...networks.map((network) => network.interface), ...isolated.map(({ name }) => name)]);
  const outside = Object.keys(interfaces).filter((name) => name !== 'lo' && !agents.has(name));
  return { networks, outside: outside.toSorted(), strange };
}

function sharedNetwork({ agentsSubnet: subnet, pool }: AgentsRanges, places: readonly Place[]): PluggedNetwork {
  const found = places.filter(({ address }) => subnet.contains(address));
  const [only] = found;
  if (only !== undefined && found.length === 1) {
    return { interface: only.name, ownAddress: only.address, subnet, pool, agent: undefined };
  }
  throw new LockFailure(
    only === undefined
      ? `--agents-subnet: no interface has an address in ${subnet.cidr}; connect the appliance to the agents' network, or write its subnet`
      : `--agents-subnet: more than one address is in ${subnet.cidr} (${found.map(({ name }) => name).join(', ')}); give the appliance one`,
  );
}

function isolatedAt(place: Place, { isolated }: AgentsRanges, all: readonly Place[]): PluggedNetwork | string {
  const network = isolatedNetwork(place.subnet);
  if (network === undefined || isolated?.covers(place.subnet) !== true) {
    return `${place.subnet.cidr} is no network of one agent in ${isolated?.cidr}`;
  }
  if (all.some((other) => other !== place && other.subnet.overlaps(place.subnet))) {
    return `${place.subnet.cidr} overlaps another`;
  }
  if (place.address !== network.appliance) return `our address there is not ${formatIpv4(network.appliance)}`;
  const { subnet, pool, agent } = network;
  return { interface: place.name, ownAddress: place.address, subnet, pool, agent };
}

function placesOf(interfaces: ReturnType<typeof networkInterfaces>): readonly Place[] {
  return Object.entries(interfaces).flatMap(([name, addresses]) =>
    (addresses ?? []).flatMap(({ address: text, cidr }) => {
      const address = parseIpv4(text);
      const prefix = Number(cidr?.split('/')[1]);
      if (address === undefined || !Number.isInteger(prefix)) return [];
      return [{ name, address, subnet: Ipv4Range.around(address, prefix) }];
    }),
  );
}
