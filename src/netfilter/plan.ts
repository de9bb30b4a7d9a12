/**
 * Where the agents' network is plugged in: found by its subnet among the interfaces, each time anew, since a network
 * that is unplugged and plugged in again may come back under another name.
 */
import { networkInterfaces } from 'node:os';
import { type Ipv4, type Ipv4Range, parseIpv4 } from '../domain/ipv4-range.ts';
import { LockFailure } from './lock-failure.ts';

export interface Plugged {
  readonly agentsInterface: string;
  readonly ownAddress: Ipv4;
}

/** Throws LockFailure where no interface, or more than one, has an address in the agents' subnet. */
export function findAgentsInterface(
  subnet: Ipv4Range,
  interfaces: ReturnType<typeof networkInterfaces> = networkInterfaces(),
): Plugged {
  const found = Object.entries(interfaces).flatMap(([name, addresses]) =>
    (addresses ?? []).flatMap(({ address }) => {
      const ownAddress = parseIpv4(address);
      return ownAddress !== undefined && subnet.contains(ownAddress) ? [{ agentsInterface: name, ownAddress }] : [];
    }),
  );
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  throw new LockFailure(
    only === undefined
      ? `--agents-subnet: no interface has an address in ${subnet.cidr}; connect the appliance to the agents' network, or write its subnet`
      : `--agents-subnet: more than one address is in ${subnet.cidr} (${found.map((each) => each.agentsInterface).join(', ')}); give the appliance one`,
  );
}
