/**
 * How much we hold for a side that does not read, measured at our sockets: what we have read from one side less what we have
 * written to the other (threat 37). That it arrives whole in the end is shown here too; that others are served meanwhile, in
 * tunnel-relay.test.ts, intercept-stream.test.ts and h2-streaming.test.ts.
 */
import { once } from 'node:events';
import { pipeline, Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { openTunnel } from '../kit/agent.ts';
import type { AgentSocket } from '../kit/agent-socket.ts';
import { type Fields, frame, goawayFrame, headersFrame } from '../kit/h2-wire.ts';
import { heldAtStandstill, heldBytes } from '../kit/held-bytes.ts';
import type { OriginReply } from '../kit/origin.ts';
import { type RawPeer, startRawOrigin } from '../kit/raw-origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { hasProgram } from '../kit/run.ts';
import { askThrough, fieldsOf, openBoth, startH2Scene, startRawH2Scene } from './h2-scene.ts';
import { startRawInterceptScene } from './intercept-scene.ts';
import { startScene } from './scene.ts';

const MIB = 1024 * 1024;
/** Stated in docs/performance.md: of one flow and direction, in HTTP/2 of one stream. */
const WINDOW_BYTES = 512 * 1024;
/** More than the kernel's buffers of both connections (Linux: at most 4 and 6 MiB each unless configured) and the window. */
const BODY_BYTES = 32 * MIB;
/** RFC 6455 section 1.3's own example. */
const UPGRADE = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];
const SWITCH =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';
/** Many windows of a stream; node's client would not buffer much more of its own. */
const STREAM_BODY_BYTES = 6 * MIB;
const MAX_WINDOW = 0x7fffffff;
/** No window holds these back: some 19 MiB of heads, more than the kernel's buffers. */
const HEADS = 640;
const HEAD_BYTES = 30_000;
/** As announced. */
const MAX_STREAMS = 128;

/** An exchange of which only the body is still to come, and the ports by which its connections are known. */
interface Open extends AsyncDisposable {
  readonly door: number;
  readonly origin: number;
  readonly agent: AgentSocket;
  readonly peer: AgentSocket;
}

async function openRelay(): Promise<Open> {
  const stack = new AsyncDisposableStack();
  const raw = stack.use(await startRawOrigin());
  const rule = `{ id: raw, condition: 'http.host == "raw.test"', action: allow, egress: { mode: direct_ip, ports: [${raw.port}] } }`;
  const scene = stack.use(await startScene({ rules: rulesFile(rule), zone: { 'raw.test': '127.0.0.1' } }));
  const agent = await openTunnel(scene.proxy, `raw.test:${raw.port}`);
  await agent.send('hello');
  const peer = await raw.peers.next();
  await peer.readUntil('hello');
  return { ...ends(scene.proxy.port, raw.port, agent, peer), [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Both heads have passed: `request` ends its own, `response` is what the origin says to it. */
async function openIntercepted(request: string, response: string): Promise<Open> {
  const scene = await startRawInterceptScene(() => undefined);
  const agent = await scene.open();
  await agent.send(request);
  const peer = await scene.origin.peers.next();
  await peer.readUntil('\r\n\r\n');
  if (response !== '') {
    await peer.send(response);
    await agent.readUntil('\r\n\r\n');
  }
  return {
    ...ends(scene.proxy.port, scene.origin.port, agent, peer),
    [Symbol.asyncDispose]: () => scene[Symbol.asyncDispose](),
  };
}

function ends(door: number, origin: number, agent: AgentSocket, peer: RawPeer): Omit<Open, typeof Symbol.asyncDispose> {
  return { door, origin, agent, peer };
}

const length = `Content-Length: ${BODY_BYTES}\r\n\r\n`;
const host = 'Host: api.test\r\n';
const FLOWS = [
  { what: 'a tunnel', up: openRelay, down: openRelay },
  {
    what: 'an intercepted HTTP/1.1 body',
    up: () => openIntercepted(`POST / HTTP/1.1\r\n${host}${length}`, ''),
    down: () => openIntercepted(`GET / HTTP/1.1\r\n${host}\r\n`, `HTTP/1.1 200 OK\r\n${length}`),
  },
  { what: 'a WebSocket', up: openWebSocket, down: openWebSocket },
] as const;

function openWebSocket(): Promise<Open> {
  return openIntercepted(`GET / HTTP/1.1\r\n${host}${UPGRADE.join('\r\n')}\r\n\r\n`, SWITCH);
}

describe.skipIf(!hasProgram('ss'))('what we hold', () => {
  it.each(FLOWS)('for an agent that does not read is within the window: $what', async ({ down }) => {
    await using flow = await down();
    const before = await heldBytes(flow.door, flow.origin);
    flow.agent.socket.pause();
    flow.peer.socket.write(Buffer.alloc(BODY_BYTES, 'd'));
    const held = await heldAtStandstill(flow.door, flow.origin);
    expect(held.read - before.read).toBeGreaterThan(0);
    expect(held.down - before.down).toBeLessThan(WINDOW_BYTES);
    flow.agent.socket.resume();
    expect((await flow.agent.readExactly(BODY_BYTES)).equals(Buffer.alloc(BODY_BYTES, 'd'))).toBe(true);
  });

  it.each(FLOWS)('for an origin that does not read is within the window: $what', async ({ up }) => {
    await using flow = await up();
    const before = await heldBytes(flow.door, flow.origin);
    flow.peer.socket.pause();
    flow.agent.socket.write(Buffer.alloc(BODY_BYTES, 'u'));
    const held = await heldAtStandstill(flow.door, flow.origin);
    expect(held.read - before.read).toBeGreaterThan(0);
    expect(held.up - before.up).toBeLessThan(WINDOW_BYTES);
    flow.peer.socket.resume();
    expect((await flow.peer.readExactly(BODY_BYTES)).equals(Buffer.alloc(BODY_BYTES, 'u'))).toBe(true);
  });

  it('for an HTTP/2 stream that its agent does not read is within the window', async () => {
    await using scene = await startH2Scene({ origin: { handler: answerOf(STREAM_BODY_BYTES) } });
    await using agent = await scene.open();
    expect((await agent.request({ ':path': '/' })).status).toBe(200);
    const before = await heldBytes(scene.proxy.port, scene.origin.port);
    const stream = agent.session.request({ ':path': '/large' });
    await once(stream, 'response');
    const held = await heldAtStandstill(scene.proxy.port, scene.origin.port);
    expect(held.down - before.down).toBeLessThan(WINDOW_BYTES);
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    await once(stream, 'close');
    expect(bytes).toBe(STREAM_BODY_BYTES);
  });

  it('for an HTTP/2 agent that grants every window and reads nothing is within the window', async () => {
    await using scene = await startH2Scene({ origin: { handler: answerOf(BODY_BYTES) } });
    await using wire = await scene.openWire();
    const widest = Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]); // SETTINGS_INITIAL_WINDOW_SIZE
    const more = Buffer.alloc(4);
    more.writeUInt32BE(MAX_WINDOW - 65_535);
    await wire.send(frame('settings', 0, 0, widest), frame('window', 0, 0, more));
    const before = await heldBytes(scene.proxy.port, scene.origin.port);
    wire.socket.socket.pause();
    await wire.send(headersFrame(1, fieldsOf('GET', '/large')));
    await scene.origin.heads.next();
    const held = await heldAtStandstill(scene.proxy.port, scene.origin.port);
    expect(held.down - before.down).toBeLessThan(WINDOW_BYTES);
    wire.socket.socket.resume();
    expect((await scene.origin.requests.some(({ url }) => url === '/large')).method).toBe('GET');
  });

  it('for an HTTP/2 agent that reads nothing of an origin that is leaving and hints without end is within two windows', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    const streams: number[] = [];
    for (let i = 0; i < 25; i++) streams.push((await askThrough(wire, origin, 2 * i + 1)).stream);
    await origin.send(goawayFrame(Math.max(...streams), 0), frame('ping', 0, 0, Buffer.alloc(8)));
    await origin.next('ping');
    const before = await heldBytes(scene.proxy.port, scene.origin.port);
    wire.socket.socket.pause();
    const hint: Fields = [
      [':status', '103'],
      ['link', '~'.repeat(15_000)],
    ];
    for (let i = 0; i < 30; i++) {
      for (const stream of streams) {
        origin.socket.socket.write(headersFrame(stream, hint, { endStream: false }));
      }
    }
    const held = await heldAtStandstill(scene.proxy.port, scene.origin.port);
    expect(held.down - before.down).toBeLessThan(2 * WINDOW_BYTES);
    wire.socket.socket.resume();
    for (const stream of streams) origin.socket.socket.write(headersFrame(stream, [[':status', '204']]));
    for (const [i] of streams.entries()) {
      await wire.frames.next((came) => came.stream === 2 * i + 1 && (came.flags & 1) !== 0);
    }
  });

  it('for an HTTP/2 agent that asks and asks and reads nothing is within two windows, and it is served once it reads', async () => {
    const large = '~'.repeat(HEAD_BYTES);
    const handler = (_: unknown, reply: OriginReply): boolean => reply.writeHead(200, { large }).end() !== undefined;
    await using scene = await startH2Scene({ origin: { handler } });
    await using wire = await scene.openWire();
    const before = await heldBytes(scene.proxy.port, scene.origin.port);
    wire.socket.socket.pause();
    let held = before;
    for (let stream = 1; stream < 2 * HEADS; stream += 2) {
      wire.socket.socket.write(headersFrame(stream, fieldsOf('HEAD', '/')));
      // Within what may be asked at once, and each as far as it comes.
      if (stream % MAX_STREAMS === MAX_STREAMS - 1) held = await heldAtStandstill(scene.proxy.port, scene.origin.port);
    }
    expect(held.down - before.down).toBeLessThan(2 * WINDOW_BYTES);
    const asked = scene.origin.heads.count;
    expect(asked).toBeLessThan(HEADS - MAX_STREAMS);
    wire.socket.socket.resume();
    // Of what waited at our socket as many as may be open at once are asked now, and the others refused.
    await scene.proxy.records.atLeast(asked + 1);
  });

  it('for an HTTP/2 stream that its origin does not read is within the window', async () => {
    await using scene = await startH2Scene();
    await using agent = await scene.open();
    expect((await agent.request({ ':path': '/' })).status).toBe(200);
    const before = await heldBytes(scene.proxy.port, scene.origin.port);
    const stream = agent.session.request({ ':method': 'POST', ':path': '/slow-read' });
    stream.end(Buffer.alloc(STREAM_BODY_BYTES, 'u'));
    const live = await scene.origin.live.next();
    const held = await heldAtStandstill(scene.proxy.port, scene.origin.port);
    expect(held.up - before.up).toBeLessThan(WINDOW_BYTES);
    live.request.incoming.resume();
    expect((await scene.origin.requests.some(({ url }) => url === '/slow-read')).bodyBytes).toBe(STREAM_BODY_BYTES);
    live.end('done');
    expect(String((await once(stream, 'data'))[0])).toBe('done');
  });
});

function answerOf(bytes: number): (request: { readonly url: string }, reply: OriginReply) => boolean {
  return ({ url }, reply) => {
    if (url !== '/large') return false;
    const piece = Buffer.alloc(64 * 1024, 'd');
    pipeline(Readable.from(Array.from({ length: bytes / piece.length }, () => piece)), reply, () => undefined);
    return true;
  };
}
