/**
 * The network lock as nft text, from typed values alone: numbers are written by us, and the one string, the name of an
 * interface, is checked again here (threats row 32). Runs nothing.
 *   prerouting  which connections of agents are handed to the transparent door; what is for nobody here ends
 *   input       what reaches this namespace: DNS, the proxy and the pool from agents; answers from outside
 *   forward     nothing
 *   output      nothing new towards agents (threats 23, 25); no IPv6 (threat 21)
 * Interfaces are named, so one that is plugged in later is closed both ways until it is in the plan.
 */
import { formatIpv4, type Ipv4, type Ipv4Range } from '../domain/ipv4-range.ts';
import type { PluggedNetwork } from './plan.ts';

/** Of the kernel; every other table is somebody else's (Docker's own DNS lives in one) and never touched. */
export const TABLE = 'outcall';
/** A client asks again when its answer's TTL is over, and a connection renews the grant: what is left idle longer goes. */
export const GRANT_SECONDS = 600;
/** Pairs of name and port that agents may hold at a time. */
export const MAX_GRANTS = 8_192;
/** Grants whose time is over stay in the set until the kernel clears them away. */
const SET_SIZE = 2 * MAX_GRANTS;

/** The ports that every allowed name has on the transparent door. */
export const WEB_PORTS: readonly number[] = [80, 443];

/** include/linux/if.h: IFNAMSIZ is 16 with its NUL. The kernel takes more characters than these; no engine writes them. */
const INTERFACE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/;
const MAX_PORT = 65_535;
/** NF_IP_PRI_MANGLE and NF_IP_PRI_FILTER of linux/netfilter_ipv4.h: before and after routing decisions are made on. */
const MANGLE = -150;
const FILTER = 0;

export interface TransparentDoor {
  /** Where the inherited socket listens. */
  readonly address: Ipv4;
  readonly port: number;
}

export interface LockPlan {
  readonly networks: readonly PluggedNetwork[];
  /** Interfaces that lead elsewhere. */
  readonly outside: readonly string[];
  /** Every address that is an agent's or stands for a name, plugged in or not. */
  readonly agentsRanges: readonly Ipv4Range[];
  readonly proxyPort: number;
  /** Undefined where agents are given no DNS, or no transparent door. */
  readonly dnsPort: number | undefined;
  readonly transparent: TransparentDoor | undefined;
  /** The one port that is open to whoever is outside: the operator's metrics. No address is any of ours. */
  readonly metrics: { readonly address: Ipv4 | undefined; readonly port: number } | undefined;
}

/** One element of the set of grants. */
export interface GrantElement {
  readonly address: Ipv4;
  readonly port: number;
}

/** What a base chain is hooked to; a chain without one is jumped to. */
interface Hook {
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output';
  readonly priority: number;
  readonly policy: 'accept' | 'drop';
}

interface Chain {
  readonly name: string;
  readonly hook?: Hook;
  readonly rules: readonly string[];
}

/** The whole table as lines, one per set, chain and rule, in order: what inspect.ts reads back must be these. */
export function lockLines(plan: LockPlan): readonly string[] {
  return [
    setLine(),
    ...lockChains(plan).flatMap(({ name, hook, rules }) => [
      hook === undefined ? `chain ${name}` : chainLine(name, { ...hook, priority: String(hook.priority) }),
      ...rules.map((rule) => `${name}: ${rule}`),
    ]),
  ];
}

/** One transaction: our table is replaced whole, with these grants in it, and there is no moment without it. */
export function lockText(plan: LockPlan, grants: readonly GrantElement[]): string {
  const chains = lockChains(plan).map(({ name, hook, rules }) => {
    const head =
      hook === undefined ? [] : [`type filter hook ${hook.hook} priority ${hook.priority}; policy ${hook.policy};`];
    return `chain ${name} {\n${[...head, ...rules].join('\n')}\n}\n`;
  });
  const set = `set direct {\ntype ipv4_addr . inet_service\nsize ${SET_SIZE}\nflags dynamic,timeout\ntimeout ${GRANT_SECONDS}s\n}\n`;
  const replaced = `table inet ${TABLE}\ndelete table inet ${TABLE}\ntable inet ${TABLE} {\n${set}${chains.join('')}}\n`;
  return grants.length === 0 ? replaced : `${replaced}${elementsLine('add', grants)}`;
}

/** Grants these anew, so that each has its whole time before it, whether it was there or not. */
export function grantText(grants: readonly GrantElement[]): string {
  return (['add', 'delete', 'add'] as const).map((verb) => elementsLine(verb, grants)).join('');
}

/** Takes these away, whether they are still there or not. */
export function revokeText(grants: readonly GrantElement[]): string {
  return (['add', 'delete'] as const).map((verb) => elementsLine(verb, grants)).join('');
}

/** As inspect.ts writes a set that it found. */
export function setLine(): string {
  return `set direct: ipv4_addr . inet_service size ${SET_SIZE} timeout ${GRANT_SECONDS}`;
}

/** As inspect.ts writes a base chain that it found. */
export function chainLine(name: string, { hook, priority, policy }: Readonly<Record<keyof Hook, string>>): string {
  return `chain ${name}: filter ${hook} ${priority} policy ${policy}`;
}

function lockChains(plan: LockPlan): readonly Chain[] {
  const { networks } = plan;
  return [
    {
      name: 'prerouting',
      hook: { hook: 'prerouting', priority: MANGLE, policy: 'accept' },
      rules: networks.map((network, i) => `iifname "${interfaceName(network.interface)}" jump door${i}`),
    },
    ...networks.map((network, i) => ({
      name: `door${i}`,
      rules: [...strayRules(network), ...doorRules(plan, network)],
    })),
    {
      name: 'input',
      hook: { hook: 'input', priority: FILTER, policy: 'drop' },
      rules: [
        'iifname "lo" accept',
        'meta nfproto ipv6 drop',
        ...plan.outside.flatMap((name) => [
          `iifname "${interfaceName(name)}" ct state established,related accept`,
          ...metricsRules(plan, name),
        ]),
        ...networks.map((network, i) => `iifname "${interfaceName(network.interface)}" jump agents${i}`),
      ],
    },
    ...networks.map((network, i) => ({ name: `agents${i}`, rules: agentsRules(plan, network) })),
    { name: 'forward', hook: { hook: 'forward', priority: FILTER, policy: 'drop' }, rules: [] },
    {
      name: 'output',
      hook: { hook: 'output', priority: FILTER, policy: 'drop' },
      rules: [
        'oifname "lo" accept',
        'meta nfproto ipv6 drop',
        ...networks.map((network) => `oifname "${network.interface}" ct state established,related accept`),
        ...plan.agentsRanges.map((range) => `ip daddr ${range.cidr} drop`),
        ...plan.outside.map((name) => `oifname "${name}" accept`),
      ],
    },
  ];
}

function metricsRules({ metrics }: LockPlan, outside: string): readonly string[] {
  if (metrics === undefined) return [];
  const address = metrics.address === undefined ? '' : ` ip daddr ${formatIpv4(metrics.address)}`;
  return [`iifname "${interfaceName(outside)}"${address} tcp dport ${portNumber(metrics.port)} accept`];
}

/** An agent has an address of its network that is not ours and not a name's (threat 22), and speaks to us or to names. */
function strayRules({ agent, subnet, pool, ownAddress }: PluggedNetwork): readonly string[] {
  const own = formatIpv4(ownAddress);
  const forged =
    agent === undefined
      ? [`ip saddr != ${subnet.cidr} drop`, `ip saddr ${pool.cidr} drop`, `ip saddr ${own} drop`]
      : [`ip saddr != ${formatIpv4(agent)} drop`];
  // Before routing, which would answer some of it by ICMP to whom the source names.
  return [...forged, `ip daddr != ${own} ip daddr != ${pool.cidr} drop`];
}

/** A connection that was opened is found by its own socket, so a grant that ends cuts none off. */
function doorRules({ transparent }: LockPlan, { pool }: PluggedNetwork): readonly string[] {
  if (transparent === undefined) return [];
  const door = `tproxy ip to ${formatIpv4(transparent.address)}:${portNumber(transparent.port)} accept`;
  const renew = `update @direct { ip daddr . tcp dport timeout ${GRANT_SECONDS}s }`;
  return [
    `ip daddr ${pool.cidr} tcp dport ${portSet(WEB_PORTS)} ${door}`,
    `ip daddr ${pool.cidr} ip daddr . tcp dport @direct ${renew} ${door}`,
  ];
}

function agentsRules(plan: LockPlan, { pool, ownAddress }: PluggedNetwork): readonly string[] {
  const { dnsPort, transparent, proxyPort } = plan;
  const own = formatIpv4(ownAddress);
  const tcpPorts = dnsPort === undefined ? [proxyPort] : [dnsPort, proxyPort];
  const door = [
    `ip daddr ${pool.cidr} tcp dport ${portSet(WEB_PORTS)} accept`,
    `ip daddr ${pool.cidr} ip daddr . tcp dport @direct accept`,
    `ip daddr ${pool.cidr} meta l4proto tcp ct state established accept`,
  ];
  return [
    ...(dnsPort === undefined ? [] : [`ip daddr ${own} udp dport ${portNumber(dnsPort)} accept`]),
    `ip daddr ${own} tcp dport ${portSet(tcpPorts)} accept`,
    ...(transparent === undefined ? [] : door),
    // So that a client is told at once, and does not wait for its own timeout.
    `ip daddr ${pool.cidr} meta l4proto tcp reject with tcp reset`,
    'drop',
  ];
}

function elementsLine(verb: 'add' | 'delete', grants: readonly GrantElement[]): string {
  const elements = grants.map(({ address, port }) => `${formatIpv4(address)} . ${portNumber(port)}`);
  return `${verb} element inet ${TABLE} direct { ${elements.join(', ')} }\n`;
}

function interfaceName(name: string): string {
  if (!INTERFACE_NAME.test(name)) throw new RangeError('not the name of an interface');
  return name;
}

function portSet(ports: readonly number[]): string {
  const distinct = [...new Set(ports)].sort((a, b) => a - b).map(portNumber);
  return distinct.length === 1 ? String(distinct[0]) : `{ ${distinct.join(', ')} }`;
}

function portNumber(port: number): number {
  if (!Number.isInteger(port) || port < 1 || port > MAX_PORT) throw new RangeError('not a port');
  return port;
}
