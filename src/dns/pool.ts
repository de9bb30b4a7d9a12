/**
 * Synthetic addresses: one of the pool's for each name, so that the transparent door knows from the address which name
 * a connection is for (threats 3, 19). An address changes hands only when the pool is used up, and never within an hour
 * of its last use. Where it can, a name gets the address that it had before a restart. No I/O.
 */
import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';
import type { Clock } from '../domain/clock.ts';
import type { Host } from '../domain/hostname.ts';

/** An agent may hold on to an address beyond its TTL of a minute; by then a client has asked again. */
const IN_USE_MS = 3_600_000;
/** Uses closer together than this are one: keeps the order of use cheap for a name that is asked for all the time. */
const USE_STEP_MS = 1_000;
/** One agent holds at most this part of the pool in names of the last hour, so that it cannot use it up for all. */
const AGENT_SHARE = 1 / 4;
/** A wider pool would not be an IPv4 subnet of anybody's; in a narrower one there is nothing to give. */
const MIN_PREFIX = 8;
const MAX_PREFIX = 28;

export interface SyntheticPoolOptions {
  /** IPv4, as `10.203.128.0/17`; its first and last address are never given. */
  readonly cidr: string;
  /** The part of it that one agent may hold in names of the last hour; without it, a quarter. */
  readonly agentShare?: number;
  /** Addresses inside that are somebody's. */
  readonly reserved?: readonly string[];
  readonly clock: Clock;
  /** `address` stood for `former` and does no more. */
  readonly onReassign?: (address: string, former: Host) => void;
}

interface Entry {
  readonly host: Host;
  readonly index: number;
  readonly address: string;
  /** Whose share it counts in: who asked for it first, or again after an hour. */
  owner: string;
  usedAt: number;
}

export class SyntheticPool {
  readonly #base: number;
  readonly #count: number;
  readonly #clock: Clock;
  readonly #onReassign: SyntheticPoolOptions['onReassign'];
  readonly #reserved: ReadonlySet<number>;
  readonly #mostHeld: number;
  readonly #byIndex = new Map<number, Entry>();
  /** Used within the hour, and not: each in the order of use. */
  readonly #active = new Map<Host, Entry>();
  readonly #resting = new Map<Host, Entry>();
  readonly #held = new Map<string, number>();
  /** Every index below was looked at for a free one. */
  #cursor = 1;

  /** Throws RangeError where `cidr` is no IPv4 range of a prefix from 8 to 28. */
  constructor({ cidr, reserved = [], agentShare = AGENT_SHARE, clock, onReassign }: SyntheticPoolOptions) {
    const { base, count } = readRange(cidr);
    this.#base = base;
    this.#count = count;
    this.#mostHeld = Math.ceil(count * agentShare);
    this.#clock = clock;
    this.#onReassign = onReassign;
    const taken = reserved.map((address) => this.#indexOf(address)).filter((index) => index !== -1);
    this.#reserved = new Set([0, count - 1, ...taken]);
  }

  /**
   * The address that stands for `host`, which counts as a use by the agent. Undefined where every address was used
   * within the hour, or the agent has its share.
   */
  addressFor(host: Host, agentIp = ''): string | undefined {
    const now = this.#clock.now();
    const known = this.#active.get(host);
    if (known !== undefined) return this.#touch(known, now).address;
    this.#rest(now);
    if ((this.#held.get(agentIp) ?? 0) >= this.#mostHeld) return undefined;
    const rested = this.#resting.get(host);
    if (rested !== undefined) return this.#wake(rested, agentIp, now).address;
    const index = this.#freeIndex(host) ?? this.#takeBack();
    return index === undefined ? undefined : this.#assign(host, index, agentIp, now).address;
  }

  /** The name that an agent means by this address, which counts as a use; undefined where it stands for none. */
  hostOf(address: string): Host | undefined {
    const entry = this.#byIndex.get(this.#indexOf(address));
    if (entry === undefined) return undefined;
    const now = this.#clock.now();
    if (this.#active.has(entry.host)) this.#touch(entry, now);
    else this.#wake(entry, entry.owner, now);
    return entry.host;
  }

  /** As hostOf, for who only wants to know. */
  nameAt(address: string): Host | undefined {
    return this.#byIndex.get(this.#indexOf(address))?.host;
  }

  /** True for every address of the pool's range, given or not. */
  holds(address: string): boolean {
    return this.#indexOf(address) !== -1;
  }

  /** How many names have an address now. */
  get size(): number {
    return this.#byIndex.size;
  }

  /** Every address stands for nothing from now on, and `onReassign` is told of each. */
  clear(): void {
    for (const { address, host } of this.#byIndex.values()) this.#onReassign?.(address, host);
    for (const each of [this.#byIndex, this.#active, this.#resting, this.#held]) each.clear();
    this.#cursor = 1;
  }

  #indexOf(address: string): number {
    const index = isIPv4(address) ? toNumber(address) - this.#base : -1;
    return index >= 0 && index < this.#count ? index : -1;
  }

  #touch(entry: Entry, now: number): Entry {
    if (now - entry.usedAt < USE_STEP_MS) return entry;
    entry.usedAt = now;
    this.#active.delete(entry.host);
    this.#active.set(entry.host, entry);
    return entry;
  }

  #wake(entry: Entry, owner: string, now: number): Entry {
    this.#resting.delete(entry.host);
    return this.#activate(entry, owner, now);
  }

  #activate(entry: Entry, owner: string, now: number): Entry {
    entry.usedAt = now;
    entry.owner = owner;
    this.#active.set(entry.host, entry);
    this.#held.set(owner, (this.#held.get(owner) ?? 0) + 1);
    return entry;
  }

  /** What was not used for an hour no longer counts in anybody's share. */
  #rest(now: number): void {
    for (const entry of this.#active.values()) {
      if (now - entry.usedAt < IN_USE_MS) return;
      this.#active.delete(entry.host);
      this.#resting.set(entry.host, entry);
      const held = (this.#held.get(entry.owner) ?? 1) - 1;
      if (held === 0) this.#held.delete(entry.owner);
      else this.#held.set(entry.owner, held);
    }
  }

  /** One that the name alone leads to, so that it is the same after a restart; else the next that nobody had yet. */
  #freeIndex(host: Host): number | undefined {
    if (this.#byIndex.size >= this.#count - this.#reserved.size) return undefined;
    const digest = createHash('sha256').update(host).digest();
    for (let at = 0; at < digest.length; at += 4) {
      const index = digest.readUInt32BE(at) % this.#count;
      if (this.#isFree(index)) return index;
    }
    while (this.#cursor < this.#count && !this.#isFree(this.#cursor)) this.#cursor++;
    return this.#cursor < this.#count ? this.#cursor : undefined;
  }

  #isFree(index: number): boolean {
    return !this.#byIndex.has(index) && !this.#reserved.has(index);
  }

  /** The address of the name that was used longest ago, if that is an hour or more. */
  #takeBack(): number | undefined {
    const [oldest] = this.#resting.values();
    if (oldest === undefined) return undefined;
    this.#resting.delete(oldest.host);
    this.#byIndex.delete(oldest.index);
    this.#onReassign?.(oldest.address, oldest.host);
    return oldest.index;
  }

  #assign(host: Host, index: number, owner: string, now: number): Entry {
    const entry = { host, index, address: toText(this.#base + index), owner, usedAt: now };
    this.#byIndex.set(index, entry);
    return this.#activate(entry, owner, now);
  }
}

function readRange(cidr: string): { readonly base: number; readonly count: number } {
  const [address = '', prefixText = '', ...rest] = cidr.split('/');
  const prefix = /^[0-9]{1,2}$/.test(prefixText) ? Number(prefixText) : 0;
  if (!isIPv4(address) || rest.length > 0 || prefix < MIN_PREFIX || prefix > MAX_PREFIX) {
    throw new RangeError(`${JSON.stringify(cidr)} is no IPv4 range with a prefix from ${MIN_PREFIX} to ${MAX_PREFIX}`);
  }
  const count = 2 ** (32 - prefix);
  const number = toNumber(address);
  return { base: number - (number % count), count };
}

function toNumber(address: string): number {
  return address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

function toText(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join('.');
}
