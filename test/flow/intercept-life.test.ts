/**
 * The life of intercepted connections beside each other: what a drain and a reload do to them (S011-EC-011; threat 33), and
 * which origin connections they share (threat 38).
 */
import { describe, expect, it } from 'vitest';
import { openAgent, openTunnel } from '../kit/agent.ts';
import { rulesFile } from '../kit/rules.ts';
import { nextTurn } from '../kit/within.ts';
import { ask, blockRule, INTERCEPT_API, interceptRule, refusalOf, startInterceptScene } from './intercept-scene.ts';

const API = 'http.host == "api.test"';
/** Longer than any test. */
const GRACE_MS = 60_000;
const SHORT_GRACE_MS = 50;
/** Longer than a connection keeps an origin to itself in silence (proxy/flow). */
const PAUSE_MS = 1_500;

describe('S011-EC-011: a drain', () => {
  it('closes an idle intercepted connection at once and lets a busy one finish its exchange', async () => {
    await using scene = await startInterceptScene();
    await using idle = await scene.open();
    expect((await ask(idle, '/')).status).toBe(200);
    await using busy = await scene.open();
    await busy.send('GET /sse HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    await busy.readUntil('\r\n\r\n');
    let over = false;
    const drained = scene.proxy.server.drain(GRACE_MS).then(() => (over = true));
    expect(await idle.untilEnded()).toBe('FIN');
    idle.finish();
    await live.send('data: still\n\n');
    await busy.readUntil('data: still\n\n');
    expect([busy.ended, over]).toEqual([undefined, false]);
    live.end();
    await busy.readUntil('0\r\n\r\n');
    expect(await busy.untilEnded()).toBe('FIN');
    busy.finish();
    await drained;
    expect(scene.proxy.server.openFlows).toBe(0);
    expect(scene.proxy.records.all.map(({ verdict }) => verdict)).toEqual(['allow', 'allow']);
  });

  it('tells the agent of a busy connection with its response that no other will be served', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.send('POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\n\r\nha');
    await scene.origin.heads.next();
    const drained = scene.proxy.server.drain(GRACE_MS);
    await agent.send('lf');
    const reply = await agent.readReply();
    expect([reply.status, reply.headers.includes('close')]).toEqual([200, true]);
    agent.finish();
    await drained;
  });

  it('resets both sides of what is not over after its grace', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.send('GET /sse HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    await agent.readUntil('\r\n\r\n');
    await scene.proxy.server.drain(SHORT_GRACE_MS);
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(await live.closed).toBe(false);
    expect(scene.proxy.server.openFlows).toBe(0);
  });

  it('takes no new connection: 503 draining', async () => {
    await using scene = await startInterceptScene();
    await using busy = await scene.open();
    await busy.send('GET /sse HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    const drained = scene.proxy.server.drain(GRACE_MS);
    await using late = await openAgent(scene.proxy);
    expect(refusalOf(await late.readReply())).toEqual([503, 'draining']);
    live.end();
    busy.finish();
    await drained;
  });

  it('ends the wait for a ClientHello and for a handshake after its grace', async () => {
    await using scene = await startInterceptScene();
    await using waiting = await openTunnel(scene.proxy, scene.api);
    await scene.proxy.server.drain(SHORT_GRACE_MS);
    expect(await waiting.untilEnded()).toMatch(/^(ECONNRESET|FIN)$/);
    expect(scene.proxy.server.openFlows).toBe(0);
  });
});

describe('a reload', () => {
  it.each([
    ['allows the host no more', []],
    ['tunnels the host', [`{ id: plain, condition: '${API}', action: allow }`]],
  ])('that %s resets its intercepted connections, idle and busy, and leaves other hosts', async (_, next) => {
    const rules = rulesFile(interceptRule('both', 'domain(http.host, "test")'));
    await using scene = await startInterceptScene({ rules });
    await using idle = await scene.open();
    expect((await ask(idle, '/')).status).toBe(200);
    await using busy = await scene.open();
    await busy.send('GET /sse HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    await using other = await scene.open({ target: `other.test:${scene.origin.port}` });
    const askOther = () => other.request({ target: '/', headers: ['Host: other.test'] });
    expect((await askOther()).status).toBe(200);
    scene.proxy.reload(rulesFile(...next, interceptRule('other', 'http.host == "other.test"')));
    expect(await idle.untilEnded()).toBe('ECONNRESET');
    expect(await busy.untilEnded()).toBe('ECONNRESET');
    expect(await live.closed).toBe(false);
    expect((await askOther()).status).toBe(200);
  });

  it('that changes what is allowed inside keeps the connection: the next request meets the new rules', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    expect((await ask(agent, '/a')).status).toBe(200);
    scene.proxy.reload(rulesFile(blockRule('no-b', `${API} && http.path == "/b"`), interceptRule('rest', API)));
    expect((await ask(agent, '/a')).status).toBe(200);
    expect(refusalOf(await ask(agent, '/b'))).toEqual([403, 'no-b']);
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(['/a', '/a']);
    expect(scene.proxy.records.all.map(({ rule, generation }) => [rule, generation])).toEqual([
      ['api', 1],
      ['rest', 2],
      ['no-b', 2],
    ]);
  });

  it('leaves an exchange that is under way with the generation that admitted it, where the new rules allow it too', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.send('GET /live HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    scene.proxy.reload(INTERCEPT_API);
    live.end('rest');
    expect((await agent.readReply()).body.toString()).toBe('rest');
    expect(await scene.proxy.nextRecord()).toMatchObject({ generation: 1, verdict: 'allow' });
  });

  it('that refuses an exchange under way resets it, and leaves one beside it that it allows', async () => {
    await using scene = await startInterceptScene();
    await using refused = await scene.open();
    await refused.send('GET /sse HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const sse = await scene.origin.live.next();
    await using allowed = await scene.open();
    await allowed.send('GET /live HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    scene.proxy.reload(rulesFile(interceptRule('no-sse', `${API} && http.path != "/sse"`)));
    expect(await refused.untilEnded()).toBe('ECONNRESET');
    expect(await sse.closed).toBe(false);
    live.end('rest');
    expect((await allowed.readReply()).body.toString()).toBe('rest');
  });
});

describe('a connection to an origin', () => {
  it('is used again by the same agent, in one connection of its own and from one to the next', async () => {
    await using scene = await startInterceptScene();
    for (let i = 0; i < 3; i++) {
      await using agent = await scene.open();
      for (let j = 0; j < 3; j++) expect((await ask(agent, '/')).status).toBe(200);
      agent.finish();
      await agent.untilEnded();
    }
    expect(new Set(scene.origin.requests.all.map(({ connection }) => connection)).size).toBe(1);
    expect(scene.origin.requests.count).toBe(9);
  });

  it('is never shared between agents, neither one after another nor at the same time', async () => {
    await using scene = await startInterceptScene();
    const connectionsOf = async (localAddress: string) => {
      const before = scene.origin.requests.count;
      for (let i = 0; i < 2; i++) {
        await using agent = await scene.open({ localAddress });
        expect((await ask(agent, `/${localAddress}`)).status).toBe(200);
        agent.finish();
        await agent.untilEnded();
      }
      return new Set(scene.origin.requests.all.slice(before).map(({ connection }) => connection));
    };
    const two = await connectionsOf('127.0.0.2');
    const three = await connectionsOf('127.0.0.3');
    const twoAgain = await connectionsOf('127.0.0.2');
    expect([...two].filter((connection) => three.has(connection))).toEqual([]);
    expect([...twoAgain].filter((connection) => three.has(connection))).toEqual([]);
    expect(twoAgain).toEqual(two);
  });

  it('serves one exchange at a time: two connections of one agent at once get two', async () => {
    await using scene = await startInterceptScene();
    await using one = await scene.open();
    await using two = await scene.open();
    for (const agent of [one, two]) await agent.send('GET /live HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const first = await scene.origin.live.next();
    const second = await scene.origin.live.next();
    expect(first.request.connection).not.toBe(second.request.connection);
    for (const live of [first, second]) live.end();
  });

  it('serves all connections of the agent that make one request each, one after another, and stay open', async () => {
    await using scene = await startInterceptScene();
    await using agents = new AsyncDisposableStack();
    for (let i = 0; i < 5; i++) expect((await ask(agents.use(await scene.open()), '/')).status).toBe(200);
    expect(new Set(scene.origin.requests.all.map(({ connection }) => connection)).size).toBe(1);
    expect(scene.origin.requests.count).toBe(5);
  });

  it('stays with a connection after its first request where another rests for the next one', async () => {
    await using scene = await startInterceptScene();
    await using one = await scene.open();
    await using two = await scene.open();
    const own: number[] = [];
    for (const agent of [one, two]) {
      await agent.send('GET /live HTTP/1.1\r\nHost: api.test\r\n\r\n');
      own.push((await scene.origin.live.next()).request.connection);
    }
    for (const [i, agent] of [one, two].entries()) {
      scene.origin.live.all[i]?.end();
      expect((await agent.readReply()).status).toBe(200);
    }
    // The first one's went to the pool, and the third takes it; the second's did not.
    await using third = await scene.open();
    for (const agent of [third, two]) expect((await ask(agent, '/')).status).toBe(200);
    const later = scene.origin.requests.all.slice(2).map(({ connection }) => connection);
    expect(later).toEqual(own);
    expect((await ask(one, '/')).status).toBe(200);
    expect(scene.origin.connections).toBe(2);
  });

  it('stays with a connection from its second request on, and serves another when that one was silent for a second', async () => {
    await using scene = await startInterceptScene();
    await using silent = await scene.open();
    await using other = await scene.open();
    const pathOf = async (agent: typeof silent, path: string) => {
      expect((await ask(agent, path)).status).toBe(200);
      return (await scene.origin.requests.some(({ url }) => url === path)).connection;
    };
    const first = await pathOf(silent, '/first');
    expect(await pathOf(silent, '/silent')).toBe(first);
    const second = await pathOf(other, '/before');
    expect(second).not.toBe(first);
    expect(await pathOf(other, '/second')).toBe(second);
    await scene.proxy.advance(PAUSE_MS);
    // The one that rested last is given out first, so both are free again.
    await using third = await scene.open();
    await using fourth = await scene.open();
    const taken = new Set<number>();
    for (const agent of [third, fourth]) {
      const path = agent === third ? '/third' : '/fourth';
      taken.add(await pathOf(agent, path));
      expect(taken).toContain(await pathOf(agent, `${path}/again`));
    }
    expect(taken).toEqual(new Set([first, second]));
    expect(await pathOf(silent, '/after')).not.toBe(first);
  });

  it('is not used again after an agent gave its exchange up in the middle', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.send('GET /live HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await scene.origin.live.next();
    await agent.readUntil('\r\n\r\n');
    agent.socket.destroy();
    // A closed socket looks half-closed to its peer until something is sent to it.
    let open = true;
    const closed = live.closed.finally(() => (open = false));
    for (; open; await nextTurn()) await Promise.race([live.send('more').catch(() => undefined), closed]);
    expect(await closed).toBe(false);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'client_closed' });
    await using next = await scene.open();
    expect((await ask(next, '/')).status).toBe(200);
    expect((await scene.origin.requests.some(({ url }) => url === '/')).connection).not.toBe(live.request.connection);
  });
});
