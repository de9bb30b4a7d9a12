/**
 * Records other than addresses, for agents whose rules name their type (threat 16): asked once per name and type at a
 * time, kept for their TTL and five minutes at most. What is kept is the answer section as bytes; it fits behind a
 * question for the same name in any case, which has the same length.
 */
import type { Clock } from '../domain/clock.ts';
import { FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import { TYPE } from '../wire/dns-codes.ts';
import type { DnsResponse } from '../wire/dns-response.ts';
import { ExpiringMap } from './expiring-map.ts';
import { lookupFailure, MAX_TTL_SECONDS, NEGATIVE_TTL_MS } from './resolve.ts';
import type { StubResolver } from './resolver.ts';

export interface RecordSection {
  readonly rcode: number;
  /** The answer section; its pointers count from the start of a message with that question. */
  readonly bytes: Buffer;
  readonly count: number;
}

const MAX_KEPT_ANSWERS = 1_024;

export class RecordResolver {
  readonly #resolver: StubResolver;
  readonly #known: ExpiringMap<RecordSection>;
  readonly #underWay = new Map<string, Promise<RecordSection>>();

  constructor(resolver: StubResolver, clock: Clock) {
    this.#resolver = resolver;
    this.#known = new ExpiringMap(MAX_KEPT_ANSWERS, clock);
  }

  /** Throws FlowFailure `dns_failed` or `dns_timeout`; no such name, or no such record, is an answer. */
  async records(host: Host, type: number): Promise<RecordSection> {
    const key = `${type}|${host}`;
    const known = this.#known.get(key) ?? this.#underWay.get(key);
    if (known !== undefined) return known;
    const asking = this.#ask(host, type, key).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, asking);
    return asking;
  }

  async #ask(host: Host, type: number, key: string): Promise<RecordSection> {
    try {
      const response = await this.#resolver.ask({ name: host, type });
      const { section, ttlMs } = sectionOf(response, type);
      this.#known.set(key, section, ttlMs);
      return section;
    } catch (error) {
      throw lookupFailure(error);
    }
  }
}

function sectionOf(response: DnsResponse, type: number): { section: RecordSection; ttlMs: number } {
  const { answers, answersStart, answersEnd, rcode } = response;
  // Addresses, or ECH keys, must not come in beside what the rule named.
  if (answers.some((record) => record.type !== type && record.type !== TYPE.CNAME)) {
    throw new FlowFailure('dns_failed', { detail: 'the answer holds records of another type' });
  }
  const message = Buffer.from(response.message);
  const ttls = answers.map((record) => {
    const ttl = Math.min(record.ttlSeconds, MAX_TTL_SECONDS);
    message.writeUInt32BE(ttl, record.ttlAt);
    return ttl;
  });
  const section = { rcode, bytes: message.subarray(answersStart, answersEnd), count: answers.length };
  return { section, ttlMs: answers.length === 0 ? NEGATIVE_TTL_MS : Math.min(...ttls) * 1_000 };
}
