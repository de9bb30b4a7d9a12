/**
 * Flow control of HTTP/2 (RFC 9113 sections 5.2, 6.9) under any order of requests, windows, settings and resets: we never send
 * more than our peer has given room for, and all of it once there is room. OUTCALL_FUZZ_MS lengthens it.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FRAME, type Frame, frame, headersFrame, rstFrame } from '../kit/h2-wire.ts';
import { MemoryScene } from '../unit/proxy/h2-memory.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';

const DEFAULT_WINDOW_BYTES = 65_535;
const INITIAL_WINDOW = 4;
const CANCEL = 8;
const END_STREAM = 1;
/** More than all bodies together. */
const WIDE_BYTES = 100_000_000;

const bytes = fc.oneof(fc.constantFrom(0, 1, 16_384, 16_385, 65_535, 65_536), fc.nat({ max: 150_000 }));
const step = fc.oneof(
  fc.record({ kind: fc.constant('ask' as const), body: bytes, inTwo: fc.boolean() }),
  fc.record({ kind: fc.constant('widen' as const), nth: fc.nat({ max: 5 }), by: fc.integer({ min: 1, max: 100_000 }) }),
  fc.record({ kind: fc.constant('initial' as const), value: bytes }),
  fc.record({ kind: fc.constant('reset' as const), nth: fc.nat({ max: 5 }) }),
);

it(
  'no window is ever overdrawn, and every body arrives whole once its window is wide',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const scene = new MemoryScene();
        const peer = new Peer(scene);
        for (const each of steps) {
          if (each.kind === 'ask') peer.ask(each.body, each.inTwo);
          else if (each.kind === 'widen') peer.widen(each.nth, each.by);
          else if (each.kind === 'initial') peer.setInitial(each.value);
          else peer.reset(each.nth);
          await scene.still();
          peer.count();
        }
        peer.widenAll();
        await scene.still();
        peer.count();
        peer.expectWhole();
      }),
      fuzzBudget(),
    );
  },
  FUZZ_TIMEOUT_MS,
);

interface Asked {
  readonly id: number;
  readonly body: number;
  window: number;
  came: number;
  ended: boolean;
  reset: boolean;
}

/** What a client counts. It waits after each step, so that nothing is under way when it changes a window. */
class Peer {
  readonly #scene: MemoryScene;
  readonly #asked: Asked[] = [];
  #window = DEFAULT_WINDOW_BYTES;
  #initial = DEFAULT_WINDOW_BYTES;
  #counted = 0;

  constructor(scene: MemoryScene) {
    this.#scene = scene;
  }

  ask(body: number, inTwo: boolean): void {
    const id = 2 * this.#asked.length + 1;
    this.#asked.push({ id, body, window: this.#initial, came: 0, ended: false, reset: false });
    const whole = Buffer.alloc(body, 'b');
    this.#scene.answer = (stream) => {
      const half = inTwo ? body >> 1 : 0;
      if (inTwo) stream.sendData(whole, 0, half, false);
      stream.sendData(whole, half, body, true);
    };
    this.#scene.near.write(headersFrame(id, [[':method', 'GET']]));
  }

  /** The connection's window, or that of the nth stream. */
  widen(nth: number, by: number): void {
    const asked = this.#asked[nth];
    if (asked === undefined) this.#window += by;
    else asked.window += by;
    this.#scene.near.write(frame('window', 0, asked?.id ?? 0, uint32(by)));
  }

  setInitial(value: number): void {
    for (const asked of this.#asked) asked.window += value - this.#initial;
    this.#initial = value;
    this.#scene.near.write(frame('settings', 0, 0, Buffer.concat([Buffer.from([0, INITIAL_WINDOW]), uint32(value)])));
  }

  reset(nth: number): void {
    const asked = this.#asked[nth];
    if (asked === undefined) return;
    asked.reset = true;
    this.#scene.near.write(rstFrame(asked.id, CANCEL));
  }

  widenAll(): void {
    this.widen(-1, WIDE_BYTES);
    for (const nth of this.#asked.keys()) this.widen(nth, WIDE_BYTES);
  }

  /** Takes what has come since from the windows; a stream that is cut off gets nothing more. */
  count(): void {
    const { frames } = this.#scene;
    for (const came of frames.slice(this.#counted)) if (came.type === FRAME.data) this.#onData(came);
    this.#counted = frames.length;
    expect(this.#window).toBeGreaterThanOrEqual(0);
  }

  expectWhole(): void {
    const whole = this.#asked.filter(({ reset }) => !reset);
    expect(whole.map(({ id, came, ended }) => [id, came, ended])).toEqual(
      whole.map(({ id, body }) => [id, body, true]),
    );
  }

  #onData({ stream, flags, payload }: Frame): void {
    const asked = this.#asked.find(({ id }) => id === stream) as Asked;
    expect([asked.ended, asked.came < asked.body || payload.length === 0]).toEqual([false, true]);
    asked.came += payload.length;
    asked.ended = (flags & END_STREAM) !== 0;
    asked.window -= payload.length;
    this.#window -= payload.length;
    if (payload.length > 0) expect(asked.window).toBeGreaterThanOrEqual(0);
  }
}

function uint32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}
