/**
 * Messages inside intercepted TLS go through as they come, in both directions, with their framing and with backpressure
 * (S011-EC-006, FR-010, FR-016; threat 9).
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { fieldOf } from '../kit/http1-reply.ts';
import { ask, startInterceptScene, startRawInterceptScene } from './intercept-scene.ts';

const LARGE_BYTES = 32 * 1024 * 1024;
/** As in tunnel-relay.test.ts: two TCP connections' buffers and what the proxy holds. */
const IN_FLIGHT_BYTES_MAX = 14 * 1024 * 1024;
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('S011-EC-006: a response inside TLS', () => {
  it.each(['/sse', '/live'])('of %s reaches the agent part by part while it is still open', async (path) => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.send(`GET ${path} HTTP/1.1\r\nHost: api.test\r\n\r\n`);
    const live = await scene.origin.live.next();
    for (const event of ['data: 1\n\n', 'data: 2\n\n', 'data: 3\n\n']) {
      await live.send(event);
      await agent.readUntil(event);
    }
    expect(scene.proxy.records.count).toBe(0);
    live.end();
    await agent.readUntil('0\r\n\r\n');
    expect((await ask(agent, '/')).status).toBe(200);
    expect(await scene.proxy.nextRecord()).toMatchObject({ path, status: 200, verdict: 'allow' });
  });

  it('passes before the request has ended, and the rest of the request passes after it has begun', async () => {
    await using scene = await startRawInterceptScene(() => undefined);
    await using agent = await scene.open();
    const head = `POST /x HTTP/1.1\r\nHost: ${scene.api}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    await agent.send(head);
    const peer = await scene.origin.peers.next();
    expect((await peer.readExactly(head.length)).toString()).toBe(head);
    await peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    await agent.readUntil('\r\n\r\n');
    for (const part of ['3\r\none\r\n', '3\r\ntwo\r\n']) {
      await agent.send(part);
      expect((await peer.readExactly(part.length)).toString()).toBe(part);
      await peer.send(part);
      expect((await agent.readExactly(part.length)).toString()).toBe(part);
    }
    await agent.send('0\r\n\r\n');
    expect((await peer.readExactly(5)).toString()).toBe('0\r\n\r\n');
    await peer.send('0\r\n\r\n');
    await agent.readExactly(5);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', body_size: 6, reason: null });
  });

  it('arrives byte for byte where nothing has to change', async () => {
    const response =
      'HTTP/1.1 200 Fine With Me\r\nX-Mixed-CASE: a  b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nx-latin: caf\xe9\r\n' +
      'Transfer-Encoding: chunked\r\n\r\n4;ext=1\r\nabcd\r\n0\r\nX-Trailer: t\r\n\r\n';
    await using scene = await startRawInterceptScene(async (peer) => {
      await peer.readRequest();
      await peer.sendPieces(response);
    });
    await using agent = await scene.open();
    await agent.send('GET / HTTP/1.1\r\nHost: api.test\r\n\r\n');
    expect((await agent.readExactly(response.length)).toString('latin1')).toBe(response);
  });

  it('keeps its framing: chunks, trailers both ways, HEAD, 204, 304, and the connection is kept', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.sendPieces([
      'POST /trailers HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n',
      '3\r\nab',
      'c\r\n0\r\nX-Sum: 9',
      '\r\n\r\n',
    ]);
    const reply = await agent.readReply();
    expect(fieldOf(reply.trailers, 'x-checksum')).toBe('abc123');
    expect(JSON.parse(fieldOf(reply.trailers, 'x-request-trailers') ?? '')).toEqual(['X-Sum', '9']);
    expect((await ask(agent, '/chunked')).body.toString()).toBe('onetwothree');
    expect((await ask(agent, '/echo', { method: 'HEAD' })).body.length).toBe(0);
    for (const status of [204, 304, 404, 500]) expect((await ask(agent, `/status/${status}`)).status).toBe(status);
    expect((await ask(agent, '/cookies')).headers.filter((field) => /^[ab]=/.test(field))).toEqual(['a=1', 'b=2']);
    expect(scene.origin.connections).toBe(1);
  });

  it('may be preceded by 103, and by the 100 that its request expects, before the body is sent', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    expect((await ask(agent, '/early-hints')).interim.map(({ status }) => status)).toEqual([103]);
    const head = (path: string) =>
      `POST ${path} HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n`;
    await agent.send(head('/continue'));
    expect((await agent.readUntil('\r\n\r\n')).toString()).toMatch(/^HTTP\/1\.1 100 /);
    const seen = await scene.origin.heads.some(({ url }) => url === '/continue');
    expect([seen.header('expect'), seen.bodyBytes]).toEqual([['100-continue'], 0]);
    await agent.send('body');
    expect(JSON.parse((await agent.readReply()).body.toString())).toMatchObject({ body: 'body' });
    await agent.send(head('/refuse'));
    const refused = await agent.readReply();
    expect([refused.status, refused.interim]).toEqual([417, []]);
  });

  it('that is whole before its request is still arrives, and neither connection serves another', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.send('POST /early HTTP/1.1\r\nHost: api.test\r\nContent-Length: 1000000\r\n\r\nsome');
    const reply = await agent.readReply();
    expect([reply.status, reply.body.toString(), fieldOf(reply.headers, 'connection')]).toEqual([
      200,
      'early',
      'close',
    ]);
    expect(await agent.untilEnded()).toBe('FIN');
    await scene.origin.closed.atLeast(1);
    await using next = await scene.open();
    expect((await ask(next, '/')).status).toBe(200);
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(['/']);
  });

  it('until close ends with the connection, which says so to the agent', async () => {
    await using scene = await startRawInterceptScene(async (peer) => {
      await peer.readRequest();
      await peer.send('HTTP/1.1 200 OK\r\n\r\nwho');
      await peer.send('le');
      peer.finish();
    });
    await using agent = await scene.open();
    const reply = await ask(agent, '/');
    expect([reply.status, reply.body.toString(), agent.ended]).toEqual([200, 'whole', 'FIN']);
    expect(fieldOf(reply.headers, 'connection')).toBe('close');
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', reason: null });
  });
});

describe('an HTTP/1.0 client inside TLS', () => {
  it.each(['', 'Connection: keep-alive\r\n'])('gets one answer and a close, also when it sends %j', async (field) => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    await agent.send(`GET / HTTP/1.0\r\nHost: api.test\r\n${field}\r\n`);
    const reply = await agent.readReply();
    expect([reply.status, fieldOf(reply.headers, 'connection')]).toEqual([200, 'close']);
    expect(await agent.untilEnded()).toBe('FIN');
    await using twin = await scene.open();
    for (const path of ['/2', '/3']) expect((await ask(twin, path)).status).toBe(200);
  });

  it('never gets chunks or a 103, which it could not read', async () => {
    await using chunks = await startRawInterceptScene(async (peer) => {
      await peer.readRequest();
      await peer.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n');
    });
    await using agent = await chunks.open();
    await agent.send('GET / HTTP/1.0\r\nHost: api.test\r\n\r\n');
    expect((await agent.readReply()).status).toBe(502);
    await using hints = await startRawInterceptScene(async (peer) => {
      await peer.readRequest();
      await peer.send(`HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${OK}`);
    });
    await using other = await hints.open();
    await other.send('GET / HTTP/1.0\r\nHost: api.test\r\n\r\n');
    const reply = await other.readReply();
    expect([reply.status, reply.interim]).toEqual([200, []]);
  });
});

describe('a large body inside TLS', () => {
  it('downwards waits at the origin while the agent does not read, while another agent is served', async () => {
    await using scene = await startInterceptScene();
    await using slow = await scene.open();
    slow.socket.pause();
    await slow.send(`GET /large?bytes=${LARGE_BYTES} HTTP/1.1\r\nHost: api.test\r\n\r\n`);
    const request = await scene.origin.heads.next();
    await using up = await scene.open({ localAddress: '127.0.0.2' });
    const body = Buffer.alloc(LARGE_BYTES, 'u');
    expect((await ask(up, '/large?bytes=0', { method: 'POST', body })).status).toBe(200);
    expect(request.incoming.socket.bytesWritten).toBeLessThan(IN_FLIGHT_BYTES_MAX);
    slow.socket.resume();
    expect((await slow.readReply()).body.length).toBe(LARGE_BYTES);
  });

  it.each(['/large?bytes=%', '/large?chunked&bytes=%'])('of %s arrives whole', async (path) => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    const reply = await ask(agent, path.replace('%', String(LARGE_BYTES)));
    expect([reply.body.length, reply.body.equals(Buffer.alloc(LARGE_BYTES, 'x'))]).toEqual([LARGE_BYTES, true]);
    expect((await ask(agent, '/')).status).toBe(200);
    expect(scene.origin.connections).toBe(1);
  });

  it('upwards holds the agent back while the origin does not read, and arrives unchanged', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    const body = Buffer.alloc(LARGE_BYTES);
    for (let at = 0; at < body.length; at += 4_096) body.writeUInt32BE(at, at);
    const head = `POST /slow-read HTTP/1.1\r\nHost: api.test\r\nContent-Length: ${LARGE_BYTES}\r\n\r\n`;
    const sending = agent.send(Buffer.concat([Buffer.from(head), body]));
    const live = await scene.origin.live.next();
    await using other = await scene.open({ localAddress: '127.0.0.2' });
    for (let i = 0; i < 100; i++) expect((await ask(other, '/')).status).toBe(200);
    expect(agent.socket.writableLength).toBeGreaterThan(LARGE_BYTES - IN_FLIGHT_BYTES_MAX);
    live.request.incoming.resume();
    await sending;
    const seen = await scene.origin.requests.some(({ url }) => url === '/slow-read');
    expect(seen.bodySha256).toBe(createHash('sha256').update(body).digest('hex'));
    live.end('done');
    expect((await agent.readReply()).body.toString()).toBe('done');
  });
});
