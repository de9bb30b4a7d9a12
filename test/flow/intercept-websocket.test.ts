/**
 * WebSocket over intercepted TLS (S011-EC-007; threats 11, 12): the handshake is a request like any other, and frames pass
 * unread once a rule has allowed it and the origin has answered it validly. No other way leads to a raw relay.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { openTunnel, startTls } from '../kit/agent.ts';
import type { AgentSocket } from '../kit/agent-socket.ts';
import type { RawPeer } from '../kit/raw-origin.ts';
import { rulesFile } from '../kit/rules.ts';
import {
  ask,
  type InterceptScene,
  interceptRule,
  refusalOf,
  startInterceptScene,
  startRawInterceptScene,
} from './intercept-scene.ts';

/** RFC 6455 section 1.3's own example, and its answer. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';
const UPGRADE = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${KEY}`];
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
const API = 'http.host == "api.test"';

async function openWebSocket(
  scene: InterceptScene,
  path: string,
  protocols: readonly string[] = [],
): Promise<WebSocket> {
  const tunnel = await openTunnel(scene.proxy, scene.api);
  const secure = await startTls(tunnel, { ca: scene.proxy.caPem, servername: 'api.test' });
  return new WebSocket(`wss://api.test${path}`, [...protocols], { createConnection: () => secure });
}

async function echoed(socket: WebSocket, message: string | Buffer): Promise<Buffer> {
  const back = once(socket, 'message');
  socket.send(message);
  return (await back)[0] as Buffer;
}

describe('S011-EC-007: a WebSocket over intercepted TLS', () => {
  it('carries messages both ways where a rule allows its request, and is one record when it ends', async () => {
    await using scene = await startInterceptScene({
      rules: rulesFile(interceptRule('ws', `${API} && http.path == "/ws"`)),
    });
    const socket = await openWebSocket(scene, '/ws');
    await once(socket, 'open');
    expect((await echoed(socket, 'ping')).toString()).toBe('ping');
    const large = Buffer.alloc(1024 * 1024, 'b');
    expect((await echoed(socket, large)).equals(large)).toBe(true);
    expect(scene.proxy.records.count).toBe(0);
    socket.close(1000);
    expect((await once(socket, 'close'))[0]).toBe(1000);
    const record = await scene.proxy.nextRecord();
    expect(record).toMatchObject({ verdict: 'allow', rule: 'ws', status: 101, path: '/ws', taken: 'intercept' });
    expect(Math.min(record.bytes_up, record.bytes_down)).toBeGreaterThan(large.length);
  });

  it('is refused with 403 where no rule allows it, and the origin gets no byte', async () => {
    await using scene = await startInterceptScene({
      rules: rulesFile(interceptRule('ws', `${API} && http.path == "/ws"`)),
    });
    const socket = await openWebSocket(scene, '/other');
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
    expect(response.statusCode).toBe(403);
    socket.on('error', () => undefined);
    socket.terminate();
    expect([scene.origin.bytes, scene.origin.connections]).toEqual([0, 1]);
    const twin = await openWebSocket(scene, '/ws');
    await once(twin, 'open');
    twin.terminate();
  });

  it('has its protocol seen by rules', async () => {
    const condition = `${API} && http.header("Sec-WebSocket-Protocol") == "chat"`;
    await using scene = await startInterceptScene({ rules: rulesFile(interceptRule('chat', condition)) });
    await using refused = await scene.open();
    const reply = await ask(refused, '/ws', { headers: [...UPGRADE, 'Sec-WebSocket-Protocol: mqtt'] });
    expect([reply.status, scene.origin.bytes]).toEqual([403, 0]);
    const socket = await openWebSocket(scene, '/ws', ['chat']);
    await once(socket, 'open');
    expect(socket.protocol).toBe('chat');
    socket.terminate();
  });

  it('passes a refusal of the origin on as it is', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    expect((await ask(agent, '/no-socket', { headers: UPGRADE })).status).toBe(400);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', status: 400 });
  });

  it('is reset to the other side when one side resets, and closed when it closes', async () => {
    await using scene = await startRawInterceptScene(switching());
    for (const [leave, seen] of [
      ['reset', /^ECONNRESET$/],
      ['finish', /^FIN$/],
    ] as const) {
      await using agent = await scene.open();
      expect((await ask(agent, '/', { headers: UPGRADE })).status).toBe(101);
      const peer = await scene.origin.peers.next(({ ended }) => ended === undefined);
      peer[leave]();
      expect(await agent.untilEnded()).toMatch(seen);
    }
  });

  it('is closed by a reload that no longer allows the host, and not by one that still does', async () => {
    await using scene = await startRawInterceptScene(switching());
    await using agent = await scene.open();
    expect((await ask(agent, '/', { headers: UPGRADE })).status).toBe(101);
    scene.proxy.reload(rulesFile(interceptRule('other', API)));
    await agent.send('frame');
    expect((await agent.readExactly(5)).toString()).toBe('frame');
    scene.proxy.reload(rulesFile());
    expect(await agent.untilEnded()).toBe('ECONNRESET');
  });
});

describe('what is no WebSocket', () => {
  it.each([
    ['a wrong Sec-WebSocket-Accept', `${SWITCH}Sec-WebSocket-Accept: AAAA\r\n\r\n`],
    ['no Sec-WebSocket-Accept', `${SWITCH}\r\n`],
    ['another protocol', `${SWITCH.replace('websocket', 'tcp')}Sec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`],
    ['no Upgrade', `HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`],
  ])('because the 101 has %s is 502, and no byte passes either way', async (_, answer) => {
    await using scene = await startRawInterceptScene(async (peer) => {
      await peer.readRequest();
      await peer.send(`${answer}raw bytes of the origin`);
    });
    await using agent = await scene.open();
    await agent.send(`GET / HTTP/1.1\r\nHost: api.test\r\n${UPGRADE.join('\r\n')}\r\n\r\n`);
    const reply = await agent.readReply();
    expect(refusalOf(reply)).toEqual([502, 'origin_malformed']);
    expect((await agent.readToEnd()).toString()).not.toContain('raw bytes');
    await using good = await startRawInterceptScene(switching());
    await using twin = await good.open();
    expect((await ask(twin, '/', { headers: UPGRADE })).status).toBe(101);
  });

  it('because the request asked for none: a 101 is 502, with and without a key', async () => {
    await using scene = await startRawInterceptScene(async (peer) => {
      await peer.readRequest();
      await peer.send(`${SWITCH}Sec-WebSocket-Accept: ${ACCEPT}\r\n\r\nraw`);
    });
    for (const headers of [[], [`Sec-WebSocket-Key: ${KEY}`]]) {
      await using agent = await scene.open();
      expect(refusalOf(await ask(agent, '/', { headers }))).toEqual([502, 'origin_malformed']);
    }
  });

  it.each([
    ['an upgrade to h2c', 'GET', ['Connection: upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk']],
    ['an upgrade to TLS', 'GET', ['Connection: upgrade', 'Upgrade: TLS/1.2']],
    ['two upgrades at once', 'GET', ['Connection: upgrade', 'Upgrade: websocket, h2c']],
    ['a WebSocket by POST', 'POST', UPGRADE],
    ['a WebSocket with a body', 'GET', [...UPGRADE, 'Content-Length: 3', 'X-A: b\r\n\r\nabc']],
  ])('%s is refused, and the origin gets no byte', async (_, method, headers) => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.send(`${method} /ws HTTP/1.1\r\nHost: api.test\r\n${headers.join('\r\n')}\r\n\r\n`);
    expect((await agent.readReply()).status).toBe(400);
    expect(scene.origin.bytes).toBe(0);
    await using twin = await scene.open();
    expect((await ask(twin, '/ws', { headers: UPGRADE })).status).toBe(101);
  });

  it('loses its Upgrade field where Connection does not name it: a request like any other', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    expect((await ask(agent, '/echo', { headers: ['Upgrade: h2c'] })).status).toBe(200);
    expect((await scene.origin.nextRequest()).header('upgrade')).toEqual([]);
  });

  it('as bytes behind a handshake that is not answered yet goes nowhere', async () => {
    await using scene = await startRawInterceptScene(async (peer: RawPeer) => {
      await peer.readRequest();
      await peer.send('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
    });
    await using agent = await scene.open();
    await handshakeWith(agent, 'early frames that are no request\r\n\r\n');
    expect((await agent.readReply()).status).toBe(403);
    expect((await agent.readReply()).status).toBe(400);
    await agent.untilEnded();
    const peer = await scene.origin.peers.next();
    expect(peer.received.toString()).not.toContain('early frames');
  });
});

function handshakeWith(agent: AgentSocket, more: string): Promise<void> {
  return agent.send(`GET / HTTP/1.1\r\nHost: api.test\r\n${UPGRADE.join('\r\n')}\r\n\r\n${more}`);
}

/** Answers the handshake with the key of the example, then echoes bytes. */
function switching() {
  return async (peer: RawPeer): Promise<void> => {
    await peer.readRequest();
    await peer.send(`${SWITCH}Sec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`);
    peer.socket.on('data', (chunk: Buffer) => peer.socket.write(chunk));
  };
}
