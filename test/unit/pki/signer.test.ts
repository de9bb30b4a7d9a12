/**
 * The signer over ports in memory: whom it signs for, how often, and what it says.
 */
import { X509Certificate } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import type { CaInfo } from '../../../src/pki/ca-certificate.ts';
import { initCa } from '../../../src/pki/ca-files.ts';
import type { CaPaths } from '../../../src/pki/ca-names.ts';
import { LeafCache } from '../../../src/pki/leaf-cache.ts';
import { runSigner, Signer, type SignerConfig } from '../../../src/pki/signer.ts';
import { onLeafGenerated, SignerClient, signerReady, stopSigner } from '../../../src/pki/signer-client.ts';
import type { LeafGenerated } from '../../../src/pki/signer-protocol.ts';
import { TestClock } from '../../kit/clock.ts';
import { TempFolder } from '../../kit/temp.ts';
import { MemoryPort } from './ports.ts';

const host = (name: string) => name as Host;
const folder = new TempFolder();
let paths: CaPaths;

beforeAll(async () => {
  ({ paths } = await initCa(folder.path, { algorithm: 'ecdsa', force: false, now: Date.now() }));
});
afterAll(() => folder[Symbol.dispose]());

async function start(options: Partial<SignerConfig> = {}) {
  const [ours, theirs] = MemoryPort.pair();
  const events: LeafGenerated[] = [];
  onLeafGenerated(ours, (event) => events.push(event));
  const config = { certPath: paths.cert, keyPath: paths.key, leafTtlSecs: 86_400, mayMint: () => true, ...options };
  const over = runSigner(theirs, config);
  const ca = (await signerReady(ours)).current as CaInfo;
  return { ours, client: new SignerClient(ours), events, over, ca };
}

describe('the signer', () => {
  it('mints for a host that a rule could intercept, and for no other (row 34)', async () => {
    const asked: string[] = [];
    const { client, events } = await start({
      mayMint: (name) => {
        asked.push(name);
        return name === 'allowed.test';
      },
    });
    const leaf = await client.leafFor(host('allowed.test'));
    expect(new X509Certificate(leaf.chainPem).checkHost('allowed.test')).toBe('allowed.test');
    await expect(client.leafFor(host('denied.test'))).rejects.toMatchObject({
      reason: 'cert_gen_failed',
      detail: 'no rule intercepts denied.test',
    });
    expect(asked).toEqual(['allowed.test', 'denied.test']);
    expect(events.map((event) => event.host)).toEqual(['allowed.test']);
  });

  it('asks the rules again for a leaf that it has: a reload takes effect at once', async () => {
    let intercepts = true;
    const { client, events } = await start({ mayMint: () => intercepts });
    await client.leafFor(host('a.test'));
    intercepts = false;
    await expect(client.leafFor(host('a.test'))).rejects.toMatchObject({ reason: 'cert_gen_failed' });
    intercepts = true;
    await expect(client.leafFor(host('a.test'))).resolves.toMatchObject({ host: 'a.test' });
    expect(events.length).toBe(1);
  });

  it('refuses when the rules cannot be asked', async () => {
    const { client, events } = await start({
      mayMint: () => {
        throw new Error('rules are broken');
      },
    });
    await expect(client.leafFor(host('a.test'))).rejects.toMatchObject({ reason: 'cert_gen_failed' });
    expect(events).toEqual([]);
  });

  it.each(['A.test', 'a.test.', '*.test', 'a test', 'a.test\0.evil.test', '[::1]', '0x7f.1', '', 'a'.repeat(300)])(
    'takes no host but in canonical form from a worker: %j',
    async (name) => {
      const { client, events } = await start();
      await expect(client.leafFor(host(name))).rejects.toMatchObject({
        reason: 'cert_gen_failed',
        detail: 'not a canonical host',
      });
      await expect(client.leafFor(host('a.test'))).resolves.toBeDefined();
      expect(events.map((event) => event.host)).toEqual(['a.test']);
    },
  );

  it('signs once per host for all workers and all who ask at once, and says so once (SC-003)', async () => {
    const events: LeafGenerated[] = [];
    const config = { certPath: paths.cert, keyPath: paths.key, leafTtlSecs: 86_400, mayMint: () => true };
    const signer = await Signer.start(config, (event) => events.push(event));
    const workers = [1, 2].map(() => {
      const [worker, port] = MemoryPort.pair();
      signer.serve(port);
      return new LeafCache(new SignerClient(worker));
    });
    const asks = workers.flatMap((worker) => Array.from({ length: 20 }, () => worker.leafFor(host('a.test'))));
    const leaves = await Promise.all(asks);
    expect(new Set(leaves.map(({ chainPem }) => chainPem)).size).toBe(1);
    expect(events).toEqual([
      {
        type: 'leaf_generated',
        host: 'a.test',
        serial: new X509Certificate(leaves[0]?.chainPem as string).serialNumber.toLowerCase(),
        not_after: new Date(leaves[0]?.expiresAt as number).toISOString(),
        duration_ms: expect.any(Number),
      },
    ]);
    expect([signer.leafCacheSize, signer.leafCacheMax]).toEqual([1, 1024]);
    await signer.stop();
  });

  it('gives all leaves one key, which is not the key of the CA', async () => {
    const { client, ca } = await start();
    const [a, b] = await Promise.all([client.leafFor(host('a.test')), client.leafFor(host('b.test'))]);
    expect(a.keyPem).toBe(b.keyPem);
    const spki = (pem: string) => new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'pem' });
    expect(spki(a.chainPem)).toBe(spki(b.chainPem));
    expect(spki(a.chainPem)).not.toBe(spki(ca.certPem));
  });

  it('mints for as long as it is told to (FR-021), and anew when that is over', async () => {
    const clock = new TestClock();
    const { client, events } = await start({ leafTtlSecs: 60, clock });
    const leaf = await client.leafFor(host('a.test'));
    expect(Math.abs(leaf.expiresAt - (clock.now() + 60_000))).toBeLessThan(5_000);
    clock.advance(60_000);
    const next = await client.leafFor(host('a.test'));
    expect(next.expiresAt).toBeGreaterThan(leaf.expiresAt + 50_000);
    expect(events.length).toBe(2);
  });

  it('fails, and says why, once the CA has expired', async () => {
    const clock = new TestClock();
    const { client, ca } = await start({ clock });
    clock.advance(Date.parse(ca.not_after) - clock.now());
    await expect(client.leafFor(host('a.test'))).rejects.toMatchObject({
      reason: 'cert_gen_failed',
      detail: expect.stringMatching(/^the CA expired at /),
    });
  });

  it('refuses what it could not sign in time, and signs the rest', async () => {
    const { client, events } = await start();
    const asks = Array.from({ length: 600 }, (_, i) => client.leafFor(host(`h${i}.test`)));
    const outcomes = await Promise.allSettled(asks);
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused.map(({ reason }) => reason.detail)).toEqual(Array(88).fill('the signer is busy'));
    expect(events.length).toBe(512);
    await expect(client.leafFor(host('h599.test'))).resolves.toBeDefined();
  });

  it('says how many leaves it holds', async () => {
    const { client } = await start();
    await client.leafFor(host('a.test'));
    await client.leafFor(host('b.test'));
    expect(await client.status()).toEqual({ leaf_cache_size: 2, leaf_cache_max: 1024 });
  });

  it('ignores what is not a message of its own', async () => {
    const { ours, client, events } = await start();
    for (const message of [
      null,
      7,
      'leaf_request',
      [],
      {},
      { type: 'leaf_request' },
      { type: 'leaf_request', id: 'x', host: 'a.test' },
      { type: 'leaf_request', id: 1, host: null },
      { type: '__proto__' },
    ]) {
      ours.send(message);
    }
    await expect(client.leafFor(host('a.test'))).resolves.toBeDefined();
    expect(events.length).toBe(1);
    expect(ours.received.filter((message) => (message as { type: string }).type === 'leaf_refused')).toEqual([]);
  });
});

describe('starting a signer', () => {
  it('tells what the CA is, and nothing that is secret', async () => {
    const { ca, ours } = await start();
    expect(Object.keys(ca).sort()).toEqual(['certPem', 'fingerprint_sha256', 'not_after', 'not_before', 'subject']);
    expect(JSON.stringify(ours.received)).not.toContain('PRIVATE');
  });

  it('fails with the operator’s message where the key is wider than 0600, and starts where it is not', async () => {
    chmodSync(paths.key, 0o644);
    try {
      await expect(start()).rejects.toMatchObject({
        name: 'CaError',
        message: `CA key ${paths.key} has mode 0644; it must be 0600: chmod 600 ${paths.key}`,
      });
    } finally {
      chmodSync(paths.key, 0o600);
    }
    await expect(start()).resolves.toBeDefined();
  });

  it('fails where there is no key or no certificate', async () => {
    await expect(start({ keyPath: '/nonexistent/ca.key' })).rejects.toThrow(
      'cannot read CA key: /nonexistent/ca.key: ENOENT',
    );
    await expect(start({ certPath: '/nonexistent/ca.crt' })).rejects.toThrow(
      'cannot read CA certificate: /nonexistent/ca.crt: ENOENT',
    );
  });

  it('is told to have failed when the process ends before it says anything', async () => {
    const [ours, theirs] = MemoryPort.pair();
    const ready = signerReady(ours);
    theirs.close();
    await expect(ready).rejects.toThrow('the signer ended before it was ready');
  });
});

describe('stopping a signer', () => {
  it('ends it when asked, and it signs no more', async () => {
    const { ours, client, over, events } = await start();
    await client.leafFor(host('a.test'));
    expect(await stopSigner(ours)).toBe(true);
    expect(await over).toBe('stopped');
    for (const name of ['a.test', 'b.test']) {
      await expect(client.leafFor(host(name))).rejects.toMatchObject({ detail: 'the signer has no CA' });
    }
    expect(events.length).toBe(1);
  });

  it('ends it when its supervisor is gone', async () => {
    const { ours, over } = await start();
    ours.close();
    expect(await over).toBe('stopped');
    expect(await stopSigner(ours)).toBe(false);
  });
});
