/**
 * Rules that look at a body, over HTTP/2 (S011-FR-013, FR-014, FR-020, EC-005; threats 28, 29, 30): the origin sees nothing
 * before the verdict, and what it then sees are the bytes as they came.
 */
import { once } from 'node:events';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readH2Reply } from '../kit/agent.ts';
import { CODE, dataFrame, frame, headersFrame, rstFrame } from '../kit/h2-wire.ts';
import { rulesFile } from '../kit/rules.ts';
import { nextTurn } from '../kit/within.ts';
import { fieldsOf, refusalOf, startH2Scene } from './h2-scene.ts';
import { interceptRule } from './intercept-scene.ts';

const MATCH = ', match_body: true';
const HOST = 'http.host == "api.test"';
const CAP_BYTES = 4096;
const options = { bodyCapBytes: CAP_BYTES };

const GOOD_ONLY = rulesFile(interceptRule('good', `${HOST} && http.body.contains("good")`, MATCH));
const NO_BAD = rulesFile(
  `{ id: no-bad, condition: '${HOST} && http.body.contains("bad")', action: block }`,
  interceptRule('rest', `${HOST} && (http.body == null || http.body != "x")`, MATCH),
);
const post = { ':method': 'POST', ':path': '/echo' };

describe('a rule with match_body over HTTP/2', () => {
  it('S011-AS-007: lets the body through that it asks for and refuses another, of which nothing arrives', async () => {
    await using scene = await startH2Scene({ rules: GOOD_ONLY, options });
    await using agent = await scene.open();
    expect(refusalOf(await agent.request(post, '{"say":"evil"}'))).toEqual([403, 'default']);
    expect(scene.origin.heads.count).toBe(0);
    expect((await agent.request(post, '{"say":"good"}')).status).toBe(200);
    expect((await scene.origin.nextRequest()).body.toString()).toBe('{"say":"good"}');
  });

  it('S011-SC-006: sees a pattern however the body is cut, and on each stream by itself', async () => {
    await using scene = await startH2Scene({ rules: NO_BAD, options });
    await using wire = await scene.openWire();
    for (const stream of [1, 3]) await wire.send(headersFrame(stream, fieldsOf('POST', '/echo'), { endStream: false }));
    for (const [i, letter] of ['b', 'a', 'd'].entries()) {
      await wire.send(dataFrame(1, letter), dataFrame(3, letter.toUpperCase()));
      expect([i, scene.origin.heads.count]).toEqual([i, 0]);
    }
    await wire.send(dataFrame(1, '', true), dataFrame(3, '', true));
    expect(await scene.proxy.nextRecord(({ verdict }) => verdict === 'block')).toMatchObject({
      rule: 'no-bad',
      body_size: 3,
    });
    expect((await scene.origin.nextRequest()).body.toString()).toBe('BAD');
    expect(scene.origin.heads.count).toBe(1);
  });

  it('S011-EC-005: sees null of a body over the cap, and the rest of it streams', async () => {
    await using scene = await startH2Scene({ rules: NO_BAD.replace(/^ {2}- .*no-bad.*\n/m, ''), options });
    await using agent = await scene.open();
    const stream = agent.session.request({ ':method': 'POST', ':path': '/live' });
    stream.write(Buffer.alloc(CAP_BYTES, 'a'));
    stream.write('over');
    const live = await scene.origin.live.next();
    stream.end('end');
    await scene.origin.requests.next();
    expect(live.request.bodyBytes).toBe(CAP_BYTES + 7);
    live.end();
    await once(stream.resume(), 'close');
    expect(scene.proxy.said.all).toMatchObject([{ level: 'warn', fields: { event: 'body_over_cap', rule: 'rest' } }]);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', body_size: CAP_BYTES + 7 });
  });

  it('is not slipped past by padding over the cap: null in an unguarded block rule blocks', async () => {
    await using scene = await startH2Scene({ rules: NO_BAD, options });
    await using agent = await scene.open();
    const padded = `${'x'.repeat(CAP_BYTES)}bad`;
    expect(refusalOf(await agent.request(post, padded))).toEqual([403, 'no-bad']);
    const announced = { ...post, 'content-length': padded.length };
    expect(refusalOf(await agent.request(announced, padded))).toEqual([403, 'no-bad']);
    expect(scene.origin.heads.count).toBe(0);
    expect((await agent.request(post, 'x'.repeat(CAP_BYTES))).status).toBe(200);
  });

  it.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
  ] as const)('sees what is inside %s, and forwards the bytes as they came', async (encoding, encode) => {
    await using scene = await startH2Scene({ rules: NO_BAD, options });
    await using agent = await scene.open();
    const headers = { ...post, 'content-encoding': encoding };
    expect(refusalOf(await agent.request(headers, encode('so bad')))).toEqual([403, 'no-bad']);
    expect(refusalOf(await agent.request(headers, encode('x'.repeat(CAP_BYTES + 1))))).toEqual([403, 'no-bad']);
    expect(refusalOf(await agent.request(headers, 'not encoded'))).toEqual([400, 'body_decode_failed']);
    expect(scene.origin.heads.count).toBe(0);
    expect((await agent.request(headers, encode('so good'))).status).toBe(200);
    expect((await scene.origin.nextRequest()).body).toEqual(encode('so good'));
  });

  it('sees an empty body as empty text, with and without DATA', async () => {
    const rules = rulesFile(interceptRule('empty', `${HOST} && http.body == ""`, MATCH));
    await using scene = await startH2Scene({ rules, options });
    await using agent = await scene.open();
    expect((await agent.request({ ':path': '/' })).status).toBe(200);
    expect((await agent.request(post, '')).status).toBe(200);
    expect((await agent.request(post, ' ')).status).toBe(403);
    expect(scene.origin.heads.count).toBe(2);
  });

  it('gets the body of a client that waits for 100, and the origin is not asked for another', async () => {
    await using scene = await startH2Scene({ rules: GOOD_ONLY, options });
    await using agent = await scene.open();
    const stream = agent.session.request({ ...post, expect: '100-continue', 'content-length': 4 });
    await once(stream, 'continue');
    expect(scene.origin.heads.count).toBe(0);
    stream.end('good');
    expect((await readH2Reply(stream)).status).toBe(200);
    expect((await scene.origin.nextRequest()).header('expect')).toEqual([]);
    const evil = agent.session.request({ ...post, expect: '100-continue', 'content-length': 4 });
    await once(evil, 'continue');
    evil.end('evil');
    expect((await readH2Reply(evil)).status).toBe(403);
    expect(scene.origin.heads.count).toBe(1);
  });

  it('passes the trailers behind a held body on', async () => {
    await using scene = await startH2Scene({ rules: GOOD_ONLY, options });
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false }), dataFrame(1, 'good'));
    await wire.send(headersFrame(1, [['x-sum', '4']]));
    expect(await scene.origin.nextRequest()).toMatchObject({ bodyBytes: 4, trailers: ['x-sum', '4'] });
  });

  it.each([CODE.none, CODE.cancel])(
    'that was reset with code %i while its body was held reaches nobody',
    async (code) => {
      await using scene = await startH2Scene({ rules: GOOD_ONLY, options });
      await using wire = await scene.openWire();
      const post1 = headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false });
      await wire.send(post1, dataFrame(1, 'good'), rstFrame(1, code));
      expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'client_closed' });
      await wire.send(headersFrame(3, fieldsOf('POST', '/last'), { endStream: false }), dataFrame(3, 'good', true));
      await scene.origin.requests.next();
      expect(scene.origin.heads.all.map(({ url }) => url)).toEqual(['/last']);
    },
  );

  it('that was reset while its body was being decoded reaches nobody, and has one record', async () => {
    await using scene = await startH2Scene({ rules: GOOD_ONLY, options: { bodyCapBytes: 16 * 1024 * 1024 } });
    await using wire = await scene.openWire();
    const slow = gzipSync(Buffer.concat([Buffer.alloc(16_000_000), Buffer.from('good')]));
    const gzip = fieldsOf('POST', '/echo', [['content-encoding', 'gzip']]);
    for (const stream of [1, 3]) {
      await wire.send(headersFrame(stream, gzip, { endStream: false }));
      for (let at = 0; at < slow.length; at += 16_000) {
        await wire.send(dataFrame(stream, slow.subarray(at, at + 16_000), at + 16_000 >= slow.length));
      }
      await wire.send(frame('ping', 0, 0, Buffer.alloc(8)));
      await wire.next('ping');
      // So that the body's end has been seen; to decode it takes much longer.
      for (let i = 0; i < 5; i++) await nextTurn();
      if (stream === 1) await wire.send(rstFrame(1, CODE.cancel));
    }
    await wire.next('headers', 3);
    expect(scene.origin.heads.count).toBe(1);
    expect(scene.proxy.records.all.map(({ verdict }) => verdict)).toEqual(['failed', 'allow']);
  });
});
