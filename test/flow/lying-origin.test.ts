/**
 * Origins that break HTTP or off, over plain HTTP: what they say is never read in two ways, never reaches another request,
 * and a cut-off response never looks whole (threats 9, 12).
 */
import { describe, expect, it } from 'vitest';
import { openAgent } from '../kit/agent.ts';
import type { AgentSocket } from '../kit/agent-socket.ts';
import { fieldOf, type Reply } from '../kit/http1-reply.ts';
import { startProxy, type TestProxy } from '../kit/proxy.ts';
import { type RawOrigin, type Script, says, startRawOrigin } from '../kit/raw-origin.ts';
import { allowHosts } from '../kit/rules.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

interface RawScene extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly raw: RawOrigin;
  readonly host: string;
  ask(agent: AgentSocket, path: string, method?: string): Promise<Reply>;
}

async function startRawScene(script: Script): Promise<RawScene> {
  const stack = new AsyncDisposableStack();
  const raw = stack.use(await startRawOrigin({ script }));
  const proxy = stack.use(await startProxy({ rules: allowHosts('raw.test'), zone: { 'raw.test': '127.0.0.1' } }));
  const host = `raw.test:${raw.port}`;
  return {
    proxy,
    raw,
    host,
    ask: (agent, path, method = 'GET') =>
      agent.request({ method, target: `http://${host}${path}`, headers: [`Host: ${host}`] }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

describe('an origin whose response cannot be read', () => {
  it.each([
    ['is no HTTP', 'hello\r\n\r\n'],
    ['has two Content-Lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk'],
    [
      'has Content-Length and Transfer-Encoding',
      'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['ends its lines with LF', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
    ['folds a line', 'HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok'],
    ['has a NUL in a field', 'HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok'],
    ['has a space before a colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok'],
    ['has an unknown transfer coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['has a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok'],
    [
      'switches protocols unasked',
      'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw bytes',
    ],
    ['has a head without end', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(70_000)}`],
  ])('gives 502 origin_malformed where it %s', async (_, bytes) => {
    await using scene = await startRawScene(says(bytes));
    await using agent = await openAgent(scene.proxy);
    const reply = await scene.ask(agent, '/');
    expect([reply.status, fieldOf(reply.headers, 'x-outcall-failure-reason')]).toEqual([502, 'origin_malformed']);
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'failed',
      reason: 'origin_malformed',
      status: 502,
    });
    expect((await agent.readToEnd()).length).toBe(0);
  });

  it('gives 200 where it is in order', async () => {
    await using scene = await startRawScene(says(OK));
    await using agent = await openAgent(scene.proxy);
    expect((await scene.ask(agent, '/')).body.toString()).toBe('ok');
  });
});

describe('an origin that breaks off', () => {
  it.each([
    ['closes', 'FIN'],
    ['resets', 'RST'],
  ] as const)('before it answered and %s gives 502 origin_closed', async (_, how) => {
    await using scene = await startRawScene(says('', how));
    await using agent = await openAgent(scene.proxy);
    const reply = await scene.ask(agent, '/', 'POST');
    expect([reply.status, fieldOf(reply.headers, 'x-outcall-failure-reason')]).toEqual([502, 'origin_closed']);
  });

  it.each([
    ['a Content-Length body by a close', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort', 'FIN'],
    ['a Content-Length body by a reset', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort', 'RST'],
    ['a chunked body by a close', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n', 'FIN'],
    ['a chunk by a close', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort', 'FIN'],
    ['a body until close by a reset', 'HTTP/1.1 200 OK\r\n\r\nshort', 'RST'],
  ] as const)('in the middle of %s is a reset to the agent, never a whole response', async (_, bytes, how) => {
    await using scene = await startRawScene(says(bytes));
    await using agent = await openAgent(scene.proxy);
    await agent.send(`GET http://${scene.host}/ HTTP/1.1\r\nHost: ${scene.host}\r\n\r\n`);
    await agent.readUntil('short');
    const peer = await scene.raw.peers.next();
    if (how === 'FIN') peer.finish();
    else peer.reset();
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'origin_closed' });
  });

  it('at the end of a body until close has given a whole response', async () => {
    await using scene = await startRawScene(says('HTTP/1.1 200 OK\r\n\r\nwhole', 'FIN'));
    await using agent = await openAgent(scene.proxy);
    const reply = await scene.ask(agent, '/');
    expect([reply.status, reply.body.toString(), agent.ended]).toEqual([200, 'whole', 'FIN']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', reason: null });
  });
});

describe('bytes that belong to no response', () => {
  it('after one are thrown away with their connection: the next request gets its own answer', async () => {
    await using scene = await startRawScene(async (peer, ordinal) => {
      await peer.readRequest();
      await peer.send(ordinal === 1 ? `${OK}HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned` : OK);
    });
    await using agent = await openAgent(scene.proxy);
    expect((await scene.ask(agent, '/1')).body.toString()).toBe('ok');
    expect((await scene.ask(agent, '/2')).body.toString()).toBe('ok');
    expect(scene.raw.connections).toBe(2);
  });

  it('while a connection rests are thrown away with it, for the agent that has it and for the next', async () => {
    const said: (() => Promise<void>)[] = [];
    await using scene = await startRawScene(async (peer) => {
      await peer.readRequest();
      await peer.send(OK);
      said.push(() => peer.send('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned'));
    });
    await using agent = await openAgent(scene.proxy);
    expect((await scene.ask(agent, '/1')).body.toString()).toBe('ok');
    await said[0]?.();
    await (await scene.raw.peers.next()).untilEnded();
    expect((await scene.ask(agent, '/2')).body.toString()).toBe('ok');
    await agent[Symbol.asyncDispose]();
    await said[1]?.();
    await (await scene.raw.peers.next()).untilEnded();
    await using next = await openAgent(scene.proxy);
    expect((await scene.ask(next, '/3')).body.toString()).toBe('ok');
    expect(scene.raw.connections).toBe(3);
  });

  it('in a 204, a 304 or an answer to HEAD do not become the next response', async () => {
    await using scene = await startRawScene(async (peer, ordinal) => {
      await peer.readRequest();
      const head = [
        'HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n',
        'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n',
      ];
      await peer.send(`${head[ordinal - 1] ?? OK}${ordinal <= 2 ? 'poisoned' : ''}`);
    });
    await using agent = await openAgent(scene.proxy);
    expect((await scene.ask(agent, '/1')).status).toBe(304);
    expect((await scene.ask(agent, '/2', 'HEAD')).status).toBe(200);
    expect((await scene.ask(agent, '/3')).body.toString()).toBe('ok');
    expect(scene.raw.connections).toBe(3);
  });
});

describe('interim responses', () => {
  it('that nobody asked for pass on, and the final response is still the one', async () => {
    const early = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n';
    await using scene = await startRawScene(says(early + OK));
    await using agent = await openAgent(scene.proxy);
    const reply = await scene.ask(agent, '/');
    expect([reply.interim.map((head) => head.status), reply.status]).toEqual([[100, 102], 200]);
  });

  it('without end are an origin that never answers', async () => {
    await using scene = await startRawScene(says('HTTP/1.1 102 Processing\r\n\r\n'.repeat(1_000)));
    await using agent = await openAgent(scene.proxy);
    await agent.send(`GET http://${scene.host}/ HTTP/1.1\r\nHost: ${scene.host}\r\n\r\n`);
    await agent.untilEnded();
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'origin_malformed' });
  });
});

describe('an origin that answers before the request has ended', () => {
  it('has its answer passed on, and neither connection serves another request', async () => {
    await using scene = await startRawScene(async (peer) => {
      await peer.readUntil('\r\n\r\n');
      await peer.send('HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno');
    });
    await using agent = await openAgent(scene.proxy);
    await agent.send(
      `POST http://${scene.host}/ HTTP/1.1\r\nHost: ${scene.host}\r\nContent-Length: 100000\r\n\r\nsome`,
    );
    const reply = await agent.readReply();
    expect([reply.status, reply.body.toString(), fieldOf(reply.headers, 'connection')]).toEqual([413, 'no', 'close']);
    await agent.untilEnded();
    await using next = await openAgent(scene.proxy);
    await next.send(`GET http://${scene.host}/ HTTP/1.1\r\nHost: ${scene.host}\r\n\r\n`);
    expect((await next.readReply()).status).toBe(413);
    expect(scene.raw.connections).toBe(2);
  });
});
