/**
 * IPv4 addresses and one IPv4 range as numbers, for what must be written out from values alone: the network lock's
 * rules (threats row 32). Sets of ranges, and what kind of address one is, are in ip.ts.
 */
import { isIPv4 } from 'node:net';

/** 32 bits, unsigned. */
export type Ipv4 = number;

const BITS = 32;
const OCTET_SHIFTS = [24, 16, 8, 0] as const;

/** Undefined for what is not four plain decimal numbers. */
export function parseIpv4(text: string): Ipv4 | undefined {
  return isIPv4(text) ? text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0) : undefined;
}

/** Dotted decimal. Throws RangeError for a number that is no address. */
export function formatIpv4(address: Ipv4): string {
  if (!Number.isInteger(address) || address < 0 || address >= 2 ** BITS) throw new RangeError('not an IPv4 address');
  return OCTET_SHIFTS.map((shift) => (address >>> shift) & 0xff).join('.');
}

export class Ipv4Range {
  readonly first: Ipv4;
  readonly prefix: number;

  /** `address/prefix` with no bit set after the prefix; undefined for anything else. */
  static parse(text: string): Ipv4Range | undefined {
    const match = /^([0-9.]+)\/([0-9]|[12][0-9]|3[0-2])$/.exec(text);
    const first = parseIpv4(match?.[1] ?? '');
    if (first === undefined) return undefined;
    const prefix = Number(match?.[2]);
    return first % 2 ** (BITS - prefix) === 0 ? new Ipv4Range(first, prefix) : undefined;
  }

  /** The range of that many bits which holds the address, as an interface tells its network. */
  static around(address: Ipv4, prefix: number): Ipv4Range {
    const size = 2 ** (BITS - prefix);
    return new Ipv4Range(address - (address % size), prefix);
  }

  private constructor(first: Ipv4, prefix: number) {
    this.first = first;
    this.prefix = prefix;
  }

  get last(): Ipv4 {
    return this.first + 2 ** (BITS - this.prefix) - 1;
  }

  contains(address: Ipv4): boolean {
    return address >= this.first && address <= this.last;
  }

  /** True where every address of `other` is in this range. */
  covers(other: Ipv4Range): boolean {
    return this.contains(other.first) && this.contains(other.last);
  }

  overlaps(other: Ipv4Range): boolean {
    return this.first <= other.last && other.first <= this.last;
  }

  /** Undefined of a single address. */
  get upperHalf(): Ipv4Range | undefined {
    return this.prefix === BITS ? undefined : Ipv4Range.around(this.last, this.prefix + 1);
  }

  get cidr(): string {
    return `${formatIpv4(this.first)}/${this.prefix}`;
  }
}
