/**
 * Who asks: an agent, with its own rate, or a stranger, all of whom share one (threats 16, 37). An address that can be
 * forged must not cost memory, so the table is bounded.
 */
import type { Clock } from '../domain/clock.ts';
import { type CidrSet, canonicalIp } from '../domain/ip.ts';
import { TokenBucket } from '../domain/token-bucket.ts';
import type { DnsLimits } from './limits.ts';

/** More than the agents' half of the usual subnet holds. */
const MAX_SOURCES = 65_536;

export interface Source {
  /** Canonical. */
  readonly ip: string;
  readonly isAgent: boolean;
  /** Of its own for each agent, to tell them apart quickly. */
  readonly number: number;
  /** Shared by all strangers. */
  readonly share: Share;
}

/** What one agent, or all strangers together, have used up. */
export class Share {
  readonly queries: TokenBucket;
  readonly relays: TokenBucket;
  openStreams = 0;
  /** Queries over the rate that were not recorded yet, and when such a record was last written. */
  dropped = 0;
  droppedRecordedAt = Number.NEGATIVE_INFINITY;

  constructor(limits: DnsLimits, now: number) {
    this.queries = new TokenBucket(limits.queriesPerSecond, limits.queryBurst, now);
    this.relays = new TokenBucket(limits.relaysPerSecond, limits.relayBurst, now);
  }
}

export class Sources {
  readonly #agents = new Map<string, Source>();
  readonly #subnet: CidrSet;
  readonly #limits: DnsLimits;
  readonly #clock: Clock;
  readonly #strangers: Share;
  #met = 0;

  constructor(subnet: CidrSet, limits: DnsLimits, clock: Clock) {
    this.#subnet = subnet;
    this.#limits = limits;
    this.#clock = clock;
    this.#strangers = new Share(limits, clock.now());
  }

  /** `address` as the socket tells it. */
  of(address: string): Source {
    const known = this.#agents.get(address);
    return known ?? this.#meet(address);
  }

  #meet(address: string): Source {
    const ip = canonicalIp(address) ?? address;
    if (!this.#subnet.contains(ip)) return { ip, isAgent: false, number: 0, share: this.#strangers };
    const source = { ip, isAgent: true, number: ++this.#met, share: new Share(this.#limits, this.#clock.now()) };
    if (this.#agents.size >= MAX_SOURCES) this.#forgetOldest();
    this.#agents.set(address, source);
    return source;
  }

  #forgetOldest(): void {
    const [oldest] = this.#agents.keys();
    if (oldest !== undefined) this.#agents.delete(oldest);
  }
}
