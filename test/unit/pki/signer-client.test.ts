/**
 * The asking side alone, against a signer that answers badly, late or not at all.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { LEAF_TIMEOUT_MS, SignerClient } from '../../../src/pki/signer-client.ts';
import { MemoryPort } from './ports.ts';

const A = 'a.test' as Host;
const B = 'b.test' as Host;
const leaf = (host: string) => ({ host, chainPem: 'chain', keyPem: 'key', expiresAt: 1 });

/** A client whose signer is this test. */
function setup() {
  const [ours, theirs] = MemoryPort.pair();
  const client = new SignerClient(ours);
  const ids = () => ours.sent.map((message) => (message as { id: number }).id);
  return { client, ours, theirs, ids };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('the signer client', () => {
  it('gives each asker the answer to its own question, in whatever order they come', async () => {
    const { client, theirs, ids } = setup();
    const [a, b] = [client.leafFor(A), client.leafFor(B)];
    const [idA, idB] = ids();
    theirs.send({ type: 'leaf_reply', id: idB, leaf: leaf('b.test') });
    theirs.send({ type: 'leaf_refused', id: idA, detail: 'why not' });
    await expect(a).rejects.toMatchObject({ reason: 'cert_gen_failed', detail: 'why not' });
    expect(await b).toEqual(leaf('b.test'));
  });

  it('gives a leaf that nobody can change', async () => {
    const { client, theirs, ids } = setup();
    const a = client.leafFor(A);
    theirs.send({ type: 'leaf_reply', id: ids()[0], leaf: leaf('a.test') });
    expect(Object.isFrozen(await a)).toBe(true);
  });

  it('takes no leaf for another host', async () => {
    const { client, theirs, ids } = setup();
    const a = client.leafFor(A);
    theirs.send({ type: 'leaf_reply', id: ids()[0], leaf: leaf('b.test') });
    await expect(a).rejects.toMatchObject({ reason: 'cert_gen_failed' });
  });

  it('fails all who wait, and all who come later, when the signer dies', async () => {
    const { client, theirs } = setup();
    const waiting = [client.leafFor(A), client.leafFor(B), client.status()];
    theirs.close();
    for (const one of waiting) {
      await expect(one).rejects.toMatchObject({ reason: 'cert_gen_failed', detail: 'the signer is gone' });
    }
    await expect(client.leafFor(A)).rejects.toMatchObject({ detail: 'the signer is not running' });
  });

  it('gives up when no answer comes in time, and an answer in time is taken', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { client, theirs, ids } = setup();
    const [a, b] = [client.leafFor(A), client.leafFor(B)];
    const outcome = a.catch((error: unknown) => error);
    vi.advanceTimersByTime(LEAF_TIMEOUT_MS - 1);
    theirs.send({ type: 'leaf_reply', id: ids()[1], leaf: leaf('b.test') });
    await expect(b).resolves.toEqual(leaf('b.test'));
    vi.advanceTimersByTime(1);
    expect(await outcome).toMatchObject({ reason: 'cert_gen_failed', detail: 'the signer did not answer in 10000 ms' });
    expect(vi.getTimerCount()).toBe(0);
  });

  it('ignores answers to questions that it never asked', async () => {
    const { client, theirs, ids } = setup();
    const a = client.leafFor(A);
    theirs.send({ type: 'leaf_reply', id: 999, leaf: leaf('a.test') });
    theirs.send({ type: 'leaf_reply', id: ids()[0] });
    theirs.send({ type: 'leaf_reply', id: ids()[0], leaf: leaf('a.test') });
    expect(await a).toEqual(leaf('a.test'));
  });
});
