import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_WINDOW_BYTES, ReceiveWindow, SendWindow } from '../../../src/wire/http2-windows.ts';

describe('a window for what is sent', () => {
  it('may go below zero, and up to the limit, and not past it', () => {
    const window = new SendWindow(100);
    expect([window.widen(-250), window.left]).toEqual([true, -150]);
    expect(window.widen(MAX_WINDOW_BYTES + 150)).toBe(true);
    expect(window.left).toBe(MAX_WINDOW_BYTES);
    expect(window.widen(1)).toBe(false);
  });
});

describe('a window for what comes', () => {
  it('takes as much as it is wide, and not a byte more', () => {
    const window = new ReceiveWindow(100);
    expect([window.take(100), window.take(0), window.take(1)]).toEqual([true, true, false]);
  });

  it('is given back in halves, and never more than is held', () => {
    const window = new ReceiveWindow(100);
    window.take(80);
    expect([window.giveBack(49), window.giveBack(1), window.giveBack(1000), window.giveBack(1000)]).toEqual([
      0, 50, 0, 0,
    ]);
    expect([window.take(70), window.take(1)]).toEqual([true, false]);
  });

  it('never lets a peer that keeps to it send more than its width beyond what has gone on, and never stops it for good', () => {
    const steps = fc.array(fc.tuple(fc.nat(300), fc.nat(300)), { maxLength: 50 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), steps, (width, all) => {
        const window = new ReceiveWindow(width);
        let free = width;
        let held = 0;
        for (const [send, go] of all) {
          const sent = Math.min(send, free);
          free -= sent;
          held += sent;
          if (!window.take(sent)) return false;
          const gone = Math.min(go, held);
          held -= gone;
          free += window.giveBack(gone);
          if (held + free > width || (held === 0 && free === 0)) return false;
        }
        return true;
      }),
    );
  });
});
