/**
 * Flows that are given up in every phase, and agents that ask for more than they read: each gives its place back, each is
 * recorded once, and the proxy goes on serving others (threats 36, 37).
 */
import { describe, expect, it } from 'vitest';
import { connectTunnel, openAgent, openTunnel } from '../kit/agent.ts';
import type { AgentSocket } from '../kit/agent-socket.ts';
import { clientHello } from '../kit/client-hello.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { says, startRawOrigin } from '../kit/raw-origin.ts';
import { allowHosts } from '../kit/rules.ts';
import { KIT_DEADLINE_MS, nextTurn } from '../kit/within.ts';
import { askPlain, NOTHING_WENT_OUT, type Scene, startScene, untouched, WITH_AND_WITHOUT_CA } from './scene.ts';

const ROUNDS = 5;
const MANY_BYTES = 32 * 1024 * 1024;
/** As in tunnel-relay.test.ts. */
const IN_FLIGHT_BYTES_MAX = 14 * 1024 * 1024;

type Phase = readonly [string, (scene: Scene) => Promise<AgentSocket>];

/** Each leaves a connection in some phase of its life. */
const PHASES: readonly Phase[] = [
  ['before its first byte', async (scene) => openAgent(scene.proxy)],
  ['in the middle of a head', async (scene) => sent(await openAgent(scene.proxy), 'GET http://plain')],
  ['after a refusal that it does not read', async (scene) => sent(await openAgent(scene.proxy), connect(scene.other))],
  [
    'while its name is being looked up',
    async (scene) => {
      const agent = await sent(await openAgent(scene.proxy), connect('held.test:443'));
      for (const type of ['A', 'AAAA']) await scene.proxy.resolver.queries.next((query) => query.type === type);
      return agent;
    },
  ],
  ['after the 200', async (scene) => openTunnel(scene.proxy, scene.api)],
  [
    'in the middle of a ClientHello',
    async (scene) =>
      sent(await openTunnel(scene.proxy, scene.api), (await clientHello({ servername: 'api.test' })).subarray(0, 99)),
  ],
  ['in a tunnel', (scene) => scene.openApi()],
  [
    'in the middle of a request body',
    async (scene) => {
      const text = `POST ${scene.plainUrl}/ HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\nContent-Length: 9\r\n\r\nhalf`;
      const agent = await sent(await openAgent(scene.proxy), text);
      await scene.plain.heads.next();
      return agent;
    },
  ],
  [
    'in the middle of a response, of which more is to come',
    async (scene) => {
      const text = `GET ${scene.plainUrl}/large?bytes=${MANY_BYTES} HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`;
      const agent = await sent(await openAgent(scene.proxy), text);
      await agent.readExactly(1_000);
      return agent;
    },
  ],
  [
    'between two requests',
    async (scene) => {
      const agent = await openAgent(scene.proxy);
      await askPlain(scene, agent, '/');
      return agent;
    },
  ],
];

describe.each(WITH_AND_WITHOUT_CA)('a connection that is given up, $title', ({ ca }) => {
  it.each(PHASES)('%s gives its place back, by FIN and by RST', async (_, reach) => {
    let held = Promise.withResolvers<void>();
    await using scene = await startScene({
      ca,
      rules: allowHosts('api.test', 'plain.test', 'held.test'),
      zone: { 'held.test': () => ({ addresses: ['127.0.0.1'], ttlSeconds: 0, hold: held.promise }) },
      options: { maxConnectionsPerAgent: 2 },
    });
    for (let round = 0; round < ROUNDS; round++) {
      for (const end of [(agent: AgentSocket) => agent.reset(), (agent: AgentSocket) => agent.socket.destroy()]) {
        end(await reach(scene));
        held.resolve();
        held = Promise.withResolvers();
        await untilNoFlows(scene);
      }
    }
    await using next = await openAgent(scene.proxy);
    expect((await askPlain(scene, next, '/')).status).toBe(200);
    expect(scene.proxy.said.all.filter((line) => line.level === 'error')).toEqual([]);
  });

  it('leaves exactly one record for each flow and exchange', async () => {
    await using scene = await startScene({ ca });
    await using blocked = await connectTunnel(scene.proxy, scene.other);
    await blocked[Symbol.asyncDispose]();
    const api = await scene.openApi();
    await api[Symbol.asyncDispose]();
    await using agent = await openAgent(scene.proxy);
    await askPlain(scene, agent, '/1');
    await askPlain(scene, agent, '/2');
    await agent[Symbol.asyncDispose]();
    await untilNoFlows(scene);
    const verdicts = scene.proxy.records.all.map((record) => `${record.event} ${record.taken} ${record.verdict}`);
    expect(verdicts.sort()).toEqual([
      'flow none block',
      'flow tunnel allow',
      'request forward allow',
      'request forward allow',
    ]);
  });
});

describe.each(WITH_AND_WITHOUT_CA)('an agent that sends ahead, $title', ({ ca }) => {
  it('is held back while its first request is being answered, and then answered in order', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const host = `plain.test:${scene.plain.port}`;
    const one = (path: string) =>
      `GET ${scene.plainUrl}${path} HTTP/1.1\r\nHost: ${host}\r\nX-Pad: ${'p'.repeat(60_000)}\r\n\r\n`;
    await agent.send(one('/live'));
    const live = await scene.plain.live.next();
    let takenBytes = 0;
    let stop = false;
    const flood = (async () => {
      while (!stop && takenBytes < MANY_BYTES) {
        await agent.send(one('/status/204'));
        takenBytes += one('/status/204').length;
      }
    })();
    await using meanwhile = await openAgent(scene.proxy, { localAddress: '127.0.0.2' });
    expect((await askPlain(scene, meanwhile, `/large?bytes=${MANY_BYTES}`)).body.length).toBe(MANY_BYTES);
    expect(takenBytes).toBeLessThan(IN_FLIGHT_BYTES_MAX);
    expect(scene.plain.requests.all.filter((request) => request.url === '/status/204')).toEqual([]);
    stop = true;
    live.end('first');
    expect((await agent.readReply()).body.toString()).toBe('first');
    await flood;
    for (let left = takenBytes / one('/status/204').length; left > 0; left--) {
      expect((await agent.readReply()).status).toBe(204);
    }
  });

  it('may send its ClientHello with the CONNECT: the first bytes are not lost', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const hello = await clientHello({ servername: 'api.test' });
    await agent.send(Buffer.concat([Buffer.from(connect(scene.api)), hello]));
    expect((await agent.readReply('CONNECT')).status).toBe(200);
    expect((await agent.readExactly(1))[0]).toBe(0x16); // The origin's ServerHello.
    await using twin = await openAgent(scene.proxy);
    await twin.send(Buffer.concat([Buffer.from(connect(scene.other)), hello]));
    expect((await twin.readReply('CONNECT')).status).toBe(403);
    expect(scene.origin.connections).toBe(1);
  });

  it('and its FIN at once is still answered, for all it asked', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const one = (path: string) =>
      `GET ${scene.plainUrl}${path} HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`;
    await agent.send(one('/echo?1') + one('/echo?2') + one('/echo?3'));
    agent.finish();
    for (const query of [1, 2, 3]) {
      expect(JSON.parse((await agent.readReply()).body.toString()).url).toBe(`/echo?${query}`);
    }
    expect(await agent.untilEnded()).toBe('FIN');
  });
});

describe.each(WITH_AND_WITHOUT_CA)('a record that cannot be written, $title', ({ ca }) => {
  it('lets nothing new through, and what it can be written again for passes', async () => {
    await using scene = await startScene({ ca });
    scene.proxy.auditBlocked = true;
    await using tunnel = await connectTunnel(scene.proxy, scene.api);
    await using plain = await openAgent(scene.proxy);
    const reply = await askPlain(scene, plain, '/');
    for (const refused of [tunnel.reply, reply]) {
      expect([refused.status, fieldOf(refused.headers, 'x-outcall-failure-reason')]).toEqual([
        503,
        'audit_unavailable',
      ]);
    }
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    scene.proxy.auditBlocked = false;
    await using again = await connectTunnel(scene.proxy, scene.api);
    expect(again.reply.status).toBe(200);
  });
});

describe('a failure after an interim response', () => {
  it('can still be told in HTTP: 103 and then a close is 502, not a reset', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
    await using raw = await startRawOrigin({ script: says(hints, 'FIN') });
    await using scene = await startScene({ zone: { 'raw.test': '127.0.0.1' }, rules: allowHosts('raw.test') });
    await using agent = await openAgent(scene.proxy);
    const host = `raw.test:${raw.port}`;
    const reply = await agent.request({ target: `http://${host}/`, headers: [`Host: ${host}`] });
    expect([reply.interim.length, reply.status]).toEqual([1, 502]);
  });
});

describe('messages of HTTP/1.0 and OPTIONS', () => {
  it('HTTP/1.0 without a Host gets one from the target, and its connection is closed', async () => {
    await using scene = await startScene();
    await using agent = await openAgent(scene.proxy);
    await agent.send(`GET ${scene.plainUrl}/echo HTTP/1.0\r\n\r\n`);
    const reply = await agent.readReply();
    expect(reply.status).toBe(200);
    expect((await scene.plain.nextRequest()).header('host')).toEqual([`plain.test:${scene.plain.port}`]);
    expect(await agent.untilEnded()).toBe('FIN');
  });
});

async function sent(agent: AgentSocket, bytes: string | Buffer): Promise<AgentSocket> {
  await agent.send(bytes);
  return agent;
}

function connect(target: string): string {
  return `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`;
}

/** Waits until the proxy has let go of every connection. */
async function untilNoFlows({ proxy }: Scene): Promise<void> {
  const deadline = performance.now() + KIT_DEADLINE_MS;
  while (proxy.server.openFlows > 0 && performance.now() < deadline) await nextTurn();
  expect(proxy.server.openFlows).toBe(0);
}
