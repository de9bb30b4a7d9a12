/**
 * A small network of namespaces, as Docker's is: agents and the appliance on a bridge that has no address, and behind
 * the appliance an internet that is every address of 198.18.0.0/15 and some others. No namespace has a way to this
 * machine's own network. Agents have a default route to the appliance, which does for them what raw frames would do.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import type { Enter } from '../kit/namespace-listener.ts';

export const AGENTS_SUBNET = '10.203.0.0/16';
export const POOL = '10.203.128.0/17';
export const APPLIANCE = '10.203.0.2';
export const UPLINK = '198.51.100.2';
export const AGENT = '10.203.0.11';
export const MATE = '10.203.0.12';
/** Where networks of one agent are, the one that can be plugged in here, our address on it and its agent's. */
export const ISOLATED = '10.204.0.0/14';
export const OWN_NETWORK = '10.204.0.0/22';
export const APPLIANCE_THERE = '10.204.0.2';
export const OWN = '10.204.0.3';
/** The internet's side of the uplink, and its resolver. */
export const INET = '198.51.100.1';
export const RESOLVER = '198.51.100.53';
/** What only an appliance that dials anything would reach. */
export const METADATA = '169.254.169.254';
export const PRIVATE_HOST = '10.99.0.1';

const NAMES = ['appliance', 'agent', 'mate', 'own', 'inet', 'lan'] as const;
export type Place = (typeof NAMES)[number];
/** Where what arrives is written down. */
const WITNESSES = ['inet', 'mate'] as const;
type Witness = (typeof WITNESSES)[number];

/** What the tests of this folder need; undefined when all is there, else what is not. */
export function jailLacks(): string | undefined {
  if (process.getuid?.() !== 0) return 'root';
  const missing = ['ip', 'nft', 'setpriv', 'perl', 'python3'].find((program) => !hasTool(program));
  if (missing !== undefined) return missing;
  const probe = `oc${process.pid}probe`;
  if (tryRun('ip', ['netns', 'add', probe]) !== undefined) return 'network namespaces';
  const nft = tryRun('ip', ['netns', 'exec', probe, 'nft', 'add', 'table', 'inet', 'probe']);
  tryRun('ip', ['netns', 'del', probe]);
  return nft === undefined ? undefined : 'nftables in the kernel';
}

export class JailNetwork implements Disposable {
  readonly #prefix = `oc${process.pid}`;

  constructor() {
    sweep();
    try {
      for (const place of NAMES) must('ip', 'netns', 'add', this.nameOf(place));
      this.#plugAgents();
      this.#plugUplink();
      for (const place of WITNESSES) this.#countAt(place);
      // The worst that an engine could have set: without a lock, the appliance is a router.
      this.run(
        'appliance',
        'sysctl',
        '-qw',
        'net.ipv4.ip_forward=1',
        'net.ipv6.conf.all.forwarding=1',
        'net.ipv4.conf.all.rp_filter=0',
        'net.ipv4.conf.eth0.rp_filter=0',
        'net.ipv6.conf.eth0.accept_ra=2',
      );
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  nameOf(place: Place): string {
    return `${this.#prefix}-${place}`;
  }

  /** The command that runs a program there. */
  enter(place: Place): Enter {
    return ['ip', 'netns', 'exec', this.nameOf(place)];
  }

  /** Runs a program in a namespace; throws unless it succeeds. */
  run(place: Place, ...command: readonly string[]): string {
    const [program, ...args] = this.enter(place);
    return must(program, ...args, ...command);
  }

  nft(place: Place, text: string): void {
    const { status, stderr } = spawnSync('ip', ['netns', 'exec', this.nameOf(place), 'nft', '-f', '-'], {
      input: text,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`nft in ${place}: ${stderr}`);
  }

  /** Every packet that came into the internet since the last reset but those of known connections: `protocol address port`. */
  packetsAtInet(): readonly string[] {
    return this.packetsAt('inet');
  }

  packetsAt(place: Witness): readonly string[] {
    const listing = JSON.parse(this.run(place, 'nft', '-j', 'list', 'table', 'inet', 'witness')) as Listing;
    const sets = listing.nftables.flatMap(({ set }) => (set === undefined ? [] : [set]));
    return sets
      .flatMap(({ elem }) => elem ?? [])
      .map((element) => {
        const value = typeof element === 'object' && 'elem' in element ? element.elem.val : element;
        return typeof value === 'object' ? value.concat.join(' ') : String(value);
      });
  }

  resetWitness(): void {
    for (const place of WITNESSES) {
      for (const set of ['seen', 'others']) this.run(place, 'nft', 'flush', 'set', 'inet', 'witness', set);
    }
  }

  /** As an engine connects the appliance to a network of one agent while it runs; `address` with its prefix. */
  plugOwn(address = `${APPLIANCE_THERE}/22`): void {
    this.#cable('own', 'eth0', 'appliance', 'eth2');
    this.#in('own', 'addr', 'add', `${OWN}/22`, 'dev', 'eth0');
    this.#in('own', 'link', 'set', 'eth0', 'up');
    this.#in('own', 'route', 'add', 'default', 'via', APPLIANCE_THERE);
    this.#in('appliance', 'addr', 'add', address, 'dev', 'eth2');
    this.#in('appliance', 'link', 'set', 'eth2', 'up');
    this.run('appliance', 'sysctl', '-qw', 'net.ipv4.conf.eth2.rp_filter=0');
  }

  unplugOwn(): void {
    this.#in('appliance', 'link', 'del', 'eth2');
  }

  [Symbol.dispose](): void {
    for (const place of NAMES) tryRun('ip', ['netns', 'del', this.nameOf(place)]);
  }

  #plugAgents(): void {
    this.#in('lan', 'link', 'add', 'br0', 'type', 'bridge');
    this.#in('lan', 'link', 'set', 'br0', 'up');
    for (const [place, address] of [
      ['appliance', APPLIANCE],
      ['agent', AGENT],
      ['mate', MATE],
    ] as const) {
      this.#cable(place, 'eth0', 'lan', `to-${place}`.slice(0, 15));
      this.#in('lan', 'link', 'set', `to-${place}`.slice(0, 15), 'master', 'br0', 'up');
      this.#in(place, 'addr', 'add', `${address}/16`, 'dev', 'eth0');
      this.#in(place, 'link', 'set', 'eth0', 'up');
      if (place !== 'appliance') this.#in(place, 'route', 'add', 'default', 'via', APPLIANCE);
    }
  }

  #plugUplink(): void {
    this.#cable('appliance', 'eth1', 'inet', 'eth0');
    this.#in('appliance', 'addr', 'add', `${UPLINK}/24`, 'dev', 'eth1');
    this.#in('appliance', 'link', 'set', 'eth1', 'up');
    this.#in('appliance', 'route', 'add', 'default', 'via', INET);
    this.#in('inet', 'link', 'set', 'eth0', 'up');
    for (const address of [`${INET}/24`, `${RESOLVER}/24`]) this.#in('inet', 'addr', 'add', address, 'dev', 'eth0');
    for (const address of [METADATA, PRIVATE_HOST]) this.#in('inet', 'addr', 'add', `${address}/32`, 'dev', 'lo');
    this.#in('inet', 'route', 'add', 'local', '198.18.0.0/15', 'dev', 'lo');
    // What comes back must not depend on who sent it: an answer to a forged source would otherwise hide the packet.
    this.#in('inet', 'route', 'add', 'default', 'via', UPLINK);
  }

  /** A cable from `eth` of one place to `to` of another. */
  #cable(place: Place, eth: string, other: Place, to: string): void {
    must(
      'ip',
      'link',
      'add',
      eth,
      'netns',
      this.nameOf(place),
      'type',
      'veth',
      'peer',
      'name',
      to,
      'netns',
      this.nameOf(other),
    );
    this.#in(place, 'link', 'set', 'lo', 'up');
    this.#in(other, 'link', 'set', 'lo', 'up');
  }

  #countAt(place: Witness): void {
    this.nft(
      place,
      `table inet witness {
        set seen { type inet_proto . ipv4_addr . inet_service; flags dynamic; size 65535; }
        set others { type inet_proto; flags dynamic; size 255; }
        chain arriving {
          type filter hook prerouting priority -150; policy accept;
          iifname != "eth0" accept
          ct state established,related accept
          ip protocol { tcp, udp } update @seen { ip protocol . ip daddr . th dport } accept
          meta l4proto != ipv6-icmp update @others { meta l4proto }
        }
      }`,
    );
  }

  #in(place: Place, ...args: readonly string[]): void {
    must('ip', '-n', this.nameOf(place), ...args);
  }
}

/** Removes what tests left that were killed: namespaces of processes that are no more, with all that runs in them. */
function sweep(): void {
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
    const owner = /^oc(\d+)-/.exec(name)?.[1];
    if (owner === undefined || existsSync(`/proc/${owner}`)) continue;
    for (const pid of must('ip', 'netns', 'pids', name).split('\n').filter(Boolean)) tryRun('kill', ['-9', pid]);
    must('ip', 'netns', 'del', name);
  }
}

interface Listing {
  readonly nftables: readonly { readonly set?: { readonly elem?: readonly Element[] } }[];
}
type Value = string | { readonly concat: readonly (string | number)[] };
type Element = Value | { readonly elem: { readonly val: Value } };

function hasTool(program: string): boolean {
  return ['/usr/sbin', '/usr/bin', '/sbin', '/bin', ...(process.env['PATH'] ?? '').split(':')].some((folder) =>
    existsSync(`${folder}/${program}`),
  );
}

function must(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

/** Why it failed; undefined when it did not. */
function tryRun(program: string, args: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? undefined : (error?.message ?? stderr);
}
