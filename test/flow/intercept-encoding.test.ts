/**
 * Encoded request bodies under a body rule (threat 30): decoded under a limit for the rules, forwarded as they came, and
 * null or refused where what an origin would read cannot be known.
 */
import { createHash, randomBytes } from 'node:crypto';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import {
  ask,
  blockRule,
  type InterceptScene,
  interceptRule,
  refusalOf,
  startInterceptScene,
} from './intercept-scene.ts';

const API = 'http.host == "api.test"';
const NO_SHELL = rulesFile(blockRule('no-shell', `${API} && http.body.contains("rm -rf")`), interceptRule('rest', API));
const MIB = 1024 * 1024;

const ENCODERS = [
  ['gzip', gzipSync],
  ['x-gzip', gzipSync],
  ['GZIP', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
  ['zstd', zstdCompressSync],
] as const;

/** Sends one POST with that Content-Encoding and tells how it ended: the status and the refusal's reason. */
async function send(scene: InterceptScene, encoding: string, body: Buffer) {
  await using agent = await scene.open();
  return refusalOf(await ask(agent, '/echo', { method: 'POST', body, headers: [`Content-Encoding: ${encoding}`] }));
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

describe.each(ENCODERS)('a body in %s', (encoding, encode) => {
  it('hides no pattern, and is forwarded in its encoding, unchanged', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    expect(await send(scene, encoding, encode(Buffer.from('x rm -rf / x')))).toEqual([403, 'no-shell']);
    expect(scene.origin.bytes).toBe(0);
    const body = encode(Buffer.from(`x rm -r / x${randomBytes(5_000).toString('hex')}`));
    expect(await send(scene, encoding, body)).toEqual([200, undefined]);
    const seen = await scene.origin.nextRequest();
    expect([seen.bodySha256, seen.header('content-encoding')]).toEqual([sha256(body), [encoding]]);
  });

  it('that decodes to more than the cap is null, however small it came', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    const bomb = encode(Buffer.alloc(8 * MIB));
    expect(bomb.length).toBeLessThan(MIB / 64);
    expect(await send(scene, encoding, bomb)).toEqual([403, 'no-shell']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'error', rule: 'no-shell' });
    expect(scene.origin.bytes).toBe(0);
    expect(await send(scene, encoding, encode(Buffer.alloc(MIB, 'x')))).toEqual([200, undefined]);
  });

  it('that is not what it says, or cut short, is 400 body_decode_failed', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    const whole = encode(Buffer.from('harmless words, some of them'));
    for (const body of [Buffer.from('rm -rf, in plain text'), whole.subarray(0, -3)]) {
      expect(await send(scene, encoding, body)).toEqual([400, 'body_decode_failed']);
      expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'body_decode_failed' });
    }
    expect(scene.origin.bytes).toBe(0);
    expect(await send(scene, encoding, whole)).toEqual([200, undefined]);
  });

  it('that goes on behind its end is read to its end or not at all: what follows hides nothing', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    const first = encode(Buffer.from('harmless'));
    const second = encode(Buffer.from('rm -rf /'));
    expect(await send(scene, encoding, Buffer.concat([first, second]))).toEqual([403, 'no-shell']);
    expect((await send(scene, encoding, Buffer.concat([first, Buffer.from('rm -rf /')])))[0]).toBeGreaterThanOrEqual(
      400,
    );
    expect(scene.origin.bytes).toBe(0);
    expect(await send(scene, encoding, first)).toEqual([200, undefined]);
  });
});

describe('a body in an encoding that is not decoded', () => {
  it.each([
    ['unknown', 'compress', Buffer.from('rm -rf')],
    ['two at once', 'gzip, br', brotliCompressSync(gzipSync('rm -rf'))],
    ['the same twice', 'gzip, gzip', gzipSync(gzipSync('rm -rf'))],
    ['aws-chunked', 'aws-chunked', Buffer.from('6;chunk-signature=x\r\nrm -rf\r\n')],
  ])('because it is %s is null: an unguarded block rule blocks it', async (_, encoding, body) => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    expect(await send(scene, encoding, body)).toEqual([403, 'no-shell']);
    expect(scene.origin.bytes).toBe(0);
    expect(await send(scene, 'identity', Buffer.from('rm -r'))).toEqual([200, undefined]);
  });

  it('because it is raw deflate is refused: some origins decode it', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    expect(await send(scene, 'deflate', deflateRawSync('rm -rf'))).toEqual([400, 'body_decode_failed']);
    expect(scene.origin.bytes).toBe(0);
  });

  it('in two Content-Encoding fields counts as two encodings', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    await using agent = await scene.open();
    const headers = ['Content-Encoding: identity', 'Content-Encoding: gzip'];
    const reply = await ask(agent, '/', { method: 'POST', body: gzipSync('rm -rf'), headers });
    expect(refusalOf(reply)).toEqual([403, 'no-shell']);
    expect(scene.origin.bytes).toBe(0);
  });
});

describe('a body that no rule reads', () => {
  it('passes in any encoding, right or wrong, at any size, with its bytes unchanged', async () => {
    await using scene = await startInterceptScene();
    for (const body of [Buffer.from('not gzip'), gzipSync(Buffer.alloc(16 * MIB)), randomBytes(2 * MIB)]) {
      expect(await send(scene, 'gzip', body)).toEqual([200, undefined]);
      expect((await scene.origin.nextRequest()).bodySha256).toBe(sha256(body));
    }
  });
});
