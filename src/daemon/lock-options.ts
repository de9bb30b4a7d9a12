/**
 * What the options of the agents' network must be to each other. An option whose text was refused counts as given, and
 * nothing more is said of its value.
 */
import { hostInUrl } from '../domain/hostname.ts';
import { Ipv4Range, parseIpv4 } from '../domain/ipv4-range.ts';
import { isolatedNetwork, SLICE_PREFIX } from '../domain/isolated-network.ts';
import type { HostAndPort } from './option-checks.ts';
import type { OptionName } from './option-table.ts';
import type { DaemonOptions } from './options.ts';

type LockOptionValues = Omit<DaemonOptions, 'ca'>;

interface Need {
  readonly of: OptionName;
  readonly flag: string;
  readonly needs: OptionName;
  readonly why: string;
  readonly write: string;
}

const SUBNET = '--agents-subnet 10.203.0.0/16';
const POOL = '--pool 10.203.128.0/17';
const ISOLATED = '10.204.0.0/14';
const ANY_ADDRESS = '0.0.0.0';

const NEEDS: readonly Need[] = [
  { of: 'lock', flag: '--lock', needs: 'agentsSubnet', why: 'there is no network to lock', write: SUBNET },
  { of: 'lock', flag: '--lock', needs: 'pool', why: 'a part of the network is for names', write: POOL },
  {
    of: 'lock',
    flag: '--lock',
    needs: 'workerUser',
    why: 'as root, what agents talk to could undo it',
    write: '--worker-user 10021:10021',
  },
  { of: 'pool', flag: '--pool', needs: 'agentsSubnet', why: 'it is a part of another range', write: SUBNET },
  {
    of: 'isolated',
    flag: '--isolated',
    needs: 'lock',
    why: 'such a network is taken up by locking it',
    write: '--lock',
  },
  { of: 'dnsListen', flag: '--dns-listen', needs: 'pool', why: 'names are answered with addresses of it', write: POOL },
  {
    of: 'transparentFd',
    flag: '--transparent-fd',
    needs: 'dnsListen',
    why: 'it serves names that the DNS filter answered',
    write: '--dns-listen 10.203.0.2:53',
  },
];

/** In words for the operator, each with what to write; empty when all is well. */
export function lockProblems(options: LockOptionValues, given: ReadonlySet<OptionName>): readonly string[] {
  const isOn = (name: OptionName) => (name === 'lock' ? options.lock : given.has(name));
  const lacking = NEEDS.filter(({ of, needs }) => isOn(of) && !isOn(needs));
  return [
    ...lacking.map(({ flag, why, write }) => `${flag}: ${why}; write ${write} as well`),
    ...lockedProblems(options, given),
    ...poolProblems(options),
    ...isolatedProblems(options),
    ...userProblems(options),
  ];
}

function lockedProblems({ lock, listen }: LockOptionValues, given: ReadonlySet<OptionName>): readonly string[] {
  if (!lock) return [];
  const found: string[] = [];
  if (given.has('caKey') && !given.has('signerUser')) {
    found.push('--lock: the CA key would be root’s; write --signer-user 10022:10022 as well');
  }
  if (listen?.port === 0) found.push('--listen: --lock opens one port, and 0 names none; write --listen 0.0.0.0:8080');
  return found;
}

function poolProblems({ agentsSubnet, pool, dnsListen, listen }: LockOptionValues): readonly string[] {
  const subnet = rangeOf(agentsSubnet);
  const names = rangeOf(pool);
  if (names === undefined) return [];
  const found: string[] = [];
  if (subnet !== undefined && (!subnet.covers(names) || subnet.prefix === names.prefix)) {
    found.push(`--pool: ${names.cidr} is not a part of --agents-subnet ${subnet.cidr}; write its upper half`);
  }
  for (const [flag, address] of [
    ['--listen', listen],
    ['--dns-listen', dnsListen],
  ] as const) {
    if (address !== undefined && holds(names, address)) {
      found.push(
        `--pool: ${names.cidr} holds ${hostInUrl(address.host)} of ${flag}; write a range without the appliance`,
      );
    }
  }
  return found;
}

function isolatedProblems({ isolated, agentsSubnet, dnsListen }: LockOptionValues): readonly string[] {
  const range = rangeOf(isolated);
  if (range === undefined) return [];
  const subnet = rangeOf(agentsSubnet);
  const found: string[] = [];
  if (subnet?.overlaps(range) === true) {
    found.push(`--isolated: ${range.cidr} and --agents-subnet ${subnet.cidr} overlap; write another range`);
  }
  if (isolatedNetwork(Ipv4Range.around(range.first, Math.max(range.prefix, SLICE_PREFIX))) === undefined) {
    found.push(`--isolated: ${range.cidr} is too narrow for a network; write ${ISOLATED}`);
  }
  if (dnsListen?.host === ANY_ADDRESS) {
    found.push(
      '--dns-listen: with --isolated each network is answered by itself; write our address on the agents’ network',
    );
  }
  return found;
}

function userProblems({ workerUser, signerUser }: LockOptionValues): readonly string[] {
  if (workerUser === undefined || workerUser.uid !== signerUser?.uid) return [];
  return ['--signer-user: it is the user of the workers, who could then read the CA key; write another --signer-user'];
}

function rangeOf(text: string | undefined): Ipv4Range | undefined {
  return text === undefined ? undefined : Ipv4Range.parse(text);
}

function holds(range: Ipv4Range, { host }: HostAndPort): boolean {
  const address = parseIpv4(host);
  return address !== undefined && range.contains(address);
}
