/**
 * A verdict for each HTTP/2 stream (S011-FR-011, FR-015, FR-016): allowed and blocked streams side by side on one
 * connection, where a refusal ends its own stream and nothing else.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { H2Agent } from '../kit/agent.ts';
import { CODE, dataFrame, headersFrame } from '../kit/h2-wire.ts';
import { rulesFile } from '../kit/rules.ts';
import { run } from '../kit/run.ts';
import { TempFolder } from '../kit/temp.ts';
import { fieldsOf, pingOf, refusalOf, startH2Scene } from './h2-scene.ts';
import { blockRule, interceptRule } from './intercept-scene.ts';

const RULES = rulesFile(
  blockRule('no-delete', 'http.host == "api.test" && http.method == "DELETE"'),
  interceptRule('v1', 'http.host == "api.test" && http.path.startsWith("/v1/")'),
  interceptRule('live', 'http.host == "api.test" && http.path in ["/sse", "/live", "/echo"]'),
);

function statusesOf(agent: H2Agent, requests: readonly (readonly [string, string])[]): Promise<number[]> {
  const asked = requests.map(([method, path]) => agent.request({ ':method': method, ':path': path }));
  return Promise.all(asked.map(async (reply) => (await reply).status));
}

describe('the streams of one connection', () => {
  it('S011-AS-001: are decided by method: POST passes and GET is refused, at the same time', async () => {
    const rules = rulesFile(interceptRule('post-only', 'http.host == "api.test" && http.method == "POST"'));
    await using scene = await startH2Scene({ rules });
    await using agent = await scene.open();
    const requests = ['POST', 'GET', 'POST', 'PUT', 'GET'].map((method, i) => [method, `/${i}`] as const);
    expect(await statusesOf(agent, requests)).toEqual([200, 403, 200, 403, 403]);
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(['/0', '/2']);
    expect(scene.origin.heads.all.map(({ httpVersion }) => httpVersion)).toEqual(['2.0', '2.0']);
  });

  it('S011-AS-002: are decided by path, each by its own', async () => {
    await using scene = await startH2Scene({ rules: RULES });
    await using agent = await scene.open();
    const paths = ['/v1/x', '/v2/x', '/v1', '/v1/', '/V1/x', '/v1/y'];
    const statuses = await statusesOf(
      agent,
      paths.map((path) => ['GET', path]),
    );
    expect(statuses).toEqual([200, 403, 403, 200, 403, 200]);
    expect(scene.origin.heads.all.map(({ url }) => url)).toEqual(['/v1/x', '/v1/', '/v1/y']);
  });

  it('leave the origin without one byte while all of them are refused', async () => {
    await using scene = await startH2Scene({ rules: RULES });
    await using first = await scene.open();
    expect((await first.request({ ':path': '/v1/known' })).status).toBe(200);
    const { connections, bytes } = scene.origin;
    await using agent = await scene.open();
    expect(
      await statusesOf(agent, [
        ['GET', '/'],
        ['DELETE', '/v1/x'],
      ]),
    ).toEqual([403, 403]);
    // The origin is known to speak h2, so a connection whose requests are refused does not even dial.
    expect([scene.origin.connections, scene.origin.bytes]).toEqual([connections, bytes]);
    expect((await agent.request({ ':path': '/v1/x' })).status).toBe(200);
    expect(scene.origin.connections).toBe(connections + 1);
  });

  it('go on when another is refused: events and a body in both directions pass on', async () => {
    await using scene = await startH2Scene({ rules: RULES });
    await using agent = await scene.open();
    const events = agent.session.request({ ':path': '/sse' });
    const both = agent.session.request({ ':method': 'POST', ':path': '/live' });
    const sse = await scene.origin.live.next(({ request }) => request.url === '/sse');
    const live = await scene.origin.live.next(({ request }) => request.url === '/live');
    const exchange = async (text: string) => {
      await sse.send(`data: ${text}\n\n`);
      expect(String((await once(events, 'data'))[0])).toBe(`data: ${text}\n\n`);
      const sum = live.request.bodyBytes + text.length;
      both.write(text);
      await scene.origin.heads.some((head) => head.url === '/live' && head.bodyBytes === sum);
    };
    await exchange('before');
    expect(
      await statusesOf(agent, [
        ['DELETE', '/v1/x'],
        ['GET', '/none'],
        ['GET', '/v1/x'],
      ]),
    ).toEqual([403, 403, 200]);
    await exchange('after');
    expect([events.closed, both.closed]).toEqual([false, false]);
    sse.end();
    await once(events, 'close');
    expect([events.rstCode, both.closed]).toEqual([CODE.none, false]);
  });
});

describe('the refusal of a stream', () => {
  it('S011-FR-015: is 403 in text that names the rule, without fields of the connection', async () => {
    await using scene = await startH2Scene({ rules: RULES });
    await using agent = await scene.open();
    const reply = await agent.request({ ':method': 'DELETE', ':path': '/v1/x' });
    expect(refusalOf(reply)).toEqual([403, 'no-delete']);
    expect(reply.headers['content-type']).toMatch(/^text\/plain/);
    expect(reply.headers.connection).toBeUndefined();
    expect(reply.body.toString()).toMatch(/^Blocked by outcall: ./);
    expect(reply.headers['content-length']).toBe(String(reply.body.length));
    expect(reply.rstCode).toBe(CODE.none);
    expect(refusalOf(await agent.request({ ':path': '/none' }))).toEqual([403, 'default']);
    expect((await agent.request({ ':path': '/v1/x' })).status).toBe(200);
  });

  it('is JSON for who accepts JSON', async () => {
    await using scene = await startH2Scene({ rules: RULES });
    await using agent = await scene.open();
    const reply = await agent.request({ ':path': '/none', accept: 'application/json' });
    expect(reply.headers['content-type']).toBe('application/json');
    expect(JSON.parse(reply.body.toString())).toMatchObject({ error: 'blocked', rule: 'default' });
    expect((await agent.request({ ':path': '/none', accept: '*/*' })).body.toString()).toMatch(/^Blocked/);
  });

  it('has no body for HEAD, and tells the length that GET would have', async () => {
    await using scene = await startH2Scene({ rules: RULES });
    await using agent = await scene.open();
    const [head, get] = await Promise.all([
      agent.request({ ':method': 'HEAD', ':path': '/none' }),
      agent.request({ ':path': '/none' }),
    ]);
    expect([head.status, head.body.length, head.rstCode]).toEqual([403, 0, CODE.none]);
    expect(head.headers['content-length']).toBe(get.headers['content-length']);
    expect((await agent.request({ ':method': 'HEAD', ':path': '/v1/x' })).status).toBe(200);
  });

  it('reaches who is still sending a body, then asks to stop with NO_ERROR; other streams go on', async () => {
    await using scene = await startH2Scene({ rules: RULES });
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('POST', '/live'), { endStream: false }), dataFrame(1, 'one '));
    const live = await scene.origin.live.next();
    await wire.send(headersFrame(3, fieldsOf('POST', '/none'), { endStream: false }), dataFrame(3, 'some of it'));
    await wire.next('headers', 3);
    expect(await wire.nextCode('rst', 3)).toBe(CODE.none);
    expect(wire.dataOn(3).toString()).toMatch(/^Blocked by outcall: /);
    expect(wire.ended(3)).toBe(true);
    // What was under way already is ignored, and does not end the connection.
    await wire.send(dataFrame(3, 'more of it', true), dataFrame(1, 'two', true));
    await scene.origin.requests.next(({ url }) => url === '/live');
    expect(live.request.body.toString()).toBe('one two');
    expect(scene.origin.heads.count).toBe(1);
  });

  it('comes whole to a node client with a large body under way', async () => {
    await using scene = await startH2Scene({ rules: RULES });
    await using agent = await scene.open();
    const body = Buffer.alloc(4_000_000, 'x');
    expect(refusalOf(await agent.request({ ':method': 'POST', ':path': '/none' }, body))).toEqual([403, 'default']);
    expect(scene.origin.bytes).toBeLessThan(10_000);
    await agent.request({ ':method': 'POST', ':path': '/echo' }, body.subarray(0, 1000));
    expect((await scene.origin.nextRequest()).bodyBytes).toBe(1000);
  });
});

describe('methods that are never forwarded', () => {
  it.each([
    ['TRACE', fieldsOf('TRACE', '/v1/x')],
    ['a method in lower case', fieldsOf('delete', '/v1/x')],
    [
      'CONNECT',
      [
        [':method', 'CONNECT'],
        [':authority', 'api.test:443'],
      ] as const,
    ],
    [
      'CONNECT to another host',
      [
        [':method', 'CONNECT'],
        [':authority', 'other.test:443'],
      ] as const,
    ],
  ])('%s is refused on its stream, whatever the rules say', async (name, fields) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fields, { endStream: name !== 'CONNECT' }));
    const status = name === 'CONNECT to another host' ? 421 : 405;
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', status, http_version: '2' });
    await wire.next('headers', 1);
    await wire.send(headersFrame(3, fieldsOf('GET', '/v1/x')));
    await wire.next('headers', 3);
    expect(scene.origin.heads.all.map(({ method }) => method)).toEqual(['GET']);
  });
});

describe('curl', () => {
  it('S011-SC-001: over HTTP/2 gets what the rule for its method and path says', async () => {
    const condition = 'http.host == "api.test" && http.method == "POST" && http.path.startsWith("/v1/messages")';
    await using scene = await startH2Scene({ rules: rulesFile(interceptRule('messages', condition)) });
    using folder = new TempFolder();
    const ca = folder.write('ca.pem', scene.proxy.caPem);
    const curl = async (...args: string[]) => {
      const proxy = `http://127.0.0.1:${scene.proxy.port}`;
      const asked = ['-sS', '--http2', '--cacert', ca, '-x', proxy, '-w', ' %{http_version} %{http_code}', ...args];
      return (await run('curl', asked)).stdout;
    };
    const url = `https://${scene.api}/v1/messages`;
    expect(await curl('-d', '{}', url)).toBe('ok 2 200');
    expect(await curl(url)).toMatch(/^Blocked by outcall: .* 2 403$/);
    expect(await curl('-d', '{}', `https://${scene.api}/v1/other`)).toMatch(/ 2 403$/);
    expect(scene.origin.requests.all.map(({ method, url: path }) => `${method} ${path}`)).toEqual([
      'POST /v1/messages',
    ]);
  });
});

it('an agent connection with nothing but refusals stays open for the next stream', async () => {
  await using scene = await startH2Scene({ rules: RULES });
  await using agent = await scene.open();
  for (let i = 0; i < 50; i++) expect((await agent.request({ ':path': `/none/${i}` })).status).toBe(403);
  await pingOf(agent);
  expect((await agent.request({ ':path': '/v1/x' })).status).toBe(200);
  expect(scene.proxy.records.all.filter(({ verdict }) => verdict === 'block')).toHaveLength(50);
});
