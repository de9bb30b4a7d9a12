/**
 * `egress.response` over HTTP/2: decided for each stream by the head of its answer, as over HTTP/1.1; a refusal resets the
 * origin's stream and leaves every other be.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { CODE, dataFrame, headersFrame } from '../kit/h2-wire.ts';
import { rulesFile } from '../kit/rules.ts';
import { run } from '../kit/run.ts';
import { TempFolder } from '../kit/temp.ts';
import { askThrough, fieldsOf, nextOrigin, openBoth, refusalOf, startH2Scene, startRawH2Scene } from './h2-scene.ts';
import { interceptRule } from './intercept-scene.ts';

const API = 'http.host == "api.test"';

function answering(response: string): string {
  return rulesFile(interceptRule('answers', API, `, response: '${response}'`));
}

const EVENTS_ONLY = answering('http.response.headers["content-type"] == "text/event-stream"');

describe('a rule on the answer, over HTTP/2', () => {
  it('refuses a stream with the reason and resets the origin’s, while others go on and none that passes is held up', async () => {
    await using scene = await startH2Scene({ rules: EVENTS_ONLY });
    await using agent = await scene.open();
    const events = agent.session.request({ ':path': '/sse' });
    const sse = await scene.origin.live.next();
    await once(events, 'response');
    const exchange = async (text: string) => {
      await sse.send(`data: ${text}\n\n`);
      expect(String((await once(events, 'data'))[0])).toBe(`data: ${text}\n\n`);
    };
    await exchange('before');
    const asked = agent.request({ ':path': '/live' });
    const live = await scene.origin.live.next();
    const refused = await asked;
    expect([refusalOf(refused), refused.rstCode]).toEqual([[403, 'answers'], CODE.none]);
    expect(refused.body.toString()).toMatch(/^Blocked by outcall: ./);
    expect(await live.closed).toBe(false);
    await exchange('after');
    expect(await scene.proxy.nextRecord()).toMatchObject({
      ...{ verdict: 'block', rule: 'answers', status: 403, path: '/live', http_version: '2', upstream: '127.0.0.1' },
    });
    expect(scene.origin.connections).toBe(1);
  });

  it('says RST_STREAM with CANCEL to the origin at once, and nothing of its answer to the agent', async () => {
    await using scene = await startRawH2Scene({ rules: EVENTS_ONLY });
    const { wire, origin } = await openBoth(scene);
    for (const [stream, type, passes] of [
      [1, 'text/html', false],
      [3, 'text/event-stream', true],
    ] as const) {
      const asked = await askThrough(wire, origin, stream);
      const answer = [
        [':status', '200'],
        ['content-type', type],
        ['x-secret', 's3cret'],
      ] as const;
      await origin.send(headersFrame(asked.stream, answer, { endStream: false }), dataFrame(asked.stream, 's3cret'));
      await wire.next('headers', stream);
      if (!passes) expect(await origin.nextCode('rst', asked.stream)).toBe(CODE.cancel);
      await wire.next('data', stream);
      expect(wire.dataOn(stream).includes('s3cret')).toBe(passes);
    }
  });

  it('sees HEAD, 204 and 304 like any other answer, and gives its reason as JSON where that is accepted', async () => {
    await using scene = await startH2Scene({ rules: answering('http.header("x-ok") == "1"') });
    await using agent = await scene.open();
    for (const [method, path, status] of [
      ['HEAD', '/', 200],
      ['GET', '/status/304', 304],
      ['GET', '/status/204', 204],
    ] as const) {
      const passed = await agent.request({ ':method': method, ':path': path, 'x-ok': '1' });
      expect([passed.status, passed.rstCode]).toEqual([status, CODE.none]);
      const refused = await agent.request({ ':method': method, ':path': path, accept: 'application/json' });
      expect([refusalOf(refused), refused.rstCode]).toEqual([[403, 'answers'], CODE.none]);
      if (method === 'GET')
        expect(JSON.parse(String(refused.body))).toMatchObject({ error: 'blocked', rule: 'answers' });
      else expect(refused.body.length).toBe(0);
    }
  });

  it('reaches who is still sending a body, and stops that with NO_ERROR', async () => {
    await using scene = await startH2Scene({ rules: EVENTS_ONLY });
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('POST', '/live'), { endStream: false }), dataFrame(1, 'some of it'));
    const live = await scene.origin.live.next();
    await wire.next('headers', 1);
    expect(await wire.nextCode('rst', 1)).toBe(CODE.none);
    expect(wire.dataOn(1).toString()).toMatch(/^Blocked by outcall: /);
    expect(await live.closed).toBe(false);
    await wire.send(headersFrame(3, fieldsOf('POST', '/sse'), { endStream: false }), dataFrame(3, 'some of it'));
    await (await scene.origin.live.next()).send('data: x\n\n');
    await wire.next('data', 3);
  });

  it('keeps the trailers of what passes', async () => {
    await using scene = await startH2Scene({ rules: answering('http.response.status == 200') });
    await using agent = await scene.open();
    const reply = await agent.request({ ':method': 'POST', ':path': '/trailers' }, Buffer.from('x'));
    expect([reply.status, reply.trailers['x-checksum']]).toEqual([200, 'abc123']);
  });

  it('lets no interim answer carry anything past it: a 100 comes bare, a 103 not at all', async () => {
    for (const [rules, hints] of [
      [answering('http.response.status == 200'), [[100, undefined]]],
      [
        rulesFile(interceptRule('free', API)),
        [
          [103, '</s3cret>'],
          [100, '</s3cret>'],
        ],
      ],
    ] as const) {
      await using scene = await startRawH2Scene({ rules });
      const [agent, origin] = await Promise.all([scene.open(), nextOrigin(scene)]);
      const stream = agent.session.request({ ':path': '/' });
      const seen: unknown[] = [];
      stream.on('headers', (fields) => seen.push([fields[':status'], fields['link']]));
      const { stream: id } = await origin.next('headers');
      const interim = (status: string): Buffer =>
        headersFrame(
          id,
          [
            [':status', status],
            ['link', '</s3cret>'],
          ],
          { endStream: false },
        );
      await origin.send(interim('103'), interim('100'), headersFrame(id, [[':status', '200']]));
      const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
      expect([answer[':status'], seen]).toEqual([200, hints]);
    }
  });

  it('sees the answer to an extended CONNECT as the 101 that it is over HTTP/1.1', async () => {
    for (const [response, status] of [
      ['http.response.status == 101 && http.response.headers["upgrade"] == "websocket"', 200],
      ['http.response.status == 200', 403],
    ] as const) {
      await using scene = await startH2Scene({ rules: answering(response), origin: { connectProtocol: true } });
      await using agent = await scene.open();
      const stream = agent.session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws' });
      const [answer] = (await once(stream, 'response')) as [Record<string, unknown>];
      expect(answer[':status']).toBe(status);
      stream.on('error', () => undefined);
      stream.close();
    }
  });
});

describe('curl', () => {
  it('over HTTP/1.1 and HTTP/2 gets the answer or the reason, and nothing in between', async () => {
    const rules = answering('http.response.headers["content-type"].startsWith("application/json")');
    await using scene = await startH2Scene({ rules, tls: { alpn: ['h2', 'http/1.1'] } });
    using folder = new TempFolder();
    const ca = folder.write('ca.pem', scene.proxy.caPem);
    for (const version of ['--http1.1', '--http2']) {
      const get = async (path: string) => {
        const asked = [
          '-sS',
          version,
          '--cacert',
          ca,
          '-x',
          `http://127.0.0.1:${scene.proxy.port}`,
          '-w',
          ' %{http_code}',
        ];
        return (await run('curl', [...asked, `https://${scene.api}${path}`])).stdout;
      };
      expect(await get('/echo')).toMatch(/^\{"method":"GET".* 200$/);
      expect(await get('/chunked')).toMatch(/^Blocked by outcall: .* 403$/);
    }
  });
});
