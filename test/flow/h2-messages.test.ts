/**
 * What arrives over HTTP/2 is what was sent (S011-FR-016): method, path, fields in their order with their repetitions,
 * bodies, trailers and interim responses, in both directions.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { describe, expect, it } from 'vitest';
import { readH2Reply } from '../kit/agent.ts';
import { CODE, dataFrame, type Fields, headersFrame } from '../kit/h2-wire.ts';
import type { OriginReply } from '../kit/origin.ts';
import { fieldsOf, openBoth, startH2Scene, startRawH2Scene } from './h2-scene.ts';

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const streamOf = (reply: OriginReply): ServerHttp2Stream => (reply as unknown as { stream: ServerHttp2Stream }).stream;

describe('a request', () => {
  it.each(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND'])(
    'arrives with its method %s, and as ended where it has no body',
    async (method) => {
      await using scene = await startRawH2Scene();
      const { wire, origin } = await openBoth(scene);
      await wire.send(headersFrame(1, fieldsOf(method, '/')));
      const { stream } = await origin.next('headers');
      expect(origin.ended(stream)).toBe(true);
      await origin.send(headersFrame(stream, [[':status', '204']]));
      await wire.next('headers', 1);
      expect(await scene.proxy.nextRecord()).toMatchObject({ method, status: 204, verdict: 'allow' });
    },
  );

  it('arrives with its fields in their order, repeated ones and cookie crumbs on their own', async () => {
    const sent: Fields = [
      ['user-agent', 'kit'],
      ['cookie', 'a=1'],
      ['x-twice', 'one'],
      ['cookie', 'b=2'],
      ['x-twice', 'two'],
      ['accept', 'text/html'],
      ['accept', 'text/plain'],
      ['x-empty', ''],
      ['te', 'trailers'],
      ['authorization', 'Bearer x'],
      ['authorization', 'Bearer y'],
      ['content-type', 'text/plain'],
      ['priority', 'u=1'],
      ['x-obs', '\u00fc\u00ff'],
    ];
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('GET', '/echo?q=%2F&r', sent)));
    const { headers } = await scene.origin.heads.next();
    const pseudo = [':method', 'GET', ':scheme', 'https', ':authority', scene.api, ':path', '/echo?q=%2F&r'];
    expect(headers).toEqual([...pseudo, ...sent.flat()]);
  });

  it('arrives with fields of 60 KB, and with 250 of them', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const large = 'x'.repeat(60_000);
    expect((await agent.request({ ':path': '/', 'x-large': large })).status).toBe(200);
    expect((await scene.origin.heads.next()).header('x-large')).toEqual([large]);
    const many = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`x-${i}`, String(i)]));
    expect((await agent.request({ ':path': '/many', ...many })).status).toBe(200);
    expect((await scene.origin.heads.next()).headers).toHaveLength(2 * (4 + 250));
  });

  it.each([0, 1, 16_384, 300_000, 3_000_001])(
    'arrives with its body of %i bytes, and the answer too',
    async (bytes) => {
      await using scene = await startH2Scene({
        origin: {
          handler: (request, reply) => {
            request.incoming.pipe(reply);
            return true;
          },
        },
      });
      await using agent = await scene.open();
      const body = randomBytes(bytes);
      const reply = await agent.request({ ':method': 'POST', ':path': '/', 'content-length': bytes }, body);
      const request = await scene.origin.nextRequest();
      expect([request.bodyBytes, request.bodySha256, request.header('content-length')]).toEqual([
        bytes,
        sha256(body),
        [String(bytes)],
      ]);
      expect([reply.body.length, sha256(reply.body)]).toEqual([bytes, sha256(body)]);
      expect(await scene.proxy.nextRecord()).toMatchObject({ body_size: bytes, bytes_up: bytes, bytes_down: bytes });
    },
  );

  it('arrives with its trailers, and the response with its own', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const stream = agent.session.request({ ':method': 'POST', ':path': '/trailers' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '42', 'x-twice': ['a', 'b'] }));
    stream.end('body');
    const reply = await readH2Reply(stream);
    expect(reply.trailers['x-checksum']).toBe('abc123');
    expect((await scene.origin.nextRequest()).trailers).toEqual(['x-sum', '42', 'x-twice', 'a', 'x-twice', 'b']);
    expect(reply.body.toString()).toBe('body before trailers');
  });

  it('that is nothing but head and trailers arrives so', async () => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(
      headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false }),
      headersFrame(1, [['x-sum', '0']]),
    );
    const request = await scene.origin.nextRequest();
    expect([request.bodyBytes, request.trailers]).toEqual([0, ['x-sum', '0']]);
  });
});

describe('a response', () => {
  it('arrives with its fields in their order and nothing added, repeated ones on their own', async () => {
    const sent = ['x-a', '1', 'set-cookie', 'a=1', 'x-b', '', 'set-cookie', 'b=2', 'content-type', 'a/b', 'x-a', '2'];
    await using scene = await startH2Scene({
      origin: {
        handler: (_, reply) => {
          streamOf(reply).respond([':status', '207', ...sent] as never, { sendDate: false } as object);
          streamOf(reply).end('body');
          return true;
        },
      },
    });
    await using agent = await scene.open();
    const stream = agent.session.request({ ':path': '/' });
    const got = new Promise<string[]>((resolve) => {
      stream.once('response', (_headers: IncomingHttpHeaders, _flags: number, raw: string[]) => resolve(raw));
    });
    await readH2Reply(stream);
    expect(await got).toEqual([':status', '207', ...sent]);
  });

  it('arrives with 200 fields', async () => {
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, String(i)]));
    const handler = (_: unknown, reply: OriginReply): boolean => reply.writeHead(200, many).end() !== undefined;
    await using scene = await startH2Scene({ origin: { handler } });
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('GET', '/')));
    await wire.next('headers', 1);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', status: 200 });
  });

  it.each([
    [
      'content-type twice',
      [
        ['content-type', 'a/b'],
        ['content-type', 'c/d'],
      ] as const,
    ],
    [
      'etag twice',
      [
        ['etag', '"a"'],
        ['etag', '"b"'],
      ] as const,
    ],
    ['te in another case', [['te', 'Trailers']] as const],
    ['http2-settings', [['http2-settings', 'x']] as const],
  ])('with %s is passed on or refused, and never harms the next one', async (_, fields: Fields) => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    await wire.send(headersFrame(1, fieldsOf('GET', '/1')));
    const first = await origin.next('headers');
    await origin.send(headersFrame(first.stream, [[':status', '200'], ...fields]));
    await wire.next('headers', 1);
    const { status, reason } = await scene.proxy.nextRecord();
    expect([status, reason]).toEqual(fields.length === 2 ? [200, null] : [502, 'origin_malformed']);
    await wire.send(headersFrame(3, fieldsOf('GET', '/2')));
    const second = await origin.next('headers');
    await origin.send(headersFrame(second.stream, [[':status', '200']]));
    await wire.next('headers', 3);
  });

  it('is preceded by 103 and by the 100 that the client waits for', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const hints = agent.session.request({ ':path': '/early-hints' });
    const [early] = (await once(hints, 'headers')) as [IncomingHttpHeaders];
    expect([early[':status'], early['link']]).toEqual([103, '</style.css>; rel=preload; as=style']);
    expect((await readH2Reply(hints)).body.toString()).toBe('after hints');

    const careful = agent.session.request({ ':method': 'POST', ':path': '/echo', expect: '100-continue' });
    await once(careful, 'continue');
    expect((await scene.origin.heads.some(({ url }) => url === '/echo')).bodyBytes).toBe(0);
    careful.end('now');
    expect((await readH2Reply(careful)).status).toBe(200);
    expect((await scene.origin.requests.some(({ url }) => url === '/echo')).body.toString()).toBe('now');

    const refused = agent.session.request({ ':method': 'POST', ':path': '/refuse', expect: '100-continue' });
    let continued = false;
    refused.on('continue', () => (continued = true));
    const [answer] = (await once(refused, 'response')) as [IncomingHttpHeaders];
    expect([answer[':status'], continued]).toEqual([417, false]);
    refused.end();
  });

  it('S011: to HEAD, and with 204 or 304, has no body, and its stream ends well', async () => {
    await using scene = await startH2Scene({
      origin: {
        handler: (request, reply) => {
          if (request.url !== '/length') return false;
          reply.writeHead(request.method === 'HEAD' ? 200 : 304, { 'content-length': '1234', etag: '"x"' }).end();
          return true;
        },
      },
    });
    await using agent = await scene.open();
    const head = await agent.request({ ':method': 'HEAD', ':path': '/length' });
    const unchanged = await agent.request({ ':path': '/length' });
    const empty = await agent.request({ ':path': '/status/204' });
    const seen = [head, unchanged, empty].map((reply) => [reply.status, reply.body.length, reply.rstCode]);
    expect(seen).toEqual([
      [200, 0, CODE.none],
      [304, 0, CODE.none],
      [204, 0, CODE.none],
    ]);
    expect([head.headers['content-length'], unchanged.headers.etag]).toEqual(['1234', '"x"']);
  });

  it('that comes before the request has ended is passed on whole, and the rest is not wanted', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    await wire.send(headersFrame(1, fieldsOf('POST', '/'), { endStream: false }), dataFrame(1, 'a'));
    const { stream } = await origin.next('headers');
    const head: Fields = [[':status', '413']];
    await origin.send(headersFrame(stream, head, { endStream: false }), dataFrame(stream, 'no', false));
    await origin.send(headersFrame(stream, [['x-why', 'size']]));
    expect(await wire.nextCode('rst', 1)).toBe(CODE.none);
    expect([wire.dataOn(1).toString(), wire.ended(1)]).toEqual(['no', true]);
    expect(wire.frames.all.filter((frame) => frame.stream === 1 && frame.type === 1)).toHaveLength(2);
    expect(await origin.nextCode('rst', stream)).toBe(CODE.internal);
    expect(origin.ended(stream)).toBe(false);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', status: 413 });
  });

  it('that is nothing but a head, before the request has ended, is passed on, and the rest is not wanted', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    await wire.send(headersFrame(1, fieldsOf('POST', '/'), { endStream: false }), dataFrame(1, 'a'));
    const { stream } = await origin.next('headers');
    await origin.send(headersFrame(stream, [[':status', '401']]));
    expect(await wire.nextCode('rst', 1)).toBe(CODE.none);
    expect([wire.ended(1), origin.ended(stream)]).toEqual([true, false]);
  });
});
