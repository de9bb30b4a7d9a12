/**
 * The life of an intercepted HTTP/2 connection: its sessions to origins (threat 38), its audit records (S011-FR-019), reload
 * (threat 33), drain (S011-EC-011), timeouts (threat 37), and its end at any point.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type H2Agent, openTunnel, readH2Reply } from '../kit/agent.ts';
import { CODE, headersFrame } from '../kit/h2-wire.ts';
import { rulesFile } from '../kit/rules.ts';
import { fieldsOf, pingOf, refusalOf, startH2Scene } from './h2-scene.ts';
import { blockRule, INTERCEPT_API, interceptRule } from './intercept-scene.ts';

const IDLE_MS = 300_000;

/** Opens a stream whose response the test writes. */
async function openLive(scene: Awaited<ReturnType<typeof startH2Scene>>, agent: H2Agent) {
  const stream = agent.session.request({ ':path': '/live' });
  stream.on('error', () => undefined);
  const live = await scene.origin.live.next();
  await once(stream, 'response');
  return { stream, live };
}

describe('the session to an origin', () => {
  it('is one for all streams of a connection, never shared between agents or connections, and ends with its own', async () => {
    await using scene = await startH2Scene();
    const agents = [];
    for (const localAddress of ['127.0.0.2', '127.0.0.3', '127.0.0.2']) agents.push(await scene.open({ localAddress }));
    for (let turn = 0; turn < 3; turn++)
      for (const [i, agent] of agents.entries()) expect((await agent.request({ ':path': `/${i}` })).status).toBe(200);
    const used = [0, 1, 2].map(
      (i) => new Set(scene.origin.heads.all.filter(({ url }) => url === `/${i}`).map(({ connection }) => connection)),
    );
    expect(used.map((set) => set.size)).toEqual([1, 1, 1]);
    expect(new Set(used.flatMap((set) => [...set])).size).toBe(3);
    for (const agent of agents) await agent[Symbol.asyncDispose]();
    await scene.origin.closed.atLeast(3);
  });

  it('that the origin closed is replaced for the next stream', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    expect((await agent.request({ ':path': '/' })).status).toBe(200);
    scene.origin.dropConnections();
    await scene.origin.closed.atLeast(1);
    await pingOf(agent);
    expect((await agent.request({ ':path': '/' })).status).toBe(200);
    expect(scene.origin.connections).toBe(2);
  });
});

describe('the audit record of a stream', () => {
  it('S011-FR-019: tells rule, verdict, host, method, path, sizes and the rest, and never a query value', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open({ localAddress: '127.0.0.7' });
    const reply = await agent.request({ ':method': 'POST', ':path': '/echo?token=secret' }, 'hello');
    expect(await scene.proxy.nextRecord()).toEqual({
      subsystem: 'proxy_intercept',
      event: 'request',
      flow: expect.any(String),
      agent: 'agent-7',
      agent_ip: '127.0.0.7',
      verdict: 'allow',
      rule: 'api',
      mode: 'intercept',
      would_block: null,
      taken: 'intercept',
      reason: null,
      detail: null,
      host: 'api.test',
      port: scene.origin.port,
      scheme: 'https',
      method: 'POST',
      path: expect.not.stringContaining('secret'),
      http_version: '2',
      status: 200,
      body_size: 5,
      bytes_up: 5,
      bytes_down: reply.body.length,
      upstream: '127.0.0.1',
      started_at: expect.any(String),
      duration_ms: expect.any(Number),
      generation: 1,
    });
  });

  it('S011-SC-007: is one for each stream, allowed, refused or failed, all with the flow of their connection', async () => {
    const rules = rulesFile(
      blockRule('no', 'http.host == "api.test" && http.path == "/no"'),
      interceptRule('api', 'http.host == "api.test"'),
    );
    await using scene = await startH2Scene({ rules });
    await using agent = await scene.open();
    for (const path of ['/yes', '/no', '/a/../b']) await agent.request({ ':path': path });
    await agent[Symbol.asyncDispose]();
    await scene.origin.closed.atLeast(1);
    const told = scene.proxy.records.all.map(({ verdict, rule, reason }) => [verdict, rule, reason]);
    expect(told).toEqual([
      ['allow', 'api', null],
      ['block', 'no', 'rule'],
      ['failed', null, 'ambiguous_request'],
    ]);
    expect(new Set(scene.proxy.records.all.map(({ flow }) => flow)).size).toBe(1);
  });

  it('S011-EC-001: is written for a connection that never carried a request, and for no other', async () => {
    const quiet = rulesFile(
      `{ id: api, condition: 'http.host == "api.test"', action: allow, log: false, egress: { mode: intercept } }`,
    );
    await using scene = await startH2Scene({ rules: quiet });
    const asking = await scene.open({ localAddress: '127.0.0.2' });
    expect((await asking.request({ ':path': '/' })).status).toBe(200);
    await asking[Symbol.asyncDispose]();
    const silent = await scene.open({ localAddress: '127.0.0.3' });
    await pingOf(silent);
    await silent[Symbol.asyncDispose]();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      agent: 'agent-3',
      reason: 'client_closed',
      detail: 'closed_before_request',
      taken: 'intercept',
    });
    expect(scene.proxy.records.count).toBe(1);
  });
});

describe('a reload', () => {
  it('that refuses the host resets its connections and cancels their streams; one that does not leaves them be', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const { stream, live } = await openLive(scene, agent);
    scene.proxy.reload(rulesFile(interceptRule('get', 'http.host == "api.test" && http.path == "/live"')));
    await live.send('still');
    expect(String((await once(stream, 'data'))[0])).toBe('still');
    expect(refusalOf(await agent.request({ ':path': '/' }))).toEqual([403, 'default']);
    scene.proxy.reload(rulesFile());
    const [error] = (await once(agent.session, 'error')) as [NodeJS.ErrnoException];
    expect([error.code, stream.rstCode === CODE.none, await live.closed]).toEqual(['ECONNRESET', false, false]);
    await scene.origin.closed.atLeast(1);
    expect(await scene.proxy.nextRecord(({ path }) => path === '/live')).toMatchObject({ reason: 'rules_changed' });
  });
});

describe('S011-EC-011: a drain', () => {
  it('says GOAWAY, lets running streams finish, and then closes', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const { stream, live } = await openLive(scene, agent);
    await using idle = await scene.open();
    const goodbyes = Promise.all([once(agent.session, 'goaway'), once(idle.session, 'close')]);
    const drained = scene.proxy.server.drain(60_000);
    await goodbyes;
    expect([agent.session.closed, stream.closed]).toEqual([true, false]);
    live.end('whole');
    expect(String((await once(stream, 'data'))[0])).toBe('whole');
    await drained;
    expect([stream.rstCode, await live.closed, scene.proxy.server.openFlows]).toEqual([CODE.none, true, 0]);
  });

  it('resets what still runs after its grace, on both sides', async () => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('GET', '/live')));
    const live = await scene.origin.live.next();
    await wire.next('headers', 1);
    await scene.proxy.server.drain(0);
    expect([await wire.socket.untilEnded(), wire.ended(1), await live.closed]).toEqual(['ECONNRESET', false, false]);
    await scene.origin.closed.atLeast(1);
  });
});

describe('a timeout', () => {
  it('answers the streams that wait with 504, and then ends the connection', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const waiting = agent.request({ ':method': 'POST', ':path': '/slow-read' }, 'x');
    const asked = agent.request({ ':method': 'GET', ':path': '/echo', expect: '100-continue' });
    await scene.origin.live.next();
    await asked;
    const stream = agent.session.request({ ':method': 'POST', ':path': '/echo' });
    stream.on('error', () => undefined);
    await scene.origin.heads.some(({ method, url }) => method === 'POST' && url === '/echo');
    const closed = once(agent.session, 'close');
    scene.proxy.clock.advance(IDLE_MS);
    expect(refusalOf(await readH2Reply(stream))).toEqual([408, 'idle_timeout']);
    // Its response had begun, so that nothing but a reset can tell.
    expect((await waiting).rstCode).not.toBe(CODE.none);
    await closed;
    await scene.origin.closed.atLeast(1);
  });

  it('ends a connection that is idle, whether it had streams or not, and never one that is used', async () => {
    await using scene = await startH2Scene();
    await using used = await scene.open();
    await using idle = await scene.open();
    await using silent = await scene.open();
    const { live, stream } = await openLive(scene, used);
    expect((await idle.request({ ':path': '/' })).status).toBe(200);
    const closed = Promise.all([once(idle.session, 'close'), once(silent.session, 'close')]);
    await using overdue = await openTunnel(scene.proxy, scene.api);
    scene.proxy.clock.advance(IDLE_MS - 1000);
    // Time is looked at four times a second: this one's deadline shows that it was.
    await overdue.untilEnded();
    await live.send('a byte');
    await once(stream, 'data');
    scene.proxy.clock.advance(2000);
    await closed;
    await pingOf(used);
    live.end();
    await once(stream.resume(), 'close');
    expect(stream.rstCode).toBe(CODE.none);
  });
});

it('the audit sink that cannot write refuses each stream, and the connection recovers', async () => {
  await using scene = await startH2Scene({ rules: INTERCEPT_API });
  await using agent = await scene.open();
  expect((await agent.request({ ':path': '/1' })).status).toBe(200);
  scene.proxy.auditBlocked = true;
  expect(refusalOf(await agent.request({ ':path': '/2' }))).toEqual([503, 'audit_unavailable']);
  scene.proxy.auditBlocked = false;
  expect((await agent.request({ ':path': '/3' })).status).toBe(200);
  expect(scene.origin.heads.all.map(({ url }) => url)).toEqual(['/1', '/3']);
});
