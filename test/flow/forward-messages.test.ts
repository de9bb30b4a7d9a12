/**
 * Messages of plain HTTP through the explicit proxy: framing kept, streamed both ways with backpressure, interim responses,
 * WebSocket, and what happens when the agent goes away (threats 9, 12, 37). The same with and without a CA.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { openAgent } from '../kit/agent.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { rulesFile } from '../kit/rules.ts';
import { askPlain as ask, NOTHING_WENT_OUT, startScene, untouched, WITH_AND_WITHOUT_CA } from './scene.ts';

/** RFC 6455 section 1.3's own example. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const LARGE_BYTES = 32 * 1024 * 1024;
/** As in tunnel-relay.test.ts: two TCP connections' buffers and what the proxy holds. */
const IN_FLIGHT_BYTES_MAX = 14 * 1024 * 1024;

describe.each(WITH_AND_WITHOUT_CA)('messages of plain HTTP, $title', ({ ca }) => {
  it('keep their framing: chunks, trailers both ways, HEAD, 204, 304', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const host = `plain.test:${scene.plain.port}`;
    await agent.sendPieces([
      `POST ${scene.plainUrl}/trailers HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\n\r\n`,
      '3\r\nab',
      'c\r\n0\r\nX-Sum: 9',
      '\r\n\r\n',
    ]);
    const reply = await agent.readReply();
    expect(fieldOf(reply.trailers, 'x-checksum')).toBe('abc123');
    expect(JSON.parse(fieldOf(reply.trailers, 'x-request-trailers') ?? '')).toEqual(['X-Sum', '9']);
    expect((await scene.plain.nextRequest()).body.toString()).toBe('abc');
    expect((await ask(scene, agent, '/chunked')).body.toString()).toBe('onetwothree');
    expect((await ask(scene, agent, '/echo', { method: 'HEAD' })).body.length).toBe(0);
    for (const status of [204, 304, 404, 500])
      expect((await ask(scene, agent, `/status/${status}`)).status).toBe(status);
    expect(scene.plain.connections).toBe(1);
  });

  it('pass interim responses on: 103, and 100 for who expects it, before the body is sent', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    expect((await ask(scene, agent, '/early-hints')).interim.map((head) => head.status)).toEqual([103]);
    const host = `plain.test:${scene.plain.port}`;
    const head = (path: string) =>
      `POST ${scene.plainUrl}${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n`;
    await agent.send(head('/continue'));
    expect((await agent.readUntil('\r\n\r\n')).toString()).toMatch(/^HTTP\/1\.1 100 /);
    await agent.send('body');
    expect(JSON.parse((await agent.readReply()).body.toString()).body).toBe('body');
    await agent.send(head('/refuse'));
    expect((await agent.readReply()).status).toBe(417);
  });

  it('stream: an event reaches the agent while the response is still open', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    await agent.send(`GET ${scene.plainUrl}/sse HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`);
    const live = await scene.plain.live.next();
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      await live.send(event);
      await agent.readUntil(event);
    }
    live.end();
    await agent.readUntil('0\r\n\r\n');
    expect((await ask(scene, agent, '/')).status).toBe(200);
  });

  it('stream up as well: the origin reads the first part of a body before the agent has sent the rest', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const host = `plain.test:${scene.plain.port}`;
    await agent.send(`POST ${scene.plainUrl}/echo HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10\r\n\r\nfirst`);
    const seen = await scene.plain.heads.some((request) => request.bodyBytes === 5);
    await agent.send('other');
    expect((await agent.readReply()).status).toBe(200);
    expect(seen.body.toString()).toBe('firstother');
  });

  it('are large in both directions, and wait at their sender while the receiver does not read', async () => {
    await using scene = await startScene({ ca });
    await using slow = await openAgent(scene.proxy);
    slow.socket.pause();
    const host = `plain.test:${scene.plain.port}`;
    await slow.send(`GET ${scene.plainUrl}/large?bytes=${LARGE_BYTES} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    const request = await scene.plain.heads.next();
    await using up = await openAgent(scene.proxy, { localAddress: '127.0.0.2' });
    const body = Buffer.alloc(LARGE_BYTES, 'u');
    expect((await ask(scene, up, '/echo', { method: 'POST', body })).status).toBe(200);
    const seen = await scene.plain.requests.some((other) => other.method === 'POST');
    expect(seen.bodySha256).toBe(createHash('sha256').update(body).digest('hex'));
    expect(request.incoming.socket.bytesWritten).toBeLessThan(IN_FLIGHT_BYTES_MAX);
    slow.socket.resume();
    expect((await slow.readReply()).body.length).toBe(LARGE_BYTES);
  });

  it('hold the agent back while the origin does not read the body', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const host = `plain.test:${scene.plain.port}`;
    await agent.send(
      `POST ${scene.plainUrl}/slow-read HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${LARGE_BYTES}\r\n\r\n`,
    );
    const live = await scene.plain.live.next();
    let takenBytes = 0;
    const piece = Buffer.alloc(64 * 1024, 'u');
    const sent = (async () => {
      for (; takenBytes < LARGE_BYTES; takenBytes += piece.length) await agent.send(piece);
    })();
    await using meanwhile = await openAgent(scene.proxy, { localAddress: '127.0.0.2' });
    expect((await ask(scene, meanwhile, `/large?bytes=${LARGE_BYTES}`)).body.length).toBe(LARGE_BYTES);
    expect(takenBytes).toBeLessThan(IN_FLIGHT_BYTES_MAX);
    live.request.incoming.resume();
    await sent;
    await scene.plain.requests.some((request) => request.bodyBytes === LARGE_BYTES);
    live.end('done');
    expect((await agent.readReply()).body.toString()).toBe('done');
  });
});

describe.each(WITH_AND_WITHOUT_CA)('an agent that goes away, $title', ({ ca }) => {
  it('in the middle of a response takes the origin connection with it, and the next agent gets its own', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    await agent.send(`GET ${scene.plainUrl}/live HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`);
    const live = await scene.plain.live.next();
    await agent.readUntil('\r\n\r\n');
    agent.reset();
    expect(await live.closed).toBe(false);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'client_closed' });
    await using next = await openAgent(scene.proxy);
    expect((await ask(scene, next, '/')).status).toBe(200);
    expect(scene.plain.connections).toBe(2);
  });

  it('in the middle of a request never lets it look whole', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const host = `plain.test:${scene.plain.port}`;
    await agent.send(`POST ${scene.plainUrl}/echo HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 10\r\n\r\nhalf`);
    await scene.plain.heads.some((request) => request.bodyBytes === 4);
    agent.finish();
    await scene.plain.aborted.next();
    expect(scene.plain.requests.count).toBe(0);
  });

  it('after it has sent all of its request still gets the answer', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    await agent.send(`GET ${scene.plainUrl}/live HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`);
    agent.finish();
    const live = await scene.plain.live.next();
    live.end('answer');
    expect((await agent.readReply()).body.toString()).toBe('answer');
    expect(await agent.untilEnded()).toBe('FIN');
  });
});

describe.each(WITH_AND_WITHOUT_CA)('a WebSocket over plain HTTP, $title', ({ ca }) => {
  it('carries messages both ways where a rule allows it, and reaches nothing where none does', async () => {
    const rule = '{ id: ws, condition: \'http.host == "plain.test" && http.path == "/ws"\', action: allow }';
    await using scene = await startScene({ ca, rules: rulesFile(rule) });
    await using refused = await openAgent(scene.proxy);
    const handshake = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${KEY}`,
    ];
    expect((await ask(scene, refused, '/other', { headers: handshake })).status).toBe(403);
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);

    const socket = new WebSocket(`ws://127.0.0.1:${scene.proxy.port}/`, {
      finishRequest: (request) => {
        request.path = `${scene.plainUrl}/ws`;
        request.setHeader('Host', scene.plainUrl.slice('http://'.length));
        request.end();
      },
    });
    await once(socket, 'open');
    socket.send('ping');
    expect(String((await once(socket, 'message'))[0])).toBe('ping');
    socket.close();
    await once(socket, 'close');
    expect(await scene.proxy.nextRecord((record) => record.verdict === 'allow')).toMatchObject({
      rule: 'ws',
      status: 101,
    });
  });

  it('is refused with 502 where the 101 does not answer its key: no raw pipe in its disguise', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const handshake = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${KEY}`,
    ];
    const reply = await ask(scene, agent, '/ws-101-raw', { headers: handshake });
    expect([reply.status, fieldOf(reply.headers, 'x-outcall-failure-reason')]).toEqual([502, 'origin_malformed']);
    await using good = await openAgent(scene.proxy);
    expect((await ask(scene, good, '/ws', { headers: handshake })).status).toBe(101);
  });
});
