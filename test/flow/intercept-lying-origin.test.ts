/**
 * Origins inside verified TLS that break HTTP or off: what they say is never read in two ways, never reaches another
 * request, and a cut-off response never looks whole (S011-FR-010, FR-017; threats 9, 12). The plain-HTTP twin of this file
 * is lying-origin.test.ts.
 */
import { describe, expect, it } from 'vitest';
import type { RawPeer } from '../kit/raw-origin.ts';
import { says } from '../kit/raw-origin.ts';
import { ask, refusalOf, startRawInterceptScene } from './intercept-scene.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const POISON = 'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned';

describe('a response inside TLS that cannot be read', () => {
  it.each([
    ['is no HTTP', 'hello\r\n\r\n'],
    ['has two Content-Lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk'],
    ['has both framings', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['ends its lines with LF', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
    ['folds a line', 'HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok'],
    ['switches protocols unasked', 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw'],
    ['has a head without end', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(70_000)}`],
    ['has too many fields', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(300)}\r\n`],
    ['never gets past interim ones', 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(40)],
  ])('because it %s never reaches the agent as a response', async (_, bytes) => {
    await using scene = await startRawInterceptScene(says(bytes));
    await using agent = await scene.open();
    await agent.send('GET / HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const text = (await agent.readToEnd()).toString('latin1').replaceAll('HTTP/1.1 102 Processing\r\n\r\n', '');
    expect(text === '' || /^HTTP\/1\.1 502 [\s\S]*X-Outcall-Failure-Reason: origin_malformed/.test(text)).toBe(true);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'origin_malformed' });
    await using twinScene = await startRawInterceptScene(says(OK));
    await using twin = await twinScene.open();
    expect((await ask(twin, '/')).body.toString()).toBe('ok');
  });
});

describe('a response inside TLS that is cut off', () => {
  it.each([
    ['a Content-Length body by a close', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort', 'finish'],
    ['a Content-Length body by a reset', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort', 'reset'],
    ['a chunked body by a close', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n', 'finish'],
    ['a chunk by a close', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nshort', 'finish'],
    ['a body until close by a reset', 'HTTP/1.1 200 OK\r\n\r\nshort', 'reset'],
  ] as const)('in %s is a reset to the agent, never a whole response', async (_, bytes, how) => {
    await using scene = await startRawInterceptScene(says(bytes));
    await using agent = await scene.open();
    await agent.send('GET / HTTP/1.1\r\nHost: api.test\r\n\r\n');
    await agent.readUntil('short');
    (await scene.origin.peers.next())[how]();
    expect(await agent.untilEnded()).not.toBe('FIN');
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'origin_closed', status: 200 });
  });

  it('in a chunk that is no chunk is a reset too', async () => {
    await using scene = await startRawInterceptScene(
      says('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nnonsense\r\n'),
    );
    await using agent = await scene.open();
    await agent.send('GET / HTTP/1.1\r\nHost: api.test\r\n\r\n');
    expect(await agent.untilEnded()).not.toBe('FIN');
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'origin_malformed' });
  });
});

describe('bytes inside TLS that belong to no response', () => {
  it('after one are thrown away with their connection: the next request gets its own answer', async () => {
    await using scene = await startRawInterceptScene(answering((_, ordinal) => (ordinal === 1 ? OK + POISON : OK)));
    await using agent = await scene.open();
    expect((await ask(agent, '/1')).body.toString()).toBe('ok');
    expect((await ask(agent, '/2')).body.toString()).toBe('ok');
    expect(scene.origin.connections).toBe(2);
  });

  it('while a connection rests, with its agent or in the pool, are thrown away with it', async () => {
    await using scene = await startRawInterceptScene(answering(() => OK));
    await using agent = await scene.open();
    expect((await ask(agent, '/1')).body.toString()).toBe('ok');
    const first = await scene.origin.peers.next();
    await first.send(POISON);
    await first.untilEnded();
    expect((await ask(agent, '/2')).body.toString()).toBe('ok');
    await agent[Symbol.asyncDispose]();
    const second = await scene.origin.peers.next();
    await second.send(POISON);
    await second.untilEnded();
    await using next = await scene.open();
    expect((await ask(next, '/3')).body.toString()).toBe('ok');
    expect(scene.origin.connections).toBe(3);
  });

  it('behind a 304 or an answer to HEAD do not become the next response', async () => {
    const heads = [
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n',
    ];
    await using scene = await startRawInterceptScene(
      answering((_, ordinal) => (ordinal <= 2 ? `${heads[ordinal - 1]}poisoned` : OK)),
    );
    await using agent = await scene.open();
    expect((await ask(agent, '/1')).status).toBe(304);
    expect((await ask(agent, '/2', { method: 'HEAD' })).status).toBe(200);
    expect((await ask(agent, '/3')).body.toString()).toBe('ok');
    expect(scene.origin.connections).toBe(3);
  });

  it('in the form of a 100 that nobody asked for pass on, and the final response is still the one', async () => {
    await using scene = await startRawInterceptScene(says(`HTTP/1.1 100 Continue\r\n\r\n${OK}`));
    await using agent = await scene.open();
    const reply = await ask(agent, '/');
    expect([reply.interim.map(({ status }) => status), reply.body.toString()]).toEqual([[100], 'ok']);
  });
});

describe('a kept connection to an origin that turns out to be dead', () => {
  /** The second request on the first connection is answered by a close. */
  const dies = (how: 'finish' | 'reset') => async (peer: RawPeer, ordinal: number) => {
    for (let i = 1; ; i++) {
      await peer.readRequest();
      if (ordinal === 1 && i === 2) break;
      await peer.send(OK);
    }
    peer[how]();
  };

  it.each([
    ['GET', 'finish'],
    ['GET', 'reset'],
    ['HEAD', 'finish'],
    ['OPTIONS', 'finish'],
  ] as const)('serves %s again on a new one, once, when it ended by %s', async (method, how) => {
    await using scene = await startRawInterceptScene(dies(how));
    await using agent = await scene.open();
    expect((await ask(agent, '/1')).status).toBe(200);
    expect((await ask(agent, '/2', { method })).status).toBe(200);
    expect(scene.origin.peers.all.map((peer) => requestLines(peer))).toEqual([
      ['GET /1', `${method} /2`],
      [`${method} /2`],
    ]);
    expect(await scene.proxy.nextRecord(({ path }) => path === '/2')).toMatchObject({ verdict: 'allow', status: 200 });
  });

  it.each([
    ['POST without a body', 'POST', undefined],
    ['POST', 'POST', 'x'],
    ['PATCH', 'PATCH', 'x'],
    ['PUT with a body, which is gone', 'PUT', 'x'],
  ])('never serves %s twice: 502 origin_closed', async (_, method, body) => {
    await using scene = await startRawInterceptScene(dies('finish'));
    await using agent = await scene.open();
    expect((await ask(agent, '/1')).status).toBe(200);
    const reply = await ask(agent, '/2', body === undefined ? { method } : { method, body });
    expect(refusalOf(reply)).toEqual([502, 'origin_closed']);
    expect(scene.origin.connections).toBe(1);
    expect(requestLines(scene.origin.peers.all[0] as RawPeer)).toEqual(['GET /1', `${method} /2`]);
  });

  it('is not tried a third time', async () => {
    await using scene = await startRawInterceptScene(says('', 'FIN'));
    await using agent = await scene.open();
    expect(refusalOf(await ask(agent, '/'))).toEqual([502, 'origin_closed']);
    expect(scene.origin.connections).toBeLessThanOrEqual(2);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'origin_closed', status: 502 });
  });

  it('after the first byte of a response is not tried again', async () => {
    await using scene = await startRawInterceptScene(says('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab', 'FIN'));
    await using agent = await scene.open();
    await agent.send('GET / HTTP/1.1\r\nHost: api.test\r\n\r\n');
    expect(await agent.untilEnded()).not.toBe('FIN');
    expect(scene.origin.connections).toBe(1);
  });
});

describe('an origin that falls silent', () => {
  it('before its response is 504 origin_timeout after the idle time; within it, its response passes', async () => {
    const idleTimeoutMs = 60_000;
    await using scene = await startRawInterceptScene(() => undefined, { options: { idleTimeoutMs } });
    await using agent = await scene.open();
    await agent.send('GET / HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const peer = await scene.origin.peers.next();
    await peer.readRequest();
    scene.proxy.clock.advance(idleTimeoutMs / 2);
    await peer.send(OK);
    expect((await agent.readReply()).status).toBe(200);
    await agent.send('GET / HTTP/1.1\r\nHost: api.test\r\n\r\n');
    await peer.readRequest();
    scene.proxy.clock.advance(2 * idleTimeoutMs);
    expect(refusalOf(await agent.readReply())).toEqual([504, 'origin_timeout']);
    expect(await peer.untilEnded()).toBeDefined();
  });
});

/** Answers every request on every connection. */
function answering(answer: (index: number, ordinal: number) => string) {
  return async (peer: RawPeer, ordinal: number): Promise<void> => {
    for (let i = 1; ; i++) {
      await peer.readRequest();
      await peer.send(answer(i, ordinal));
    }
  };
}

function requestLines(peer: RawPeer): string[] {
  return [...peer.received.toString('latin1').matchAll(/^([A-Z]+ \/\S*) HTTP/gm)].map(([, line]) => line as string);
}
