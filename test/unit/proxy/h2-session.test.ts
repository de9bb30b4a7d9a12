import { describe, expect, it } from 'vitest';
import { dataFrame, type Fields, FRAME, frame, goawayFrame, headersFrame } from '../../kit/h2-wire.ts';
import { MemoryScene } from './h2-memory.ts';

const REQUEST: Fields = [
  [':method', 'GET'],
  [':scheme', 'https'],
  [':authority', 'a.test'],
  [':path', '/'],
];
const MAX_PAYLOAD_BYTES = 16_384;
const MAX_STREAMS = 128;
const END_STREAM = 1;

describe('an HTTP/2 session', () => {
  it('reads no more requests while its peer does not read their answers, and answers all in the end', async () => {
    const scene = new MemoryScene();
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

  it('stops in the middle of what it has read, however many requests with small blocks unfold there', async () => {
    const scene = new MemoryScene();
    const large = 'y'.repeat(30_000);
    scene.answer = (stream) => stream.sendHead([':status', '200', 'x-large', `${stream.id}${large}`], undefined, true);
    scene.near.pause();
    const ids = Array.from({ length: 100 }, (_, i) => 2 * i + 1);
    scene.near.write(Buffer.concat(ids.map((id) => headersFrame(id, REQUEST))));
    await scene.still();
    expect(scene.clogged).toEqual([true]);
    expect(scene.streams.length).toBeLessThan(20);
    scene.near.write(frame('ping', 0, 0, Buffer.alloc(8)));
    scene.near.resume();
    await scene.still();
    expect(scene.clogged.at(-1)).toBe(false);
    const answered = scene.frames.filter(({ type }) => type === FRAME.headers).map(({ stream }) => stream);
    expect(answered).toEqual(ids);
    expect(scene.frames.at(-1)?.type).toBe(FRAME.ping);
  });

  it('begins no more requests in one turn than may be open, however many came at once and were answered at once', async () => {
    const scene = new MemoryScene();
    const turns: number[] = [0];
    const count = 1_000;
    scene.answer = (stream) => {
      if (turns.at(-1) === 0) setImmediate(() => turns.push(0));
      turns.push((turns.pop() as number) + 1);
      stream.sendHead([':status', '204'], undefined, true);
    };
    scene.near.write(Buffer.concat(Array.from({ length: count }, (_, i) => headersFrame(2 * i + 1, REQUEST))));
    await scene.still();
    expect(scene.frames.filter(({ type }) => type === FRAME.headers)).toHaveLength(count);
    expect(Math.max(...turns)).toBeLessThanOrEqual(MAX_STREAMS);
  });

  it('shares what its peer lets it send among the streams that have something', async () => {
    const scene = new MemoryScene();
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
    const scene = new MemoryScene();
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
    const scene = new MemoryScene();
    scene.near.write(Buffer.concat([headersFrame(1, REQUEST), goawayFrame(0, 0)]));
    await scene.still();
    expect([scene.session.over, scene.session.leaving]).toEqual([false, true]);
    scene.streams[0]?.sendHead([':status', '204'], undefined, true);
    await scene.still();
    expect(scene.session.over).toBe(true);
    expect(scene.frames.at(-1)).toMatchObject({ type: FRAME.headers, stream: 1 });
  });

  it('that is closing serves what it has, refuses what comes, and ends with the last', async () => {
    const scene = new MemoryScene();
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

function bytesOn(scene: MemoryScene, id: number): number {
  const its = scene.frames.filter(({ type, stream }) => type === FRAME.data && stream === id);
  return its.reduce((sum, { payload }) => sum + payload.length, 0);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
