/**
 * How a session to an origin comes to be over HTTP/2, and what agents read where it does not: verification, client
 * certificates, SETTINGS that never come, and what happens while it is being made (threats 34, 37, 38; S011-FR-017).
 */
import { once } from 'node:events';
import tls from 'node:tls';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { H2Agent, openTunnel } from '../kit/agent.ts';
import { CODE, dataFrame, FRAME, frame, goawayFrame, H2Wire, headersFrame, rstFrame } from '../kit/h2-wire.ts';
import { testCa } from '../kit/pki.ts';
import type { RawOrigin } from '../kit/raw-origin.ts';
import { fieldsOf, type H2Scene, openBoth, pingOf, refusalOf, startH2Scene, startRawH2Scene } from './h2-scene.ts';

/** Two thirds of what 800 held bodies took. */
const MAX_GROWTH_BYTES = 200 * 1024 * 1024;

describe('an origin that never becomes one', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it('S011-EC-010: for want of a client certificate has each stream answered with 502 upstream_handshake_failed', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      await using scene = await startH2Scene({ tls: { requireClientCert: testCa(), maxVersion } });
      await using agent = await scene.open();
      for (const path of ['/1', '/2']) {
        expect(refusalOf(await agent.request({ ':path': path }))).toEqual([502, 'upstream_handshake_failed']);
        expect(await scene.proxy.nextRecord()).toMatchObject({
          reason: 'upstream_handshake_failed',
          detail: 'client_certificate_required',
          http_version: '2',
        });
      }
      expect(scene.origin.heads.count).toBe(0);
    }
  });

  it('because its certificate does not verify has each stream answered with 502, and gets no byte', async () => {
    await using scene = await startH2Scene({ trust: [] });
    await using agent = await scene.open();
    expect(refusalOf(await agent.request({ ':path': '/' }))).toEqual([502, 'upstream_handshake_failed']);
    expect(scene.origin.bytes).toBe(0);
    await using good = await startH2Scene();
    await using trusting = await good.open();
    expect((await trusting.request({ ':path': '/' })).status).toBe(200);
  });

  it.each([
    ['speaks HTTP/1.1 after all', 'HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n'],
    ['says garbage', Buffer.alloc(100, 0xff)],
    ['begins with a frame that is no SETTINGS', frame('ping', 0, 0, Buffer.alloc(8))],
  ])('because it %s has each stream answered with 502', async (_, bytes) => {
    await using scene = await startRawH2Scene();
    const opening = scene.open();
    const peer = await scene.origin.peers.next();
    await peer.send(bytes);
    await using agent = await opening;
    expect(refusalOf(await agent.request({ ':path': '/' }))).toEqual([502, 'origin_closed']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'origin_closed' });
  });

  it('because it never sends SETTINGS has each stream answered with 504', async () => {
    await using scene = await startRawH2Scene();
    const tunnel = await openTunnel(scene.proxy, scene.api);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const options = { ca: scene.proxy.caPem, servername: 'api.test', ALPNProtocols: ['h2'] };
    const secure = tls.connect({ socket: tunnel.release(), ...options });
    await (await scene.origin.peers.next()).readUntil('SM\r\n\r\n');
    vi.advanceTimersByTime(10_000);
    vi.useRealTimers();
    await once(secure, 'secureConnect');
    await using agent = new H2Agent(secure, scene.api);
    expect(refusalOf(await agent.request({ ':path': '/' }))).toEqual([504, 'origin_timeout']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'origin_timeout', detail: 'no SETTINGS' });
  });
});

describe('while the session to a known origin is being made', () => {
  /** An agent whose origin is known to speak h2, so that it is dialled only for a request; it says nothing yet. */
  async function openKnown(scene: H2Scene<RawOrigin>): Promise<H2Agent> {
    const { wire } = await openBoth(scene);
    await wire.socket[Symbol.asyncDispose]();
    return scene.open();
  }

  it('no more of a body is taken than a window, and all of it arrives in the end', async () => {
    await using scene = await startRawH2Scene();
    await using agent = await openKnown(scene);
    const stream = agent.session.request({ ':method': 'POST', ':path': '/' });
    stream.end(Buffer.alloc(4_000_000, 'x'));
    const origin = await new H2Wire(await scene.origin.peers.next()).readPreface();
    for (let i = 0; i < 50; i++) await pingOf(agent);
    expect(agent.session.socket.bytesWritten).toBeLessThan(1_000_000);
    const wide = Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff]); // SETTINGS_INITIAL_WINDOW_SIZE
    await origin.startServer(wide, frame('window', 0, 0, Buffer.from([0x7f, 0, 0, 0])));
    const { stream: taken } = await origin.next('headers');
    await origin.frames.some((sent) => sent.type === 0 && (sent.flags & 1) !== 0);
    expect(origin.dataOn(taken).length).toBe(4_000_000);
  });

  it('an agent that goes leaves no session behind', async () => {
    await using scene = await startRawH2Scene();
    const agent = await openKnown(scene);
    const stream = agent.session.request({ ':path': '/' });
    stream.on('error', () => undefined);
    const origin = await new H2Wire(await scene.origin.peers.next()).readPreface();
    await agent[Symbol.asyncDispose]();
    expect(await scene.proxy.nextRecord(({ path }) => path === '/')).toMatchObject({ reason: 'client_closed' });
    await origin.startServer();
    await origin.socket.untilEnded();
  });
});

it('an origin far away may send more than 64 KiB before it hears from us', async () => {
  await using scene = await startRawH2Scene();
  const { wire, origin } = await openBoth(scene);
  expect((await origin.next('window', 0)).payload.readUInt32BE(0)).toBeGreaterThan(4 * 1024 * 1024);
  await wire.socket[Symbol.asyncDispose]();
});

describe('an origin that takes few streams at once', () => {
  const few = (streams: number): Buffer => Buffer.from([0, 3, 0, 0, 0, streams]); // SETTINGS_MAX_CONCURRENT_STREAMS
  const ask = (stream: number): Buffer => headersFrame(stream, fieldsOf('GET', `/${stream}`));

  async function openFew(scene: H2Scene<RawOrigin>, streams: number): Promise<{ wire: H2Wire; origin: H2Wire }> {
    const opening = scene.openWire();
    const origin = await new H2Wire(await scene.origin.peers.next()).startServer(few(streams));
    return { wire: await opening, origin };
  }

  it('gets no more than that, and the others in their turn, but for those that do not want to any more', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openFew(scene, 1);
    await wire.send(ask(1), ask(3), ask(5), rstFrame(3, CODE.cancel), frame('ping', 0, 0, Buffer.alloc(8)));
    await wire.next('ping');
    const first = await origin.next('headers');
    expect(origin.frames.all.filter(({ type }) => type === 1)).toHaveLength(1);
    await origin.send(headersFrame(first.stream, [[':status', '200']]));
    const second = await origin.next('headers');
    await origin.send(headersFrame(second.stream, [[':status', '204']]));
    await wire.next('headers', 5);
    expect(origin.frames.all.filter(({ type }) => type === 1)).toHaveLength(2);
    expect(scene.origin.connections).toBe(1);
    await wire.socket[Symbol.asyncDispose]();
  });

  it('costs nobody memory for streams that were reset while they waited, with their bodies', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openFew(scene, 0);
    const body = Buffer.concat(Array.from({ length: 15 }, () => Buffer.alloc(16_384, 'x')));
    const before = process.memoryUsage().rss;
    for (let stream = 1; stream < 1_600; stream += 2) {
      const parts = [headersFrame(stream, fieldsOf('POST', '/gone'), { endStream: false })];
      for (let at = 0; at < body.length; at += 16_384) parts.push(dataFrame(stream, body.subarray(at, at + 16_384)));
      await wire.send(...parts, rstFrame(stream, CODE.cancel));
    }
    await wire.send(ask(1_601), frame('ping', 0, 0, Buffer.alloc(8)));
    await wire.next('ping');
    expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
    await origin.send(frame('settings', 0, 0, few(1)));
    await origin.send(headersFrame((await origin.next('headers')).stream, [[':status', '204']]));
    await wire.next('headers', 1_601);
    expect(origin.frames.all.filter(({ type }) => type === 1)).toHaveLength(1);
    await wire.socket[Symbol.asyncDispose]();
  });

  it('and leaves whenever somebody waits is not dialled for ever', async () => {
    await using scene = await startRawH2Scene({}, async (peer) => {
      const origin = await new H2Wire(peer).startServer(few(0));
      await origin.frames.next(({ type, flags }) => type === FRAME.settings && flags === 1);
      await origin.send(goawayFrame(0, CODE.none));
    });
    await using agent = await scene.open();
    expect(refusalOf(await agent.request({ ':path': '/' }))).toEqual([502, 'origin_closed']);
    expect(scene.origin.connections).toBeLessThanOrEqual(5);
  });

  it('gets those that wait once it takes more', async () => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openFew(scene, 0);
    await wire.send(ask(1), ask(3), frame('ping', 0, 0, Buffer.alloc(8)));
    await wire.next('ping');
    expect(origin.frames.all.filter(({ type }) => type === 1)).toHaveLength(0);
    await origin.send(frame('settings', 0, 0, few(2)));
    for (let i = 0; i < 2; i++) {
      await origin.send(headersFrame((await origin.next('headers')).stream, [[':status', '200']]));
    }
    await wire.next('headers', 1);
    await wire.next('headers', 3);
    await wire.socket[Symbol.asyncDispose]();
  });
});
