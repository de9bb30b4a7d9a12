/**
 * A WebSocket client (ws) over intercepted TLS: an upgrade is a request like any other, and its frames pass unread
 * (S011-EC-007; threat 12).
 */
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { rulesFile } from '../kit/rules.ts';
import { within } from '../kit/within.ts';
import { proxiedAgent } from './node-clients.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const RULES = rulesFile(
  `{ id: chat, condition: 'http.host == "api.test" && http.path == "/ws" && http.headers[?"sec-websocket-protocol"].orValue("") in ["", "chat"]', action: allow, egress: { mode: intercept } }`,
  `{ id: tunnel, condition: 'http.host == "tunnel.test"', action: allow }`,
);
const LARGE_BYTES = 1024 * 1024;
const WAIT_MS = 10_000;

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene({ rules: RULES });
});
afterAll(() => scene[Symbol.asyncDispose]());

interface Opened extends Disposable {
  readonly socket: WebSocket;
  /** `open`, or the status that was answered in the place of 101, or the error's text. */
  readonly outcome: string | number;
}

async function open(
  path: string,
  options: { host?: string; caFile?: string; protocol?: string } = {},
): Promise<Opened> {
  const agent = proxiedAgent(scene, options.caFile ?? scene.outcallCaFile);
  const url = scene.url(options.host ?? 'api.test', path).replace('https:', 'wss:');
  const socket = new WebSocket(url, options.protocol === undefined ? [] : [options.protocol], { agent });
  const outcome = new Promise<string | number>((resolve) => {
    socket.once('open', () => resolve('open'));
    socket.once('unexpected-response', (_, response) => resolve(response.statusCode ?? 0));
    socket.once('error', (error) => resolve(error.message));
  });
  socket.on('error', () => undefined);
  return {
    socket,
    outcome: await within(outcome, WAIT_MS, 'the outcome of an upgrade'),
    [Symbol.dispose]: () => {
      socket.terminate();
      agent.destroy();
    },
  };
}

async function echoOf(socket: WebSocket, message: string | Buffer): Promise<Buffer> {
  const answered = once(socket, 'message') as Promise<[Buffer, boolean]>;
  socket.send(message);
  return (await within(answered, WAIT_MS, 'the echo of a message'))[0];
}

describe('a WebSocket client', () => {
  it('S011-EC-007: talks both ways where a rule allows the upgrade, and is refused with 403 by path', async () => {
    using allowed = await open('/ws');
    expect(allowed.outcome).toBe('open');
    expect((await echoOf(allowed.socket, 'hello')).toString()).toBe('hello');
    const large = Buffer.alloc(LARGE_BYTES, 'frame');
    expect((await echoOf(allowed.socket, large)).equals(large)).toBe(true);
    const requests = scene.origin.heads.count;
    using refused = await open('/ws-101-raw');
    expect(refused.outcome).toBe(403);
    expect(scene.origin.heads.count).toBe(requests);
    const blocked = await scene.daemon.records.next(({ verdict }) => verdict === 'block');
    expect(blocked).toMatchObject({ path: '/ws-101-raw', rule: 'default', status: 403, subsystem: 'proxy_intercept' });
    allowed.socket.close();
    const record = await scene.daemon.records.next(({ verdict }) => verdict === 'allow');
    expect(record).toMatchObject({ path: '/ws', rule: 'chat', status: 101, taken: 'intercept' });
    expect(record.bytes_up).toBeGreaterThan(LARGE_BYTES);
    expect(record.bytes_down).toBeGreaterThan(LARGE_BYTES);
  });

  it('is decided by its Sec-WebSocket-Protocol too', async () => {
    using allowed = await open('/ws', { protocol: 'chat' });
    expect([allowed.outcome, allowed.socket.protocol]).toEqual(['open', 'chat']);
    const requests = scene.origin.heads.count;
    using refused = await open('/ws', { protocol: 'shell' });
    expect(refused.outcome).toBe(403);
    expect(scene.origin.heads.count).toBe(requests);
  });

  it('S011-EC-003: without our CA never opens, and the record says why', async () => {
    const requests = scene.origin.heads.count;
    using stranger = await open('/ws', { caFile: scene.originCaFile });
    expect(stranger.outcome).toMatch(/unable to verify/);
    expect(scene.origin.heads.count).toBe(requests);
    const record = await scene.daemon.records.next(({ verdict }) => verdict === 'failed');
    expect(record).toMatchObject({ reason: 'client_handshake_failed', detail: 'closed_during_handshake' });
    using trusting = await open('/ws');
    expect(trusting.outcome).toBe('open');
  });

  it('is refused at CONNECT where no rule names its host, and passes unread in a tunnel', async () => {
    const { connections } = scene.origin;
    using refused = await open('/ws', { host: 'denied.test' });
    expect(refused.outcome).not.toBe('open');
    expect([scene.origin.connections - connections, scene.resolver.asked('denied.test')]).toEqual([0, 0]);
    using tunnelled = await open('/ws', { host: 'tunnel.test', caFile: scene.originCaFile });
    expect((await echoOf(tunnelled.socket, 'hello')).toString()).toBe('hello');
    tunnelled.socket.close();
    const record = await scene.daemon.records.next(({ host }) => host === 'tunnel.test');
    expect(record).toMatchObject({ taken: 'tunnel', path: null, rule: 'tunnel' });
  });
});
