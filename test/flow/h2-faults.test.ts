/**
 * Origins that break HTTP/2 or break off, and agents that go: each failure on its own stream, recorded as what it was, and a
 * cut-off message never looks whole (threat 9).
 */
import { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { H2Agent, openTunnel, readH2Reply, startTls } from '../kit/agent.ts';
import {
  CODE,
  dataFrame,
  type Fields,
  frame,
  goawayFrame,
  type H2Wire,
  headersFrame,
  rstFrame,
} from '../kit/h2-wire.ts';
import { rulesFile } from '../kit/rules.ts';
import { askThrough, fieldsOf, nextOrigin, openBoth, startH2Scene, startRawH2Scene } from './h2-scene.ts';
import { interceptRule } from './intercept-scene.ts';

const OK: Fields = [[':status', '200']];

describe('an origin that breaks off in the middle of a body', () => {
  it.each([
    ['closes its connection', (origin: H2Wire) => origin.socket.finish()],
    ['resets its connection', (origin: H2Wire) => origin.socket.reset()],
    ['resets the stream', (origin: H2Wire, stream: number) => origin.send(rstFrame(stream, CODE.internal))],
    ['resets the stream with NO_ERROR', (origin: H2Wire, stream: number) => origin.send(rstFrame(stream, CODE.none))],
    ['says GOAWAY with an error', (origin: H2Wire, stream: number) => origin.send(goawayFrame(stream, CODE.internal))],
    ['breaks the framing', (origin: H2Wire) => origin.send(dataFrame(0, 'x'))],
    [
      'sends less than its content-length',
      (origin: H2Wire, stream: number) => origin.send(dataFrame(stream, 'x', true)),
    ],
    [
      'sends a trailer that would be a host',
      (origin: H2Wire, stream: number) =>
        origin.send(dataFrame(stream, '12345'), headersFrame(stream, [['host', 'x']])),
    ],
  ])('and %s: the agent sees an error, never the end of a response', async (_, breakOff) => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    const { stream } = await askThrough(wire, origin, 1);
    const head: Fields = [...OK, ['content-length', '10']];
    await origin.send(headersFrame(stream, head, { endStream: false }), dataFrame(stream, 'short'));
    await wire.next('data', 1);
    await breakOff(origin, stream);
    expect(await wire.nextCode('rst', 1)).not.toBe(CODE.none);
    expect(wire.ended(1)).toBe(false);
    expect(wire.dataOn(1).toString()).toMatch(/^short(x|12345)?$/);
    const { verdict, reason, status } = await scene.proxy.nextRecord();
    expect([verdict, status]).toEqual(['failed', 200]);
    expect(['origin_closed', 'origin_malformed']).toContain(reason);
    await wire.socket[Symbol.asyncDispose]();
  });

  it('passes the code of its reset on', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    for (const [agentStream, code] of [
      [1, 2],
      [3, 8],
      [5, 11],
      [7, 13],
    ] as const) {
      const { stream } = await askThrough(wire, origin, agentStream);
      await origin.send(headersFrame(stream, OK, { endStream: false }), rstFrame(stream, code));
      expect(await wire.nextCode('rst', agentStream)).toBe(code);
    }
    await wire.socket[Symbol.asyncDispose]();
  });
});

describe('an origin that does not answer a stream', () => {
  it.each([
    [
      'but resets it',
      (origin: H2Wire, stream: number) => origin.send(rstFrame(stream, CODE.internal)),
      'origin_closed',
    ],
    ['but closes', (origin: H2Wire) => origin.socket.finish(), 'origin_closed'],
    ['but resets its connection', (origin: H2Wire) => origin.socket.reset(), 'origin_closed'],
    ['but breaks the framing', (origin: H2Wire) => origin.send(dataFrame(0, 'x')), 'origin_closed'],
    [
      'but says 33 interim responses',
      (origin: H2Wire, stream: number) =>
        origin.send(
          ...Array.from({ length: 33 }, () => headersFrame(stream, [[':status', '102']], { endStream: false })),
        ),
      'origin_malformed',
    ],
  ])('%s, has it answered with 502', async (_, breakOff, reason) => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    const { stream } = await askThrough(wire, origin, 1);
    await breakOff(origin, stream);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason, status: 502 });
    await wire.next('data', 1);
    expect(wire.dataOn(1).toString()).toMatch(/^Outcall could not complete the request: /);
    const next = wire.send(headersFrame(3, fieldsOf('GET', '/3')));
    const second = origin.socket.ended === undefined && reason !== 'origin_closed' ? origin : undefined;
    if (second !== undefined) {
      await next;
      await origin.send(headersFrame((await origin.next('headers')).stream, OK));
      await wire.next('headers', 3);
    }
    await wire.socket[Symbol.asyncDispose]();
  });
});

describe('an origin that says GOAWAY', () => {
  it('finishes what it took, and later streams go to a new session', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    const first = await askThrough(wire, origin, 1);
    await origin.send(goawayFrame(first.stream, CODE.none), frame('ping', 0, 0, Buffer.alloc(8)));
    await origin.next('ping');
    await wire.send(headersFrame(3, fieldsOf('GET', '/3')));
    const later = await nextOrigin(scene);
    const second = await later.next('headers');
    await later.send(headersFrame(second.stream, OK));
    await wire.next('headers', 3);
    await origin.send(headersFrame(first.stream, OK, { endStream: false }), dataFrame(first.stream, 'whole', true));
    await wire.next('data', 1);
    expect(scene.origin.connections).toBe(2);
    await wire.socket[Symbol.asyncDispose]();
  });

  it('without having looked at a request gets it once more on a new session, where it had no body', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    await askThrough(wire, origin, 1);
    await origin.send(goawayFrame(0, CODE.none));
    const later = await nextOrigin(scene);
    const again = await later.next('headers');
    await later.send(headersFrame(again.stream, OK));
    await wire.next('headers', 1);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', status: 200 });
    expect(scene.proxy.records.count).toBe(1);
    await wire.socket[Symbol.asyncDispose]();
  });

  it('gets it again by the rule that admits it by now, where the rules have changed meanwhile', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    await askThrough(wire, origin, 1);
    scene.proxy.reload(rulesFile(interceptRule('newer', 'http.host == "api.test"')));
    await origin.send(goawayFrame(0, CODE.none));
    const later = await nextOrigin(scene);
    await later.send(headersFrame((await later.next('headers')).stream, OK));
    await wire.next('headers', 1);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', rule: 'newer', status: 200 });
    await wire.socket[Symbol.asyncDispose]();
  });

  it('without having looked at a request with a body has it answered with 502', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    await wire.send(headersFrame(1, fieldsOf('POST', '/'), { endStream: false }), dataFrame(1, 'a', true));
    await origin.next('data');
    await origin.send(goawayFrame(0, CODE.none));
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'origin_closed', status: 502 });
    await wire.next('headers', 1);
    expect(scene.origin.connections).toBe(1);
    await wire.socket[Symbol.asyncDispose]();
  });

  it('to the second try as well has it answered with 502', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    const first = await askThrough(wire, origin, 1);
    await origin.send(rstFrame(first.stream, CODE.refused));
    const second = await origin.next('headers');
    await origin.send(rstFrame(second.stream, CODE.refused));
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'origin_closed', status: 502 });
    await wire.socket[Symbol.asyncDispose]();
  });
});

it('an agent that cancels has its code passed on, and its request never looks whole', async () => {
  await using scene = await startRawH2Scene();
  const { wire, origin } = await openBoth(scene);
  for (const [agentStream, code] of [
    [1, CODE.cancel],
    [3, CODE.internal],
    [5, CODE.calm],
  ] as const) {
    const post = headersFrame(agentStream, fieldsOf('POST', '/'), { endStream: false });
    await wire.send(post, dataFrame(agentStream, 'some'));
    const { stream } = await origin.next('data');
    await wire.send(rstFrame(agentStream, code));
    expect(await origin.nextCode('rst', stream)).toBe(code);
    expect([origin.ended(stream), origin.dataOn(stream).toString()]).toEqual([false, 'some']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'client_closed' });
  }
  await wire.socket[Symbol.asyncDispose]();
});

it('an agent that cancels much that is under way loses nothing else of that origin', async () => {
  await using scene = await startRawH2Scene();
  const { wire, origin } = await openBoth(scene);
  const kept = await askThrough(wire, origin, 1);
  const window = Array.from({ length: 250 }, () => Buffer.alloc(1_000, 'x'));
  for (let stream = 3; stream < 63; stream += 2) {
    const asked = await askThrough(wire, origin, stream);
    await wire.send(rstFrame(stream, CODE.cancel));
    await origin.nextCode('rst', asked.stream);
    const late = window.map((bytes) => dataFrame(asked.stream, bytes));
    await origin.send(headersFrame(asked.stream, OK, { endStream: false }), ...late);
  }
  await origin.send(headersFrame(kept.stream, OK));
  await wire.next('headers', 1);
  expect(scene.origin.connections).toBe(1);
  await wire.socket[Symbol.asyncDispose]();
});

it('an agent that goes has all its streams cancelled at the origin', async () => {
  await using scene = await startH2Scene();
  await using agent = await scene.open();
  const streams = [1, 2, 3].map((n) => agent.session.request({ ':method': 'POST', ':path': `/live?${n}` }));
  for (const stream of streams) stream.on('error', () => undefined);
  const lives = await scene.origin.live.atLeast(3);
  agent.session.destroy();
  expect(await Promise.all(lives.map((live) => live.closed))).toEqual([false, false, false]);
  await scene.origin.closed.atLeast(1);
  expect(scene.origin.requests.count).toBe(0);
  await scene.proxy.records.atLeast(3);
  expect(scene.proxy.records.all.map(({ reason }) => reason)).toEqual(Array(3).fill('client_closed'));
  await using next = await scene.open();
  expect((await readH2Reply(next.session.request({ ':path': '/' }))).status).toBe(200);
});

it('an agent whose TLS breaks has its streams cancelled at the origin', async () => {
  await using scene = await startH2Scene();
  const tunnel = await openTunnel(scene.proxy, scene.api);
  const raw = tunnel.release();
  const under = Duplex.from({ readable: raw, writable: raw });
  await using agent = new H2Agent(
    await startTls(under, { ca: scene.proxy.caPem, servername: 'api.test', alpn: ['h2'] }),
    scene.api,
  );
  const stream = agent.session.request({ ':path': '/sse' });
  stream.on('error', () => undefined);
  const live = await scene.origin.live.next();
  // Application data that no key of this connection made (RFC 8446 section 5.2).
  raw.write(Buffer.concat([Buffer.from([0x17, 3, 3, 0, 32]), Buffer.alloc(32)]));
  expect(await live.closed).toBe(false);
  expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'client_closed', path: '/sse' });
});
