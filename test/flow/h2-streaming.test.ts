/**
 * HTTP/2 streams as they flow (S011-EC-006): events one by one, both directions at once, and no more in memory than the
 * windows of a stream, however slow one side reads.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ClientHttp2Stream } from 'node:http2';
import { pipeline, Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { H2Agent } from '../kit/agent.ts';
import { CODE } from '../kit/h2-wire.ts';
import type { LiveReply, OriginReply } from '../kit/origin.ts';
import { pingOf, startH2Scene } from './h2-scene.ts';

const LARGE_BYTES = 6 * 1024 * 1024;
/** Our windows on both sides, the other's windows, and the buffers of three TLS sockets. */
const IN_FLIGHT_BYTES = 2 * 1024 * 1024;
/** So many round trips without a change are a standstill. */
const STILL_PINGS = 20;

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** Resolves when `measure` does not change any more while PINGs go to and fro. */
async function standstill(agent: H2Agent, measure: () => number): Promise<number> {
  for (let still = 0, last = -1; still < STILL_PINGS; ) {
    await pingOf(agent);
    still = measure() === last ? still + 1 : 0;
    last = measure();
  }
  return measure();
}

/** Reads so many bytes of a stream that has no other reader. */
async function readBytes(stream: ClientHttp2Stream, bytes: number): Promise<string> {
  let text = '';
  while (text.length < bytes) text += String((await once(stream, 'data'))[0]);
  return text;
}

describe('a stream', () => {
  it('S011-EC-006: passes server-sent events on one by one, each when it is sent', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const stream = agent.session.request({ ':path': '/sse' });
    const live = await scene.origin.live.next();
    for (let i = 0; i < 20; i++) {
      const event = `id: ${i}\ndata: ${'x'.repeat(i)}\n\n`;
      await live.send(event);
      expect(await readBytes(stream, event.length)).toBe(event);
    }
    live.end();
    await once(stream, 'close');
    expect([stream.rstCode, await live.closed]).toEqual([CODE.none, true]);
  });

  it('passes both directions at once, in turns', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const streams = [1, 2, 3].map((n) => agent.session.request({ ':method': 'POST', ':path': `/live?${n}` }));
    const lives: LiveReply[] = [];
    for (const n of [1, 2, 3]) lives.push(await scene.origin.live.next(({ request }) => request.url === `/live?${n}`));
    let sent = 0;
    for (let turn = 0; turn < 10; turn++) {
      for (const [i, stream] of streams.entries()) {
        const text = `${turn}:${i};`;
        stream.write(text);
        sent = (turn + 1) * text.length;
        await scene.origin.heads.some((head) => head === lives[i]?.request && head.bodyBytes === sent);
        await lives[i]?.send(text.toUpperCase());
        expect(await readBytes(stream, text.length)).toBe(text.toUpperCase());
      }
    }
    for (const live of lives) live.end();
    for (const stream of streams) stream.end();
    await Promise.all(streams.map((stream) => once(stream, 'close')));
    expect(streams.map((stream) => stream.rstCode)).toEqual([CODE.none, CODE.none, CODE.none]);
  });

  it('takes no more from its agent than an origin that does not read leaves room for, and loses nothing', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const body = randomBytes(LARGE_BYTES);
    const stream = agent.session.request({ ':method': 'POST', ':path': '/slow-read' });
    stream.end(body);
    const live = await scene.origin.live.next();
    const { socket } = agent.session;
    expect(await standstill(agent, () => socket.bytesWritten & ~65_535)).toBeLessThan(IN_FLIGHT_BYTES);
    // Another stream of the connection is not held up.
    expect((await agent.request({ ':method': 'POST', ':path': '/echo' }, 'quick')).status).toBe(200);
    live.request.incoming.resume();
    const arrived = await scene.origin.requests.some(({ url }) => url === '/slow-read');
    expect([arrived.bodyBytes, arrived.bodySha256]).toEqual([body.length, sha256(body)]);
    live.end('done');
    expect(String((await once(stream, 'data'))[0])).toBe('done');
  });

  it('takes no more from its origin than an agent that does not read leaves room for, and loses nothing', async () => {
    const body = randomBytes(LARGE_BYTES);
    let pulled = 0;
    function* parts(): Generator<Buffer> {
      for (; pulled < body.length; pulled += 65_536) yield body.subarray(pulled, pulled + 65_536);
    }
    const handler = ({ url }: { url: string }, reply: OriginReply): boolean => {
      if (url !== '/slow') return false;
      pipeline(Readable.from(parts()), reply, () => undefined);
      return true;
    };
    await using scene = await startH2Scene({ origin: { handler } });
    await using agent = await scene.open();
    const stream = agent.session.request({ ':path': '/slow' });
    await once(stream, 'response');
    expect(await standstill(agent, () => pulled)).toBeLessThan(IN_FLIGHT_BYTES);
    expect((await agent.request({ ':path': '/' })).status).toBe(200);
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(stream, 'close');
    const got = Buffer.concat(chunks);
    expect([got.length, sha256(got), stream.rstCode]).toEqual([body.length, sha256(body), CODE.none]);
  });
});

describe('many streams', () => {
  it('at once keep their bodies apart: 100 with a body each way', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const replies = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        agent.request({ ':method': 'POST', ':path': `/echo?${i}` }, `${i}:`.repeat(2000)),
      ),
    );
    for (const [i, reply] of replies.entries()) {
      expect(JSON.parse(reply.body.toString())).toMatchObject({ url: `/echo?${i}`, body: `${i}:`.repeat(2000) });
    }
    expect(scene.origin.connections).toBe(1);
    expect(scene.proxy.records.count).toBe(100);
  });

  it('that nobody reads for a while are whole in the end: 100 of 400 KB', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    const path = `/large?bytes=400000`;
    const streams = Array.from({ length: 100 }, () => agent.session.request({ ':path': path }));
    await Promise.all(streams.map((stream) => once(stream, 'response')));
    await pingOf(agent);
    const replies = await Promise.all(
      streams.map(async (stream) => {
        let bytes = 0;
        stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
        await once(stream, 'close');
        return [bytes, stream.rstCode];
      }),
    );
    expect(replies).toEqual(streams.map(() => [400_000, CODE.none]));
  });

  it('beyond what we announce wait for their turn at the client, and all are served', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    await pingOf(agent);
    expect(agent.session.remoteSettings.maxConcurrentStreams).toBe(128);
    const replies = await Promise.all(Array.from({ length: 400 }, () => agent.request({ ':path': '/' })));
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
  });
});
