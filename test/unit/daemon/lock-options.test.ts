import { describe, expect, it } from 'vitest';
import { type DaemonOptions, parseOptions } from '../../../src/daemon/options.ts';

const NETWORK = ['--agents-subnet', '10.203.0.0/16', '--pool', '10.203.128.0/17'];
const DNS = ['--dns-listen', '10.203.0.2:53'];
const WORKERS = ['--worker-user', '10021:10021'];
const SIGNER = ['--signer-user', '10022:10022'];
const CA = ['--ca-cert', '/ca.crt', '--ca-key', '/ca.key'];
const LOCKED = ['--lock', ...NETWORK, ...DNS, '--transparent-fd', '3', ...WORKERS, ...SIGNER, ...CA];

function options(args: readonly string[]): DaemonOptions {
  const parsed = parseOptions(args, {}, '1.2.3');
  if (parsed.kind !== 'options') throw new Error(parsed.text);
  return parsed.options;
}

/** The lines of the refusal, without the program's name. */
function refused(args: readonly string[]): readonly string[] {
  const parsed = parseOptions(args, {}, '1.2.3');
  if (parsed.kind !== 'usage') throw new Error('it was taken');
  return parsed.text
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/^outcalld: /, ''));
}

describe('the options of the locked network', () => {
  it('are taken together, as plain data', () => {
    const given = options(LOCKED);
    expect(given).toMatchObject({
      lock: true,
      agentsSubnet: '10.203.0.0/16',
      pool: '10.203.128.0/17',
      dnsListen: { host: '10.203.0.2', port: 53 },
      transparentFd: 3,
      workerUser: { uid: 10_021, gid: 10_021 },
      signerUser: { uid: 10_022, gid: 10_022 },
    });
    expect(structuredClone(given)).toEqual(given);
  });

  it('without --lock serve names and a transparent door all the same', () => {
    expect(options([...NETWORK, ...DNS, '--transparent-fd', '3'])).toMatchObject({ lock: false, transparentFd: 3 });
  });

  it('that --lock needs are all told at once, each with what to write', () => {
    expect(refused(['--lock', ...CA])).toEqual([
      '--lock: there is no network to lock; write --agents-subnet 10.203.0.0/16 as well',
      '--lock: a part of the network is for names; write --pool 10.203.128.0/17 as well',
      '--lock: as root, what agents talk to could undo it; write --worker-user 10021:10021 as well',
      '--lock: the CA key would be root’s; write --signer-user 10022:10022 as well',
    ]);
  });

  it.each([
    [
      ['--pool', '10.203.128.0/17'],
      '--pool: it is a part of another range; write --agents-subnet 10.203.0.0/16 as well',
    ],
    [DNS, '--dns-listen: names are answered with addresses of it; write --pool 10.203.128.0/17 as well'],
    [
      [...NETWORK, '--transparent-fd', '3'],
      '--transparent-fd: it serves names that the DNS filter answered; write --dns-listen 10.203.0.2:53 as well',
    ],
    [
      ['--lock', ...NETWORK, ...WORKERS, '--listen', '0.0.0.0:0'],
      '--listen: --lock opens one port, and 0 names none; write --listen 0.0.0.0:8080',
    ],
    [
      ['--agents-subnet', '10.203.0.0/17', '--pool', '10.203.128.0/17'],
      '--pool: 10.203.128.0/17 is not a part of --agents-subnet 10.203.0.0/17; write its upper half',
    ],
    [
      ['--agents-subnet', '10.203.128.0/17', '--pool', '10.203.128.0/17'],
      '--pool: 10.203.128.0/17 is not a part of --agents-subnet 10.203.128.0/17; write its upper half',
    ],
    [
      [...NETWORK, '--dns-listen', '10.203.200.2:53'],
      '--pool: 10.203.128.0/17 holds 10.203.200.2 of --dns-listen; write a range without the appliance',
    ],
    [
      [...NETWORK, '--listen', '10.203.128.1:8080'],
      '--pool: 10.203.128.0/17 holds 10.203.128.1 of --listen; write a range without the appliance',
    ],
    [
      [...LOCKED, '--isolated', '10.200.0.0/13'],
      '--isolated: 10.200.0.0/13 and --agents-subnet 10.203.0.0/16 overlap; write another range',
    ],
    [
      [...LOCKED, '--isolated', '10.204.0.0/28'],
      '--isolated: 10.204.0.0/28 is too narrow for a network; write 10.204.0.0/14',
    ],
    [
      [...LOCKED, '--isolated', '10.204.0.0/14', '--dns-listen', '0.0.0.0:53'],
      '--dns-listen: with --isolated each network is answered by itself; write our address on the agents’ network',
    ],
    [
      [...NETWORK, '--isolated', '10.204.0.0/14'],
      '--isolated: such a network is taken up by locking it; write --lock as well',
    ],
    [
      [...WORKERS, '--signer-user', '10021:10022'],
      '--signer-user: it is the user of the workers, who could then read the CA key; write another --signer-user',
    ],
  ])('%j are refused', (args, problem) => {
    expect(refused(args)).toEqual([problem]);
  });

  it.each([
    ['--agents-subnet', '10.203.0.1/16', 'is not an IPv4 range whose bits after the prefix are 0', '10.203.0.0/16'],
    ['--pool', 'fd00::/64', 'is not an IPv4 range whose bits after the prefix are 0', '10.203.128.0/17'],
    ['--dns-listen', 'dns:53', 'is not ADDRESS:PORT with an IP address', '10.203.0.2:53'],
    ['--transparent-fd', '2', 'is below 3', '3'],
    ['--worker-user', 'nobody', 'is not UID:GID in numbers', '10021:10021'],
    ['--worker-user', '0:10021', 'is root, or its group', '10021:10021'],
    ['--signer-user', '10022:0', 'is root, or its group', '10022:10022'],
    ['--signer-user', '4294967295:1', 'is not UID:GID in numbers', '10022:10022'],
  ])('%s %s is refused by itself, and nothing more is said of it', (flag, value, wrong, write) => {
    const others = LOCKED.filter((_, i) => LOCKED[i] !== flag && LOCKED[i - 1] !== flag);
    expect(refused([...others, flag, value])).toEqual([`${flag}: "${value}" ${wrong}; write ${flag} ${write}`]);
  });
});
