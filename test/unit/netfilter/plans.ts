/** The plan of the usual network, and parts of it, for the tests of the lock. */
import { Ipv4Range, parseIpv4 } from '../../../src/domain/ipv4-range.ts';
import type { PluggedNetwork } from '../../../src/netfilter/plan.ts';
import type { LockPlan } from '../../../src/netfilter/ruleset.ts';

export function ip(text: string): number {
  const address = parseIpv4(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

export function range(text: string): Ipv4Range {
  const parsed = Ipv4Range.parse(text);
  if (parsed === undefined) throw new Error(`${text} is no range`);
  return parsed;
}

/** The network that agents share, and one of one agent. */
export const SHARED: PluggedNetwork = {
  interface: 'eth0',
  ownAddress: ip('10.203.0.2'),
  subnet: range('10.203.0.0/16'),
  pool: range('10.203.128.0/17'),
  agent: undefined,
};
export const ISOLATED: PluggedNetwork = {
  interface: 'eth2',
  ownAddress: ip('10.204.4.2'),
  subnet: range('10.204.4.0/22'),
  pool: range('10.204.6.0/23'),
  agent: ip('10.204.4.3'),
};

export const PLAN: LockPlan = {
  networks: [SHARED, ISOLATED],
  outside: ['eth1'],
  agentsRanges: [range('10.203.0.0/16'), range('10.204.0.0/14')],
  proxyPort: 8080,
  dnsPort: 53,
  metrics: undefined,
  transparent: { address: ip('127.0.0.1'), port: 15_001 },
};
