/**
 * `egress.response` over HTTP/1.1: an answer is decided by its status and fields before the agent gets a byte of it. What
 * passes is not held up; of what does not, the origin sends no more.
 */
import { describe, expect, it, vi } from 'vitest';
import { fieldOf } from '../kit/http1-reply.ts';
import { says } from '../kit/raw-origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { DOORS, startDoors } from '../property/doors.ts';
import {
  ask,
  blockRule,
  interceptRule,
  refusalOf,
  startInterceptScene,
  startRawInterceptScene,
} from './intercept-scene.ts';

const API = 'http.host == "api.test"';

/** The usual rule, for what `response` says of answers. */
function answering(response: string, condition = API): string {
  return rulesFile(interceptRule('answers', condition, `, response: '${response}'`));
}

const JSON_ONLY = answering('http.response.headers["content-type"].startsWith("application/json")');
const GOOD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Secret: s3cret\r\n';
const BAD = GOOD.replace('application/json', 'text/html');

describe('a rule on the answer', () => {
  it('lets through what it is true of, and refuses the rest with the reason, of which the agent gets no byte', async () => {
    await using scene = await startRawInterceptScene(
      async (peer) => {
        const good = (await peer.readRequest()).includes('/good');
        await peer.send(`${good ? GOOD : BAD}Content-Length: 4\r\n\r\n{"a"`);
      },
      { rules: JSON_ONLY },
    );
    await using agent = await scene.open();
    const refused = await ask(agent, '/bad');
    expect(refusalOf(refused)).toEqual([403, 'answers']);
    expect(fieldOf(refused.headers, 'connection')).toBe('close');
    expect(await agent.untilEnded()).toBe('FIN');
    expect(refused.headers.join() + refused.body.toString()).not.toMatch(/s3cret|{"a"/);
    expect(refused.body.toString()).toMatch(/^Blocked by outcall: ./);
    expect(await scene.proxy.nextRecord()).toMatchObject({
      ...{ verdict: 'block', rule: 'answers', reason: 'rule', status: 403, mode: 'intercept', path: '/bad' },
      ...{ upstream: '127.0.0.1' },
    });
    await using twin = await scene.open();
    const passed = await ask(twin, '/good');
    expect([passed.status, passed.body.toString(), fieldOf(passed.headers, 'x-secret')]).toEqual([
      200,
      '{"a"',
      's3cret',
    ]);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', rule: 'answers', status: 200 });
  });

  it.each([
    ['the status', 'http.response.status == 200', '/status/200', '/status/500'],
    ['a field that may be missing', '"location" in http.response.headers', '/redirect', '/ok'],
    ['the request too', 'http.path == "/ok" || http.response.status != 200', '/ok', '/else'],
  ])('sees %s', async (_, response, good, bad) => {
    await using scene = await startInterceptScene({ rules: answering(response) });
    await using agent = await scene.open();
    expect((await ask(agent, good)).status).not.toBe(403);
    expect(refusalOf(await ask(agent, bad))).toEqual([403, 'answers']);
    expect(scene.origin.requests.count).toBe(2);
  });

  it('that cannot be evaluated refuses', async () => {
    await using scene = await startInterceptScene({ rules: answering('http.response.headers["x-none"] != "x"') });
    await using agent = await scene.open();
    expect(refusalOf(await ask(agent, '/'))).toEqual([403, 'answers']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'block', reason: 'error' });
  });

  it('speaks for the requests that it lets through, and not for those of another rule', async () => {
    const rules = rulesFile(
      interceptRule('free', `${API} && http.path == "/free"`),
      interceptRule('answers', API, ", response: 'http.response.status == 204'"),
      blockRule('none', API),
    );
    await using scene = await startInterceptScene({ rules });
    await using agent = await scene.open();
    expect((await ask(agent, '/free')).status).toBe(200);
    expect((await ask(agent, '/status/204')).status).toBe(204);
    expect(refusalOf(await ask(agent, '/else'))).toEqual([403, 'answers']);
  });

  it('gives its reason as JSON to who accepts JSON', async () => {
    await using scene = await startInterceptScene({ rules: answering('http.response.status == 204') });
    await using agent = await scene.open();
    const reply = await ask(agent, '/', { headers: ['Accept: application/json'] });
    expect(JSON.parse(reply.body.toString())).toMatchObject({ error: 'blocked', rule: 'answers' });
  });
});

describe('an answer that is refused', () => {
  it('is read no further: the connection to the origin is cut in the middle of its body, and used by nobody else', async () => {
    await using scene = await startInterceptScene({ rules: JSON_ONLY });
    await using agent = await scene.open();
    await agent.send('GET /live HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    expect(refusalOf(await agent.readReply())).toEqual([403, 'answers']);
    expect(await live.closed).toBe(false);
    await scene.origin.closed.atLeast(1);
    await using twin = await scene.open();
    expect((await ask(twin, '/echo')).status).toBe(200);
    expect((await scene.origin.requests.next(({ url }) => url === '/echo')).connection).toBe(2);
  });

  it('reaches an agent that is still sending its body; one that passes does too', async () => {
    await using scene = await startInterceptScene({
      rules: answering('http.path == "/early-good"'),
      origin: { handler: (_, reply) => reply.writeHead(200, { 'content-length': 5 }).end('early') !== undefined },
    });
    for (const [path, status] of [
      ['/early-bad', 403],
      ['/early-good', 200],
    ] as const) {
      await using agent = await scene.open();
      await agent.send(`POST ${path} HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1000000\r\n\r\nsome of it`);
      expect((await agent.readReply()).status).toBe(status);
    }
  });

  it('to HEAD announces a refusal and sends no body; 204 and 304 are decided like any other', async () => {
    await using scene = await startInterceptScene({ rules: answering('http.header("x-ok") == "1"') });
    for (const [method, path, status] of [
      ['HEAD', '/', 200],
      ['GET', '/status/304', 304],
      ['GET', '/status/204', 204],
    ] as const) {
      await using agent = await scene.open();
      expect((await ask(agent, path, { method, headers: ['X-Ok: 1'] })).status).toBe(status);
      await agent.send(`${method} ${path} HTTP/1.1\r\nHost: api.test\r\n\r\n`);
      const refused = await agent.readReply(method);
      expect(refusalOf(refused)).toEqual([403, 'answers']);
      expect((await agent.readToEnd()).length).toBe(0);
    }
  });

  it('ends the connection: what was pipelined behind it is not sent', async () => {
    await using scene = await startInterceptScene({ rules: answering('http.path == "/one"') });
    await using agent = await scene.open();
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: api.test\r\n\r\n`;
    await agent.send(get('/one') + get('/two') + get('/one?three'));
    expect((await agent.readReply()).status).toBe(200);
    expect((await agent.readReply()).status).toBe(403);
    expect(await agent.untilEnded()).toBe('FIN');
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(['/one', '/two']);
  });
});

describe('an answer that passes', () => {
  it('is not held up: each event comes as the origin sends it', async () => {
    await using scene = await startInterceptScene({
      rules: answering('http.response.headers["content-type"] == "text/event-stream"'),
    });
    await using agent = await scene.open();
    await agent.send('GET /sse HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    await agent.readUntil('\r\n\r\n');
    for (const event of ['one', 'two']) {
      await live.send(`data: ${event}\n\n`);
      await agent.readUntil(`data: ${event}\n\n`);
    }
    live.end();
    await agent.readUntil('0\r\n\r\n');
    expect((await ask(agent, '/status/204')).status).toBe(403);
  });

  it('keeps its trailers, and the connection on both sides', async () => {
    await using scene = await startInterceptScene({ rules: answering('http.response.status == 200') });
    await using agent = await scene.open();
    const reply = await ask(agent, '/trailers', { method: 'POST', body: 'x' });
    expect(fieldOf(reply.trailers, 'x-checksum')).toBe('abc123');
    expect((await ask(agent, '/echo')).status).toBe(200);
    expect(scene.origin.connections).toBe(1);
  });
});

describe('interim answers under a rule on the answer', () => {
  const HINTS = `HTTP/1.1 103 Early Hints\r\nLink: </s3cret>\r\n\r\nHTTP/1.1 100 Continue\r\nX-Secret: s3cret\r\n\r\n`;
  const script = says(`${HINTS}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`);

  it('carry nothing past it: a 100 comes bare, a 103 not at all; without such a rule both come as they are', async () => {
    const seen: unknown[] = [];
    for (const rules of [answering('http.response.status == 200'), rulesFile(interceptRule('free', API))]) {
      await using scene = await startRawInterceptScene(script, { rules });
      await using agent = await scene.open();
      const reply = await ask(agent, '/');
      seen.push([reply.status, reply.interim.map(({ status, headers }) => [status, headers.length / 2])]);
    }
    expect(seen).toEqual([
      [200, [[100, 0]]],
      [
        200,
        [
          [103, 1],
          [100, 1],
        ],
      ],
    ]);
  });

  it('are followed by the refusal where the final answer is refused', async () => {
    await using scene = await startRawInterceptScene(script, { rules: answering('http.response.status == 204') });
    await using agent = await scene.open();
    const reply = await ask(agent, '/');
    expect([refusalOf(reply), JSON.stringify(reply).includes('s3cret')]).toEqual([[403, 'answers'], false]);
  });
});

describe('a WebSocket under a rule on the answer', () => {
  const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
  const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';
  const HEADERS = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${KEY}`,
  ];

  it('is switched where the rule is true of the 101, and refused with 403 where not, before a frame has passed', async () => {
    const bytes = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\nframe`;
    for (const [response, status] of [
      ['http.response.status == 101 && http.response.headers["upgrade"] == "websocket"', 101],
      ['http.response.status == 200', 403],
    ] as const) {
      await using scene = await startRawInterceptScene(says(bytes), { rules: answering(response) });
      await using agent = await scene.open();
      const reply = await ask(agent, '/ws', { headers: HEADERS });
      expect(reply.status).toBe(status);
      if (status === 101) expect((await agent.readExactly(5)).toString()).toBe('frame');
      else expect(reply.body.toString()).toMatch(/^Blocked by outcall: /);
      const peer = scene.origin.peers.all[0];
      if (status === 403) expect(await peer?.untilEnded()).not.toBeUndefined();
    }
  });
});

it.each(DOORS)('an answer has the same verdict through every door: %s', async (door) => {
  await using doors = await startDoors({ rules: answering('http.response.status == 204') });
  expect(await doors.ask(door, { path: '/status/204' })).toEqual([204, undefined]);
  expect(await doors.ask(door, { path: '/' })).toEqual([403, 'answers']);
  expect(doors.origins[door].requests.count).toBe(2);
});

it('answers are asked about only where the rule that let their request through looks at them', async () => {
  for (const [rules, times] of [
    [rulesFile(interceptRule('free', API)), 0],
    [answering('http.response.status == 200'), 1],
  ] as const) {
    await using scene = await startInterceptScene({ rules });
    const asked = vi.spyOn(scene.proxy.rules, 'decideResponse');
    await using agent = await scene.open();
    expect((await ask(agent, '/')).status).toBe(200);
    expect(asked).toHaveBeenCalledTimes(times);
  }
});
