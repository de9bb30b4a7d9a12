/**
 * Leaves kept by host: the 1,024 used last, each until shortly before it expires, and one request at a time to the source
 * per host (S011-FR-006, SC-003). A failure is not kept. Eviction only forgets the entry (S011-EC-008).
 */
import QuickLRU from 'quick-lru';
import { type Clock, systemClock } from '../domain/clock.ts';
import { Histogram } from '../domain/histogram.ts';
import type { Host } from '../domain/hostname.ts';
import type { Leaf, LeafSource } from './leaf.ts';

/** S011: INTERCEPT_LEAF_CACHE_MAX. */
export const LEAF_CACHE_MAX = 1024;
/** A leaf is renewed this long before it expires, for handshakes under way and clocks that run ahead. */
const EXPIRY_MARGIN_MS = 300_000;
/** Where that is too much for a short TTL: this part of what the leaf still had when it came in. */
const EXPIRY_MARGIN_PART = 0.1;

interface Entry {
  readonly leaf: Leaf;
  /** Milliseconds since the epoch. */
  readonly usableUntil: number;
}

export class LeafCache implements LeafSource {
  /** How long the source took, when it gave a leaf. */
  readonly waits = new Histogram();
  hits = 0;
  misses = 0;
  readonly #source: LeafSource;
  readonly #clock: Clock;
  readonly #max: number;
  readonly #entries: QuickLRU<Host, Entry>;
  readonly #pending = new Map<Host, Promise<Leaf>>();

  constructor(source: LeafSource, options: { clock?: Clock; max?: number } = {}) {
    this.#source = source;
    this.#clock = options.clock ?? systemClock;
    this.#max = options.max ?? LEAF_CACHE_MAX;
    this.#entries = new QuickLRU({ maxSize: this.#max });
  }

  /** Rejects as the source does, with FlowFailure('cert_gen_failed'); all who wait for one host share one outcome. */
  leafFor(host: Host): Promise<Leaf> {
    const entry = this.#entries.get(host);
    if (entry !== undefined && this.#clock.now() < entry.usableUntil) {
      this.hits++;
      return Promise.resolve(entry.leaf);
    }
    this.misses++;
    const pending = this.#pending.get(host);
    if (pending !== undefined) return pending;
    const startedAt = performance.now();
    const fetched: Promise<Leaf> = this.#source.leafFor(host).then(
      (leaf) => {
        this.waits.since(startedAt);
        if (this.#settle(host, fetched)) this.#keep(leaf);
        return leaf;
      },
      (error: unknown) => {
        this.#settle(host, fetched);
        throw error;
      },
    );
    this.#pending.set(host, fetched);
    return fetched;
  }

  get size(): number {
    return this.#entries.size;
  }

  get max(): number {
    return this.#max;
  }

  /** Forgets all leaves, those still being made included. */
  clear(): void {
    this.#entries.clear();
    this.#pending.clear();
  }

  /** False where clear() came in between: then the outcome is for those who wait, not for the cache. */
  #settle(host: Host, fetched: Promise<Leaf>): boolean {
    if (this.#pending.get(host) !== fetched) return false;
    this.#pending.delete(host);
    return true;
  }

  #keep(leaf: Leaf): void {
    const margin = Math.min(EXPIRY_MARGIN_MS, (leaf.expiresAt - this.#clock.now()) * EXPIRY_MARGIN_PART);
    this.#entries.set(leaf.host, { leaf, usableUntil: leaf.expiresAt - margin });
    // quick-lru holds up to twice its maximum for speed; here a leaf costs far more than counting.
    const held = [...this.#entries.keys()].length;
    if (held > this.#max) this.#entries.evict(held - this.#max);
  }
}
