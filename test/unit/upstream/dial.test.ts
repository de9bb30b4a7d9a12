import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { FlowFailure } from '../../../src/domain/failure.ts';
import { dialTcp } from '../../../src/upstream/dial.ts';
import { nextTurn, within } from '../../kit/within.ts';
import { failureOf } from './support.ts';

describe('dialTcp', () => {
  it('connects to the first address that accepts', async () => {
    await using server = await listener('127.0.0.2');
    const socket = await dialTcp({
      addresses: ['127.0.0.1', '127.0.0.2', '127.0.0.3'],
      port: server.port,
      timeoutMs: 5_000,
    });
    expect(socket.remoteAddress).toBe('127.0.0.2');
    socket.destroy();
  });

  it('does not go past the address that accepted', async () => {
    await using first = await listener('127.0.0.1');
    await using second = await listener('127.0.0.2', first.port);
    const socket = await dialTcp({ addresses: ['127.0.0.1', '127.0.0.2'], port: first.port, timeoutMs: 5_000 });
    await first.accepted();
    expect([first.connections, second.connections]).toEqual([1, 0]);
    socket.destroy();
  });

  it('reaches an IPv6 address', async () => {
    await using server = await listener('::1');
    const socket = await dialTcp({ addresses: ['::1'], port: server.port, timeoutMs: 5_000 });
    expect(socket.remoteAddress).toBe('::1');
    socket.destroy();
  });

  it('says connect_failed with the code and address where nothing listens', async () => {
    const { port } = await startThenStop();
    const dialled = dialTcp({ addresses: ['127.0.0.1', '127.0.0.2'], port, timeoutMs: 5_000 });
    expect(await failureOf(dialled)).toBe('connect_failed: ECONNREFUSED from 127.0.0.1');
  });

  it('tries four addresses and no fifth', async () => {
    await using server = await listener('127.0.0.5');
    const others = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'];
    const five = dialTcp({ addresses: [...others, '127.0.0.5'], port: server.port, timeoutMs: 5_000 });
    expect(await failureOf(five)).toMatch(/^connect_failed/);
    expect(server.connections).toBe(0);
    const four = await dialTcp({ addresses: [...others.slice(1), '127.0.0.5'], port: server.port, timeoutMs: 5_000 });
    expect(four.remoteAddress).toBe('127.0.0.5');
    four.destroy();
  });

  it('tries both families in turn, IPv4 first', async () => {
    await using v6 = await listener('::1');
    const fourOfIPv4 = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'];
    const late = await dialTcp({ addresses: [...fourOfIPv4, '::1'], port: v6.port, timeoutMs: 5_000 });
    expect(late.remoteAddress).toBe('::1');
    late.destroy();
    await using v4 = await listener('127.0.0.1', v6.port);
    const first = await dialTcp({ addresses: ['::1', '127.0.0.1'], port: v4.port, timeoutMs: 5_000 });
    expect(first.remoteAddress).toBe('127.0.0.1');
    first.destroy();
  });

  it('goes on from an address that keeps silent, and says connect_timeout where all do', async () => {
    await using deaf = await deafListener('127.0.0.1');
    const silent = { addresses: ['127.0.0.1'], port: deaf.port, timeoutMs: 200 };
    expect(await failureOf(dialTcp(silent))).toBe('connect_timeout: no answer from 127.0.0.1');
    expect(await failureOf(dialTcp({ ...silent, addresses: ['127.0.0.2', '127.0.0.1'] }))).toMatch(/^connect_timeout/);
    await using good = await listener('127.0.0.3', deaf.port);
    const socket = await dialTcp({ addresses: ['127.0.0.1', '127.0.0.3'], port: good.port, timeoutMs: 400 });
    expect(socket.remoteAddress).toBe('127.0.0.3');
    socket.destroy();
  });

  it('gives up when the caller does, with the reason that the caller gives', async () => {
    await using deaf = await deafListener('127.0.0.1');
    const target = { addresses: ['127.0.0.1', '127.0.0.2'], port: deaf.port, timeoutMs: 10_000 };
    const plain = new AbortController();
    const first = failureOf(dialTcp(target, { signal: plain.signal }));
    await nextTurn();
    expect(dialling(deaf.port)).toBe(1);
    plain.abort();
    expect(await within(first, 5_000, 'the dial to be given up')).toBe('client_closed');
    await nextTurn();
    expect(dialling(deaf.port)).toBe(0);
    const draining = AbortSignal.abort(new FlowFailure('draining'));
    expect(await failureOf(dialTcp(target, { signal: draining }))).toBe('draining');
  });

  it('reaches nothing when it is given a name', async () => {
    await using server = await listener('127.0.0.1');
    expect(await failureOf(dialTcp({ addresses: ['localhost'], port: server.port, timeoutMs: 5_000 }))).toMatch(
      /^connect_failed/,
    );
    expect(server.connections).toBe(0);
  });

  it('passes an end from the peer on as the caller asked: half open or closed', async () => {
    await using server = await listener('127.0.0.1');
    for (const allowHalfOpen of [true, false]) {
      const target = { addresses: ['127.0.0.1'], port: server.port, timeoutMs: 5_000 };
      const socket = await dialTcp(target, { allowHalfOpen });
      const peer = await server.accepted();
      socket.resume();
      peer.end();
      await within(once(socket, 'end'), 5_000, 'the end');
      await new Promise((resolve) => setImmediate(resolve));
      expect(socket.writable).toBe(allowHalfOpen);
      socket.destroy();
    }
  });

  it('survives an error on a socket that nobody listens to yet', async () => {
    await using server = await listener('127.0.0.1');
    const socket = await dialTcp({ addresses: ['127.0.0.1'], port: server.port, timeoutMs: 5_000 });
    const peer = await server.accepted();
    peer.resetAndDestroy();
    await within(new Promise((resolve) => socket.once('close', resolve)), 5_000, 'the close');
    expect(socket.errored).toMatchObject({ code: 'ECONNRESET' });
  });

  it("reads into the caller's own buffer where it gives one", async () => {
    await using server = await listener('127.0.0.1');
    const { promise, resolve } = Promise.withResolvers<string>();
    const buffer = Buffer.alloc(64);
    const socket = await dialTcp(
      { addresses: ['127.0.0.1'], port: server.port, timeoutMs: 5_000 },
      {
        onread: {
          buffer,
          callback: (bytes) => {
            resolve(buffer.toString('latin1', 0, bytes));
            return true;
          },
        },
      },
    );
    (await server.accepted()).write('hello');
    expect(await within(promise, 5_000, 'bytes in the buffer')).toBe('hello');
    socket.destroy();
  });
});

async function listener(host: string, port = 0) {
  const peers: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    peers.push(socket);
    server.emit('accepted');
  });
  server.listen(port, host);
  await once(server, 'listening');
  let handedOut = 0;
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return peers.length;
    },
    async accepted(): Promise<net.Socket> {
      if (peers.length <= handedOut) await within(once(server, 'accepted'), 5_000, 'a connection');
      return peers[handedOut++] as net.Socket;
    },
    async [Symbol.asyncDispose]() {
      for (const peer of peers) peer.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function startThenStop(): Promise<{ readonly port: number }> {
  await using server = await listener('127.0.0.1');
  return { port: server.port };
}

/** Connections to that port of which the kernel has sent no more than the SYN (state 02). */
function dialling(port: number): number {
  const remote = `:${port.toString(16).toUpperCase().padStart(4, '0')} 02 `;
  const lines = readFileSync('/proc/self/net/tcp', 'utf8').split('\n');
  return lines.filter((line) => line.slice(line.indexOf(':') + 1).includes(remote)).length;
}

/** Listens without ever accepting, its queue full: the kernel drops what comes next. */
async function deafListener(host: string) {
  const code = `
    const { parentPort } = require('node:worker_threads');
    const server = require('node:net').createServer().listen({ port: 0, host: '${host}', backlog: 1 }, () => {
      parentPort.postMessage(server.address().port);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`;
  const worker = new Worker(code, { eval: true });
  const [port] = (await within(once(worker, 'message'), 5_000, 'the deaf listener')) as [number];
  const fill = Array.from({ length: 4 }, () => net.connect({ host, port }).on('error', () => undefined));
  // A backlog of one holds two; the others only make sure of it.
  const queued = fill.slice(0, 2);
  await Promise.all(queued.map((socket) => within(once(socket, 'connect'), 5_000, 'the queue to fill')));
  for (const socket of fill.slice(2)) socket.destroy();
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of queued) socket.destroy();
      await worker.terminate();
    },
  };
}
