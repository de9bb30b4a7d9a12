// Load at a fixed rate: requests are due at set times, whatever becomes of those before, and a time counts from when the request
// was due, so that a stall is seen by all whom it holds up.
import type { Tally } from './tally.ts';

/** Below what timers of Node can do the loop polls, and naps in between to leave the core to the origin. */
const TIMER_MS = 2;
const NAP_MS = 0.02;
/** A target that needs so many times as long as was planned did not keep up. */
const MAX_STRETCH = 3;

const cell = new Int32Array(new SharedArrayBuffer(4));

/** Rejects when a request fails, and when the target does not keep up. */
export function openLoop(
  lanes: readonly { exchange(): Promise<number> }[],
  perSecond: number,
  seconds: number,
  tally: Tally,
): Promise<void> {
  const total = Math.max(1, Math.floor(perSecond * seconds));
  const startMs = performance.now();
  const dueMs = (number: number): number => startMs + (number * 1000) / perSecond;
  const idle = [...lanes];
  let begun = 0;
  return new Promise((resolve, reject) => {
    const begin = (lane: (typeof lanes)[number]): void => {
      const due = dueMs(begun++);
      lane.exchange().then((bytes) => {
        tally.add(performance.now() - due, bytes);
        idle.push(lane);
      }, reject);
    };
    const turn = (): void => {
      const now = performance.now();
      while (begun < total && dueMs(begun) <= now) {
        const lane = idle.shift();
        if (lane === undefined) break;
        begin(lane);
      }
      if (begun === total && idle.length === lanes.length) resolve();
      else if (now - startMs > seconds * 1000 * MAX_STRETCH) reject(new Error(`no ${perSecond.toFixed(0)} a second`));
      else waitThen(turn, dueMs(begun) - now);
    };
    turn();
  });
}

function waitThen(turn: () => void, ms: number): void {
  if (ms > TIMER_MS) {
    setTimeout(turn, ms - TIMER_MS / 2);
    return;
  }
  Atomics.wait(cell, 0, 0, NAP_MS);
  setImmediate(turn);
}
