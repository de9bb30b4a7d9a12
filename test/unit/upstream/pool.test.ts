import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { IdlePool } from '../../../src/upstream/pool.ts';
import type { UpstreamTcp, UpstreamTls } from '../../../src/upstream/upstream.ts';
import { testCa } from '../../kit/pki.ts';
import { type RawOrigin, type RawPeer, startRawOrigin } from '../../kit/raw-origin.ts';
import { within } from '../../kit/within.ts';
import { type RequestOverrides, requestFor, TestClock, testUpstream } from './support.ts';

const ca = testCa();
const IDLE_TIMEOUT_MS = 55_000;

/** One set of properties for both pools; only how a connection is made differs. */
describe.each(['tcp', 'tls'] as const)('The pool of resting %s connections', (layer) => {
  it('gives a connection to its own agent again, and an exchange works on it', async () => {
    await using site = await fixture(layer);
    const first = await site.dial();
    expect(first.reused).toBe(false);
    await site.exchange(first);
    site.release(first);
    const again = site.take();
    expect(again).toBe(first);
    expect(again?.reused).toBe(true);
    await site.exchange(first);
    expect(site.origin.connections).toBe(1);
  });

  it('never gives a connection to another agent, while its own agent gets it', async () => {
    await using site = await fixture(layer);
    site.release(await site.dial());
    expect(site.take({ agentIp: '10.203.0.9' })).toBeUndefined();
    expect(site.take()).toBeDefined();
  });

  it('never gives a connection to a flow that may reach or trust something else', async () => {
    await using site = await fixture(layer);
    const trusting = { trustAnchors: [testCa('A CA of the rule').certPem] };
    site.release(await site.dial({ allowPrivateIps: true }));
    site.release(await site.dial(trusting));
    expect(site.take()).toBeUndefined();
    expect(site.take({ trustAnchors: [testCa('Yet another CA').certPem] })).toBeUndefined();
    expect(site.take({ allowPrivateIps: true, ...trusting })).toBeUndefined();
    expect(site.take({ allowPrivateIps: true })).toBeDefined();
    expect(site.take({ trustAnchors: [...trusting.trustAnchors] })).toBeDefined();
  });

  it('never gives a connection to a flow for another host or port', async () => {
    await using site = await fixture(layer);
    site.release(await site.dial());
    expect(
      site.upstream[layer === 'tls' ? 'take' : 'takePlain'](requestFor('127.0.0.2', site.origin.port)),
    ).toBeUndefined();
    expect(site.upstream[layer === 'tls' ? 'take' : 'takePlain'](requestFor('127.0.0.1', 1))).toBeUndefined();
    expect(
      site.upstream[layer === 'tls' ? 'takePlain' : 'take'](requestFor('127.0.0.1', site.origin.port)),
    ).toBeUndefined();
    expect(site.take()).toBeDefined();
  });

  it('gives a connection to one flow at a time', async () => {
    await using site = await fixture(layer);
    site.release(await site.dial());
    expect(site.take()).toBeDefined();
    expect(site.take()).toBeUndefined();
  });

  it('gives the connection first that rested the shortest', async () => {
    await using site = await fixture(layer);
    const [first, second] = [await site.dial(), await site.dial()];
    site.release(first);
    site.release(second);
    expect([site.take(), site.take()]).toEqual([second, first]);
  });

  it.each<readonly [string, (peer: RawPeer) => unknown]>([
    ['a byte', (peer) => peer.send('HTTP/1.1 200 OK\r\n\r\n')],
    ['an end', (peer) => peer.finish()],
    ['a reset', (peer) => peer.reset()],
  ])('closes a resting connection at %s from the origin', async (_what, disturb) => {
    await using site = await fixture(layer);
    const connection = await site.dial();
    const peer = await site.origin.peers.next();
    await site.exchange(connection);
    site.release(connection);
    await disturb(peer);
    await closed(connection.socket);
    expect(site.take()).toBeUndefined();
  });

  it('does not take in a connection that has bytes nobody asked for, or is closed', async () => {
    await using site = await fixture(layer);
    const connection = await site.dial();
    const peer = await site.origin.peers.next();
    await peer.send('early');
    await within(new Promise((resolve) => connection.socket.once('readable', resolve)), 5_000, 'the bytes');
    connection.socket.removeAllListeners('readable');
    site.release(connection);
    expect(connection.socket.destroyed).toBe(true);
    const gone = await site.dial();
    gone.socket.destroy();
    site.release(gone);
    expect(site.take()).toBeUndefined();
  });

  it('does not give out a connection that rested too long', async () => {
    await using site = await fixture(layer);
    const [old, fresh] = [await site.dial(), await site.dial()];
    site.release(old);
    site.clock.advance(IDLE_TIMEOUT_MS - 1);
    expect(site.take()).toBe(old);
    site.release(old);
    site.clock.advance(1);
    site.release(fresh);
    site.clock.advance(IDLE_TIMEOUT_MS - 1);
    expect(site.take()).toBe(fresh);
    expect(site.take()).toBeUndefined();
    expect(old.socket.destroyed).toBe(true);
  });

  it('keeps no more for one origin than it may, and lets the oldest go', async () => {
    await using site = await fixture(layer, 2);
    const three = [await site.dial(), await site.dial(), await site.dial()] as const;
    for (const connection of three) site.release(connection);
    await closed(three[0].socket);
    expect([site.take(), site.take(), site.take()]).toEqual([three[2], three[1], undefined]);
  });

  it('keeps none where it may keep none', async () => {
    await using site = await fixture(layer, 0);
    const connection = await site.dial();
    site.release(connection);
    expect(connection.socket.destroyed).toBe(true);
    expect(site.take()).toBeUndefined();
  });

  it('closes all that rests when it is closed, and what is given back later', async () => {
    await using site = await fixture(layer);
    const [resting, inUse] = [await site.dial(), await site.dial()];
    site.release(resting);
    site.upstream.close();
    expect(resting.socket.destroyed).toBe(true);
    expect(inUse.socket.destroyed).toBe(false);
    site.release(inUse);
    expect(inUse.socket.destroyed).toBe(true);
  });

  it('leaves no listener behind on a connection that it gives out', async () => {
    await using site = await fixture(layer);
    const connection = await site.dial();
    const before = listenersOf(connection.socket);
    for (let i = 0; i < 20; i++) {
      site.release(connection);
      expect(site.take()).toBe(connection);
    }
    expect(listenersOf(connection.socket)).toEqual(before);
  });
});

describe('What a resting connection speaks', () => {
  it('is told while it rests, to its own agent alone, and the connection stays where it is', async () => {
    await using site = await fixture('tls');
    const connection = (await site.dial()) as UpstreamTls;
    const origin = requestFor('127.0.0.1', site.origin.port);
    expect(site.upstream.restingAlpn(origin)).toBeUndefined();
    site.release(connection);
    expect(site.upstream.restingAlpn(origin)).toBe('http/1.1');
    expect(site.upstream.restingAlpn({ ...origin, agentIp: '10.203.0.9' })).toBeUndefined();
    expect(site.upstream.idle).toBe(1);
    site.clock.advance(IDLE_TIMEOUT_MS);
    expect(site.upstream.restingAlpn(origin)).toBeUndefined();
    expect(site.take()).toBeUndefined();
  });
});

describe('IdlePool', () => {
  it('holds no connection that the origin closed, and at most as many as it may in all', async () => {
    await using site = await fixture('tcp');
    const limits = { maxIdlePerKey: 8, maxIdle: 2, idleTimeoutMs: IDLE_TIMEOUT_MS };
    const pool = new IdlePool<UpstreamTcp>(limits, site.clock);
    const three = [await site.dial(), await site.dial(), await site.dial()];
    for (const [i, connection] of three.entries()) pool.release({ ...connection, key: `origin ${i}` });
    expect(pool.size).toBe(2);
    expect([0, 1, 2].map((i) => three[i]?.socket.destroyed)).toEqual([true, false, false]);
    for (const peer of await site.origin.peers.atLeast(3)) peer.reset();
    await Promise.all(three.map(({ socket }) => closed(socket)));
    expect(pool.size).toBe(0);
    pool.close();
  });
});

async function fixture(layer: 'tcp' | 'tls', maxIdlePerOrigin = 8) {
  const origin: RawOrigin = await startRawOrigin(layer === 'tls' ? { tls: { ca, names: ['127.0.0.1'] } } : {});
  const clock = new TestClock();
  const upstream = testUpstream({
    upstreamCaPem: [ca.certPem],
    idleTimeoutMs: IDLE_TIMEOUT_MS,
    maxIdlePerOrigin,
    clock,
  });
  const request = (overrides: RequestOverrides = {}) => requestFor('127.0.0.1', origin.port, overrides);
  const made: (UpstreamTcp | UpstreamTls)[] = [];
  return {
    origin,
    upstream,
    clock,
    async dial(overrides?: RequestOverrides) {
      const connection = await (layer === 'tls'
        ? upstream.dialTls(request(overrides), ['http/1.1'])
        : upstream.dialPlain(request(overrides)));
      made.push(connection);
      return connection;
    },
    take: (overrides?: RequestOverrides) =>
      layer === 'tls' ? upstream.take(request(overrides)) : upstream.takePlain(request(overrides)),
    release: (connection: UpstreamTcp | UpstreamTls) =>
      layer === 'tls' ? upstream.release(connection as UpstreamTls) : upstream.releasePlain(connection),
    /** A request and its answer, on the peer that has this connection. */
    async exchange({ socket, raw }: UpstreamTcp | UpstreamTls) {
      const peer = await origin.peers.some((candidate) => candidate.socket.remotePort === raw.localPort);
      const { promise, resolve } = Promise.withResolvers<string>();
      const onData = (chunk: Buffer) => resolve(chunk.toString());
      socket.on('data', onData);
      socket.resume();
      socket.write('GET / HTTP/1.1\r\n\r\n');
      await peer.readRequest();
      await peer.send('HTTP/1.1 204 No Content\r\n\r\n');
      expect(await within(promise, 5_000, 'the answer')).toContain('204');
      socket.off('data', onData);
    },
    async [Symbol.asyncDispose]() {
      for (const { socket } of made) socket.destroy();
      upstream.close();
      await origin[Symbol.asyncDispose]();
    },
  };
}

async function closed(socket: Socket): Promise<void> {
  // Not events.once, which an error ends before the close.
  const close = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  if (!socket.closed) await within(close, 5_000, 'the close');
  expect(socket.destroyed).toBe(true);
}

function listenersOf(socket: Socket): unknown {
  return socket.eventNames().map((name) => [name, socket.listenerCount(name)]);
}
