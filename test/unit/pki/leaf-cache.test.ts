/**
 * The leaf cache against a source that counts, on a clock that is set by hand.
 */
import { describe, expect, it } from 'vitest';
import { FlowFailure } from '../../../src/domain/failure.ts';
import type { Host } from '../../../src/domain/hostname.ts';
import type { Leaf, LeafSource } from '../../../src/pki/leaf.ts';
import { LEAF_CACHE_MAX, LeafCache } from '../../../src/pki/leaf-cache.ts';

const host = (name: string) => name as Host;

/** Answers when told to, or at once; remembers what it was asked. */
class CountingSource implements LeafSource {
  readonly asked: Host[] = [];
  readonly held: { answer: () => void; fail: (error: Error) => void }[] = [];
  hold = false;
  readonly #clock: { at: number };
  readonly #ttlMs: number;

  constructor(clock: { at: number }, ttlMs: number) {
    this.#clock = clock;
    this.#ttlMs = ttlMs;
  }

  leafFor(wanted: Host): Promise<Leaf> {
    this.asked.push(wanted);
    const leaf = {
      host: wanted,
      chainPem: `chain ${this.asked.length}`,
      keyPem: 'key',
      expiresAt: this.#clock.at + this.#ttlMs,
    };
    if (!this.hold) return Promise.resolve(leaf);
    return new Promise((resolve, reject) => this.held.push({ answer: () => resolve(leaf), fail: reject }));
  }
}

function setup(options: { ttlMs?: number; max?: number } = {}) {
  const time = { at: 1_800_000_000_000 };
  const source = new CountingSource(time, options.ttlMs ?? 86_400_000);
  const clock = { now: () => time.at };
  const cache = new LeafCache(source, options.max === undefined ? { clock } : { clock, max: options.max });
  return { time, source, cache };
}

describe('the leaf cache', () => {
  it('asks once for a host and gives the same leaf from then on (S011-AS-006)', async () => {
    const { source, cache } = setup();
    const first = await cache.leafFor(host('a.test'));
    expect(await cache.leafFor(host('a.test'))).toBe(first);
    expect(await cache.leafFor(host('b.test'))).not.toBe(first);
    expect(source.asked).toEqual(['a.test', 'b.test']);
    expect([cache.size, cache.max]).toEqual([2, LEAF_CACHE_MAX]);
  });

  it('asks once while an answer is under way, however many wait for it', async () => {
    const { source, cache } = setup();
    source.hold = true;
    const waiting = Array.from({ length: 100 }, () => cache.leafFor(host('a.test')));
    expect(source.asked).toEqual(['a.test']);
    source.held[0]?.answer();
    expect(new Set(await Promise.all(waiting)).size).toBe(1);
    await cache.leafFor(host('a.test'));
    expect(source.asked).toEqual(['a.test']);
  });

  it('fails all who wait, keeps nothing of it, and asks again', async () => {
    const { source, cache } = setup();
    source.hold = true;
    const waiting = [cache.leafFor(host('a.test')), cache.leafFor(host('a.test'))];
    source.held[0]?.fail(new FlowFailure('cert_gen_failed', { detail: 'once' }));
    for (const { status } of await Promise.allSettled(waiting)) expect(status).toBe('rejected');
    expect(cache.size).toBe(0);
    source.hold = false;
    await expect(cache.leafFor(host('a.test'))).resolves.toMatchObject({ host: 'a.test' });
    expect(source.asked).toEqual(['a.test', 'a.test']);
  });

  it('holds 1,024 leaves and not one more; the ones used last stay', async () => {
    const { source, cache } = setup();
    for (let i = 0; i < LEAF_CACHE_MAX; i++) await cache.leafFor(host(`h${i}.test`));
    expect(cache.size).toBe(1024);
    await cache.leafFor(host('h0.test'));
    await cache.leafFor(host('one-more.test'));
    expect(cache.size).toBe(1024);
    source.asked.length = 0;
    await cache.leafFor(host('h0.test'));
    await cache.leafFor(host('one-more.test'));
    expect(source.asked).toEqual([]);
    await cache.leafFor(host('h1.test'));
    expect(source.asked).toEqual(['h1.test']);
  });

  it('evicts without touching the leaf that someone holds (S011-EC-008)', async () => {
    const { source, cache } = setup({ max: 1 });
    const held = await cache.leafFor(host('a.test'));
    const copy = { ...held };
    await cache.leafFor(host('b.test'));
    expect(held).toEqual(copy);
    expect(await cache.leafFor(host('a.test'))).not.toBe(held);
    expect(source.asked).toEqual(['a.test', 'b.test', 'a.test']);
  });

  it.each([
    ['a day', 86_400_000, 300_000],
    ['a minute', 60_000, 6_000],
  ])('renews a leaf of %s some time before it expires', async (_, ttlMs, marginMs) => {
    const { time, source, cache } = setup({ ttlMs });
    const first = await cache.leafFor(host('a.test'));
    time.at += ttlMs - marginMs - 1;
    expect(await cache.leafFor(host('a.test'))).toBe(first);
    time.at += 1;
    expect(await cache.leafFor(host('a.test'))).not.toBe(first);
    expect(source.asked.length).toBe(2);
    expect(cache.size).toBe(1);
  });

  it('asks again after the clock jumped past the expiry', async () => {
    const { time, source, cache } = setup();
    await cache.leafFor(host('a.test'));
    time.at += 10 * 86_400_000;
    await cache.leafFor(host('a.test'));
    expect(source.asked.length).toBe(2);
  });

  it('forgets everything when cleared, a leaf that is still under way included', async () => {
    const { source, cache } = setup();
    await cache.leafFor(host('a.test'));
    source.hold = true;
    const late = cache.leafFor(host('b.test'));
    cache.clear();
    source.held[0]?.answer();
    await expect(late).resolves.toMatchObject({ host: 'b.test' });
    expect(cache.size).toBe(0);
  });
});
