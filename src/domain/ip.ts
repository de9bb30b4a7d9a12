/**
 * What kind of address an IP address is, and sets of addresses by CIDR. Judges the value and not its spelling: an
 * IPv4-mapped address is the IPv4 address inside. Only `public` may be dialled without a grant (threats 4, 18).
 * Does not resolve, and does not know which addresses are our own: see upstream/address-guard.ts.
 * Sources: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190, and the updates cited below),
 * RFC 4291, RFC 5771, and the address plans that cloud providers publish for their metadata services.
 */
import { isIPv4, isIPv6 } from 'node:net';

export type IpClass =
  | 'public'
  | 'private'
  /** 100.64.0.0/10, carrier-grade NAT (RFC 6598). */
  | 'shared'
  | 'loopback'
  | 'link_local'
  /** Instance credentials and provider control, wherever in the address space the provider put them. */
  | 'metadata'
  | 'unspecified'
  | 'multicast'
  | 'broadcast'
  | 'benchmarking'
  | 'documentation'
  /** Another IPv4 address is inside, and who translates decides what it reaches: NAT64, 6to4, Teredo, ISATAP... */
  | 'translated'
  | 'reserved'
  /** Not an IP address at all. */
  | 'invalid';

/** An address as a number of 32 or 128 bits. */
interface Ip {
  readonly version: 4 | 6;
  readonly value: bigint;
}

interface Range extends Ip {
  readonly prefix: number;
  readonly last: bigint;
}

/** Within one version the first match wins, so the narrower range stands above the wider. */
const SPECIAL_RANGES: readonly (readonly [string, IpClass])[] = [
  ['0.0.0.0/8', 'unspecified'], // RFC 791 section 3.2; Linux takes 0.0.0.0 for itself
  ['10.0.0.0/8', 'private'], // RFC 1918
  ['100.100.100.200/32', 'metadata'], // Alibaba Cloud
  ['100.64.0.0/10', 'shared'], // RFC 6598
  ['127.0.0.0/8', 'loopback'], // RFC 1122 section 3.2.1.3
  ['168.63.129.16/32', 'metadata'], // Azure WireServer: in public space, answered by the host
  ['169.254.0.23/32', 'metadata'], // Tencent Cloud
  ['169.254.42.42/32', 'metadata'], // Scaleway
  ['169.254.169.0/24', 'metadata'], // .254 nearly everywhere; .123 time and .253 resolver of AWS
  ['169.254.170.2/32', 'metadata'], // AWS ECS task credentials
  ['169.254.170.23/32', 'metadata'], // AWS EKS pod identity
  ['169.254.0.0/16', 'link_local'], // RFC 3927
  ['172.16.0.0/12', 'private'], // RFC 1918
  ['192.0.0.192/32', 'metadata'], // Oracle Cloud
  ['192.0.0.0/24', 'reserved'], // RFC 6890 section 2.1
  ['192.0.2.0/24', 'documentation'], // RFC 5737
  ['192.31.196.0/24', 'reserved'], // AS112, RFC 7535
  ['192.52.193.0/24', 'reserved'], // AMT, RFC 7450
  ['192.88.99.0/24', 'translated'], // 6to4 relay anycast, RFC 7526
  ['192.168.0.0/16', 'private'], // RFC 1918
  ['192.175.48.0/24', 'reserved'], // AS112, RFC 7534
  ['198.18.0.0/15', 'benchmarking'], // RFC 2544
  ['198.51.100.0/24', 'documentation'], // RFC 5737
  ['203.0.113.0/24', 'documentation'], // RFC 5737
  ['224.0.0.0/4', 'multicast'], // RFC 5771
  ['255.255.255.255/32', 'broadcast'], // RFC 919
  ['240.0.0.0/4', 'reserved'], // RFC 1112 section 4

  ['::/128', 'unspecified'], // RFC 4291 section 2.5.2
  ['::1/128', 'loopback'], // RFC 4291 section 2.5.3
  ['::/96', 'translated'], // IPv4-compatible, RFC 4291 section 2.5.5.1
  ['::ffff:0:0:0/96', 'translated'], // IPv4-translated, RFC 2765 section 2.1
  ['64:ff9b::/96', 'translated'], // NAT64, RFC 6052
  ['64:ff9b:1::/48', 'translated'], // NAT64 of a local network, RFC 8215
  ['2001::/32', 'translated'], // Teredo, RFC 4380
  ['2001:2::/48', 'benchmarking'], // RFC 5180
  ['2001::/23', 'reserved'], // IETF protocol assignments, RFC 2928: AMT, AS112, ORCHID, DRIP
  ['2001:db8::/32', 'documentation'], // RFC 3849
  ['2002::/16', 'translated'], // 6to4, RFC 3056
  ['2620:4f:8000::/48', 'reserved'], // AS112, RFC 7534
  ['3fff::/20', 'documentation'], // RFC 9637
  ['2000::/3', 'public'], // RFC 4291 section 2.4; what lies outside has no global unicast addresses
  ['fd00:ec2::/32', 'metadata'], // AWS: ::254 metadata, ::23 pod identity, ::253 resolver, ::123 time
  ['fd00:42::42/128', 'metadata'], // Scaleway
  ['fd20:ce::254/128', 'metadata'], // Google Cloud
  ['fc00::/7', 'private'], // RFC 4193
  ['fe80::/10', 'link_local'], // RFC 4291 section 2.5.6
  ['ff00::/8', 'multicast'], // RFC 4291 section 2.7
  ['::/0', 'reserved'], // among it 100::/64 (RFC 6666), 5f00::/16 (RFC 9602), fec0::/10 (RFC 3879)
];

/** RFC 4291 section 2.5.5.2: ::ffff:a.b.c.d. */
const MAPPED_PREFIX = 0xffffn;
/** RFC 5214 section 6.1: interface identifiers 0000:5efe:a.b.c.d and 0200:5efe:a.b.c.d. */
const ISATAP_IDS: readonly bigint[] = [0x0000_5efen, 0x0200_5efen];

/** What was read last. */
let lastText: string | undefined;
let lastIp: Ip | undefined;

interface ClassedRange {
  readonly range: Range;
  readonly ipClass: IpClass;
}

/** The ranges of a version, read when one is first asked for: most processes never meet an IPv6 address. */
const classTables = new Map<Ip['version'], readonly ClassedRange[]>();

/**
 * The class of an address in text form. Anything that is not an address, and an address with a zone id, is `invalid`.
 */
export function classifyIp(address: string): IpClass {
  const ip = parseIp(address);
  if (ip === undefined) return 'invalid';
  const found = classTable(ip.version).find((entry) => holds(entry.range, ip))?.ipClass ?? 'public';
  // An ISATAP router makes an IPv4 destination of these (RFC 5214 section 6.1); every other class is narrower already.
  const reachable = found === 'public' || found === 'private';
  return ip.version === 6 && reachable && hasIsatapId(ip.value) ? 'translated' : found;
}

/**
 * The one spelling of an address: dotted decimal for IPv4 and for IPv4-mapped IPv6, RFC 5952 for the rest.
 * Undefined for what is not an address, or has a zone id.
 */
export function canonicalIp(address: string): string | undefined {
  // Four plain decimal numbers are the one spelling already.
  if (isIPv4(address)) return address;
  const ip = parseIp(address);
  return ip === undefined ? undefined : formatIp(ip);
}

/** What is wrong with one entry of a list of ranges, and what to write instead where that is known. */
export interface CidrProblem {
  readonly value: string;
  readonly message: string;
  readonly fix?: string;
}

export type CidrResult =
  | { readonly ok: true; readonly value: CidrSet }
  | { readonly ok: false; readonly problems: readonly CidrProblem[] };

/** A set of addresses given as CIDR ranges and single addresses. */
export class CidrSet {
  static readonly empty = new CidrSet([]);
  readonly #ranges: readonly Range[];

  private constructor(ranges: readonly Range[]) {
    this.#ranges = ranges;
  }

  /** Reads `10.0.0.0/8`, `fc00::/7` or a single address; reports every entry that is wrong, not only the first. */
  static parse(list: readonly string[]): CidrResult {
    const parsed = list.map(parseRange);
    const problems = parsed.filter((entry) => 'message' in entry);
    if (problems.length > 0) return { ok: false, problems };
    return { ok: true, value: new CidrSet(parsed.filter((entry) => 'last' in entry)) };
  }

  /**
   * True where a range holds the address. `minPrefix` leaves out ranges wider than that prefix, for a caller who asks
   * whether the address was meant and not merely swept in; `'exact'` counts single addresses alone.
   */
  contains(address: string, minPrefix: number | 'exact' = 0): boolean {
    const ip = parseIp(address);
    if (ip === undefined) return false;
    const least = minPrefix === 'exact' ? bitsOf(ip.version) : minPrefix;
    return this.#ranges.some((range) => range.prefix >= least && holds(range, ip));
  }
}

function parseRange(value: string): Range | CidrProblem {
  const slash = value.indexOf('/');
  const ip = parseIp(slash === -1 ? value : value.slice(0, slash));
  if (ip === undefined) return { value, message: 'not an IP address or CIDR range', fix: '10.0.0.0/8' };
  const bits = bitsOf(ip.version);
  if (slash === -1) return rangeOf(ip, bits);
  const prefixText = value.slice(slash + 1);
  const prefix = /^(?:0|[1-9][0-9]{0,2})$/.test(prefixText) ? Number(prefixText) : bits + 1;
  if (prefix > bits)
    return { value, message: `the prefix must be a number from 0 to ${bits}`, fix: `${formatIp(ip)}/${bits}` };
  const range = rangeOf(ip, prefix);
  if (range.value === ip.value) return range;
  const fix = `${formatIp(range)}/${prefix}`;
  return {
    value,
    message: `bits are set after the prefix: write ${fix} for the range, or ${formatIp(ip)} for the one address`,
    fix,
  };
}

function classTable(version: Ip['version']): readonly ClassedRange[] {
  const known = classTables.get(version);
  if (known !== undefined) return known;
  const ofVersion = SPECIAL_RANGES.filter(([cidr]) => cidr.includes(':') === (version === 6));
  const table = ofVersion.map(([cidr, ipClass]) => ({ range: tableRange(cidr), ipClass }));
  classTables.set(version, table);
  return table;
}

function tableRange(cidr: string): Range {
  const range = parseRange(cidr);
  if ('message' in range) throw new TypeError(`${cidr}: ${range.message}`);
  return range;
}

function rangeOf(ip: Ip, prefix: number): Range {
  const hostBits = BigInt(bitsOf(ip.version) - prefix);
  const first = (ip.value >> hostBits) << hostBits;
  return { version: ip.version, value: first, last: first | ((1n << hostBits) - 1n), prefix };
}

function holds(range: Range, ip: Ip): boolean {
  return range.version === ip.version && ip.value >= range.value && ip.value <= range.last;
}

function bitsOf(version: 4 | 6): 32 | 128 {
  return version === 4 ? 32 : 128;
}

function hasIsatapId(value: bigint): boolean {
  return ISATAP_IDS.includes((value >> 32n) & 0xffff_ffffn);
}

/** An address is looked at from several sides before it is dialled: as its class, and as part of this and that range. */
function parseIp(text: string): Ip | undefined {
  if (text !== lastText) {
    lastIp = readIp(text);
    lastText = text;
  }
  return lastIp;
}

function readIp(text: string): Ip | undefined {
  if (isIPv4(text)) return { version: 4, value: parseIPv4(text) };
  // Asked first, since the first question to isIPv6 costs milliseconds.
  if (!text.includes(':') || !isIPv6(text) || text.includes('%')) return undefined;
  const value = parseIPv6(text);
  return value >> 32n === MAPPED_PREFIX ? { version: 4, value: value & 0xffff_ffffn } : { version: 6, value };
}

function parseIPv4(text: string): bigint {
  return BigInt(text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0));
}

/** Only for text that isIPv6 accepted. */
function parseIPv6(text: string): bigint {
  const [left = '', right] = text.split('::');
  const head = groupsOf(left);
  const tail = right === undefined ? [] : groupsOf(right);
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => 0n);
  return [...head, ...zeros, ...tail].reduce((sum, group) => (sum << 16n) | group, 0n);
}

function groupsOf(part: string): bigint[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [BigInt(`0x${group}`)];
    const v4 = parseIPv4(group);
    return [v4 >> 16n, v4 & 0xffffn];
  });
}

function formatIp(ip: Ip): string {
  if (ip.version === 4) return [24n, 16n, 8n, 0n].map((shift) => (ip.value >> shift) & 0xffn).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((ip.value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  // WHATWG's serialiser compresses as RFC 5952 says.
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}
