/**
 * Names to addresses: by the system's way (hosts file and resolv.conf) or by the servers of --upstream-dns.
 * Gives every address that the name has; which of them may be dialled is decided elsewhere (address-guard), so that a
 * cached answer is judged anew each time (threats 3, 18). Asks once per name at a time.
 */

import { NODATA, NOTFOUND } from 'node:dns';
import { lookup as systemLookup } from 'node:dns/promises';
import type { Clock } from '../domain/clock.ts';
import { FlowFailure } from '../domain/failure.ts';
import { type Host, isAddress } from '../domain/hostname.ts';
import { canonicalIp } from '../domain/ip.ts';
import { errorCode } from './errno.ts';
import { ExpiringMap } from './expiring-map.ts';
import { StubResolver } from './resolver.ts';
import { type Answer, lookupAddresses } from './resolver-addresses.ts';

/** design.md: TTL at most 300 s. */
export const MAX_TTL_SECONDS = 300;
/** getaddrinfo tells no TTL; the resolver behind it keeps its own cache. */
const SYSTEM_TTL_SECONDS = 30;
/** RFC 2308 lets us keep "no such name" for as long as the SOA says; a new name should not have to wait for that. */
export const NEGATIVE_TTL_MS = 3_000;
const MAX_CACHED_NAMES = 4_096;

type Lookup = (host: Host) => Promise<Answer>;

export interface NameResolverOptions {
  /** `host:port` or `[v6]:port` or a bare address each; empty for the system's way. */
  readonly dnsServers: readonly string[];
  /** One lookup, all tries and servers together. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

export class NameResolver {
  readonly #lookup: Lookup;
  readonly #timeoutMs: number;
  readonly #known: ExpiringMap<readonly string[] | FlowFailure>;
  readonly #underWay = new Map<Host, Promise<readonly string[]>>();

  constructor(options: NameResolverOptions) {
    const { dnsServers, timeoutMs, clock } = options;
    this.#lookup = dnsServers.length === 0 ? lookupBySystem : lookupByServers(options);
    this.#timeoutMs = timeoutMs;
    this.#known = new ExpiringMap(MAX_CACHED_NAMES, clock);
  }

  /**
   * Canonical addresses of `host`, at least one. An address stands for itself and is not looked up.
   * Throws FlowFailure `dns_failed` (no such name, no address) or `dns_timeout` (no resolver answered).
   */
  async resolve(host: Host): Promise<readonly string[]> {
    if (isAddress(host)) return [canonicalIp(host) ?? host];
    const known = this.#known.get(host);
    if (known instanceof FlowFailure) throw known;
    if (known !== undefined) return known;
    const underWay = this.#underWay.get(host) ?? this.#start(host);
    return underWay;
  }

  #start(host: Host): Promise<readonly string[]> {
    const lookup = this.#ask(host).finally(() => this.#underWay.delete(host));
    this.#underWay.set(host, lookup);
    return lookup;
  }

  async #ask(host: Host): Promise<readonly string[]> {
    try {
      const { addresses, ttlSeconds } = await withinTime(this.#lookup(host), this.#timeoutMs);
      const canonical = addresses.map(canonicalIp).filter((address) => address !== undefined);
      const usable = [...new Set(canonical)];
      if (usable.length === 0) throw new FlowFailure('dns_failed', { detail: 'the name has no address' });
      this.#known.set(host, usable, Math.min(ttlSeconds, MAX_TTL_SECONDS) * 1_000);
      return usable;
    } catch (error) {
      const failure = lookupFailure(error);
      if (failure.reason === 'dns_failed') this.#known.set(host, failure, NEGATIVE_TTL_MS);
      throw failure;
    }
  }
}

async function lookupBySystem(host: Host): Promise<Answer> {
  const found = await systemLookup(host, { all: true, order: 'verbatim' });
  return { addresses: found.map(({ address }) => address), ttlSeconds: SYSTEM_TTL_SECONDS };
}

function lookupByServers({ dnsServers, timeoutMs, clock }: NameResolverOptions): Lookup {
  const resolver = new StubResolver({ servers: dnsServers, timeoutMs, clock });
  return (host) => lookupAddresses(resolver, host);
}

/** The one place that reads the errors of resolvers. */
export function lookupFailure(error: unknown): FlowFailure {
  if (error instanceof FlowFailure) return error;
  const code = errorCode(error);
  switch (code) {
    case NOTFOUND:
      return new FlowFailure('dns_failed', { detail: 'no such name', cause: error });
    case NODATA:
      return new FlowFailure('dns_failed', { detail: 'the name has no address', cause: error });
    // EAI_AGAIN is how getaddrinfo says that no server answered; the others that none can be reached.
    case 'ETIMEOUT':
    case 'EAI_AGAIN':
    case 'ECONNREFUSED':
    case 'ECONNRESET':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return new FlowFailure('dns_timeout', { detail: `no resolver answered (${code})`, cause: error });
    default:
      return new FlowFailure('dns_failed', { detail: `the resolver answered with an error (${code})`, cause: error });
  }
}

async function withinTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new FlowFailure('dns_timeout', { detail: `no answer within ${timeoutMs} ms` }));
  }, timeoutMs);
  try {
    return await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
