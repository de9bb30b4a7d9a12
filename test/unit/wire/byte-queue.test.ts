import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteQueue } from '../../../src/wire/byte-queue.ts';

it('gives out what was put in, in order, however the pieces are cut, and a copy of all that waits', () => {
  const step = fc.oneof(fc.record({ push: fc.nat(40_000) }), fc.record({ take: fc.nat(40_000) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const queue = new ByteQueue();
      let put = 0;
      let got = 0;
      const byte = (at: number): number => (at * 31 + (at >> 8)) & 0xff;
      for (const one of steps) {
        if ('push' in one) {
          const bytes = Buffer.from(Array.from({ length: one.push + 2 }, (_, i) => byte(put + i - 1)));
          queue.push(bytes, 1, one.push + 1);
          bytes.fill(0);
          put += one.push;
        } else {
          const count = Math.min(one.take, queue.length);
          const out = Buffer.alloc(count + 1);
          queue.take(out, 1, count);
          for (let i = 0; i < count; i++) if (out[i + 1] !== byte(got + i)) return false;
          got += count;
        }
        const all = queue.toBuffer();
        if (queue.length !== put - got || all.length !== put - got) return false;
        if (all.length > 0 && (all[0] !== byte(got) || all.at(-1) !== byte(put - 1))) return false;
      }
      return true;
    }),
    { numRuns: 50 },
  );
});

it('is empty after clear, and takes more then', () => {
  const queue = new ByteQueue();
  queue.push(Buffer.alloc(100_000, 'a'), 0, 100_000);
  queue.clear();
  expect([queue.length, queue.toBuffer().length]).toEqual([0, 0]);
  queue.push(Buffer.from('bc'), 0, 2);
  expect(String(queue.toBuffer())).toBe('bc');
});
