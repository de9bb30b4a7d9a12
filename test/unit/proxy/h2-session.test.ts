import { describe, expect, it } from 'vitest';
import type { HeaderList } from '../../../src/domain/facts.ts';
import { H2Session, type SessionOwner } from '../../../src/proxy/h2-session.ts';
import type { H2Stream, NeverIndexed } from '../../../src/proxy/h2-stream.ts';
import { dataFrame, type Fields, FRAME, type Frame, frame, goawayFrame, headersFrame } from '../../kit/h2-wire.ts';
import { type MemorySocket, memorySockets } from '../../kit/memory-socket.ts';
import { nextTurn } from '../../kit/within.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const REQUEST: Fields = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'a.test'],
  [':path', '/'],
];
const HEADER_BYTES = 9;
const MAX_PAYLOAD_BYTES = 16_384;
const END_STREAM = 1;
/** Turns of the event loop in which whatever can move does. */
const STILL_TURNS = 50;
const LIMITS = { maxListBytes: 65_536, maxFields: 256, now: () => 0 };

/** A session as a server, its peer at hand, and what it was told. */
class Scene implements SessionOwner {
  readonly near: MemorySocket;
  readonly session: H2Session;
  readonly streams: H2Stream[] = [];
  readonly clogged: boolean[] = [];
  #received = Buffer.alloc(0);

  constructor() {
    const [near, far] = memorySockets();
    this.near = near;
    this.session = new H2Session('server', far as never, LIMITS, this);
    this.session.start([]);
    near.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    near.write(Buffer.concat([PREFACE, frame('settings', 0, 0)]));
  }

  get frames(): readonly Frame[] {
    const all: Frame[] = [];
    for (let at = 0; at + HEADER_BYTES <= this.#received.length; ) {
      const end = at + HEADER_BYTES + this.#received.readUIntBE(at, 3);
      const [type = 0, flags = 0] = this.#received.subarray(at + 3, at + 5);
      const payload = this.#received.subarray(at + HEADER_BYTES, end);
      all.push({ type, flags, stream: this.#received.readUInt32BE(at + 5), payload });
      at = end;
    }
    return all;
  }

  /** Once nothing moves any more. */
  async still(): Promise<void> {
    for (let turn = 0, seen = -1; turn < STILL_TURNS; turn++) {
      const now = this.#received.length + this.streams.length;
      if (now !== seen) turn = 0;
      seen = now;
      await nextTurn();
    }
  }

  onStream(stream: H2Stream, _list: HeaderList | undefined, _never: NeverIndexed, _endStream: boolean): void {
    this.streams.push(stream);
    this.answer(stream);
  }

  answer: (stream: H2Stream) => void = () => undefined;
  onClogged(clogged: boolean): void {
    this.clogged.push(clogged);
    this.session.pause(clogged);
  }
  onReady(): void {}
  onLeaving(): void {}
  onRoom(): void {}
  onBroken(): void {}
  onClosed(): void {}
}

describe('an HTTP/2 session', () => {
  it('reads no more requests while its peer does not read their answers, and answers all in the end', async () => {
    const scene = new Scene();
    const large = [':status', '200', 'x-large', 'x'.repeat(1_000), 'x-once', ''];
    scene.answer = (stream) =>
      stream.sendHead([...large.slice(0, -1), `${stream.id}${'y'.repeat(3_000)}`], undefined, true);
    scene.near.pause();
    const count = 400;
    for (let i = 0; i < count; i++) scene.near.write(headersFrame(2 * i + 1, REQUEST));
    await scene.still();
    expect(scene.clogged).toEqual([true]);
    expect(scene.streams.length).toBeLessThan(count / 2);
    scene.near.resume();
    await scene.still();
    expect(scene.clogged.at(-1)).toBe(false);
    const answered = scene.frames.filter(({ type }) => type === FRAME.headers).map(({ stream }) => stream);
    expect(answered).toEqual(Array.from({ length: count }, (_, i) => 2 * i + 1));
  });

  it('shares what its peer lets it send among the streams that have something', async () => {
    const scene = new Scene();
    const body = Buffer.alloc(200_000, 'b');
    scene.answer = (stream) => stream.sendData(body, 0, body.length, true);
    // All the window that there is goes to the first.
    scene.near.write(Buffer.concat([1, 3, 5].map((id) => headersFrame(id, REQUEST))));
    await scene.still();
    expect(bytesOn(scene, 1)).toBe(65_535);
    for (const id of [1, 3, 5]) scene.near.write(frame('window', 0, id, uint32(300_000)));
    scene.near.write(frame('window', 0, 0, uint32(150_000)));
    await scene.still();
    const shares = [bytesOn(scene, 1) - 65_535, bytesOn(scene, 3), bytesOn(scene, 5)];
    expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES);
    expect(shares.reduce((sum, share) => sum + share)).toBe(150_000);
    scene.near.write(frame('window', 0, 0, uint32(1_000_000)));
    await scene.still();
    expect([1, 3, 5].map((id) => bytesOn(scene, id))).toEqual([body.length, body.length, body.length]);
    const last = scene.frames.filter(({ type, flags }) => type === FRAME.data && (flags & END_STREAM) !== 0);
    expect(new Set(last.map(({ stream }) => stream))).toEqual(new Set([1, 3, 5]));
  });

  it('drops what waits on a stream that its peer resets, and sends the others theirs', async () => {
    const scene = new Scene();
    const body = Buffer.alloc(100_000, 'b');
    scene.answer = (stream) => stream.sendData(body, 0, body.length, true);
    scene.near.write(Buffer.concat([1, 3].map((id) => headersFrame(id, REQUEST))));
    await scene.still();
    const before = bytesOn(scene, 1);
    scene.near.write(frame('rst', 0, 1, uint32(8)));
    for (const id of [0, 3]) scene.near.write(frame('window', 0, id, uint32(1_000_000)));
    await scene.still();
    expect([bytesOn(scene, 1), bytesOn(scene, 3)]).toEqual([before, body.length]);
    expect(scene.session.streams.size).toBe(0);
  });

  it('after GOAWAY of its peer ends what is under way, and then the connection', async () => {
    const scene = new Scene();
    scene.near.write(Buffer.concat([headersFrame(1, REQUEST), goawayFrame(0, 0)]));
    await scene.still();
    expect([scene.session.over, scene.session.leaving]).toEqual([false, true]);
    scene.streams[0]?.sendHead([':status', '204'], undefined, true);
    await scene.still();
    expect(scene.session.over).toBe(true);
    expect(scene.frames.at(-1)).toMatchObject({ type: FRAME.headers, stream: 1 });
  });

  it('that is closing serves what it has, refuses what comes, and ends with the last', async () => {
    const scene = new Scene();
    scene.near.write(headersFrame(1, REQUEST));
    await scene.still();
    scene.session.close();
    scene.near.write(Buffer.concat([headersFrame(3, REQUEST, { endStream: false }), dataFrame(3, 'late', true)]));
    await scene.still();
    expect(scene.streams.map(({ id }) => id)).toEqual([1]);
    expect(scene.frames.find(({ type }) => type === FRAME.goaway)?.payload.readUInt32BE(0)).toBe(1);
    expect(scene.frames.find(({ type }) => type === FRAME.rst)).toMatchObject({ stream: 3, payload: uint32(7) });
    expect(scene.session.over).toBe(false);
    scene.streams[0]?.sendHead([':status', '204'], undefined, true);
    await scene.still();
    expect(scene.session.over).toBe(true);
  });
});

function bytesOn(scene: Scene, id: number): number {
  const its = scene.frames.filter(({ type, stream }) => type === FRAME.data && stream === id);
  return its.reduce((sum, { payload }) => sum + payload.length, 0);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
