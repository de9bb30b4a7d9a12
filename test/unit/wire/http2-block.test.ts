import { describe, expect, it } from 'vitest';
import { HeaderBlock } from '../../../src/wire/http2-block.ts';
import { H2_CODE } from '../../../src/wire/http2-frames.ts';

const text = (bytes: number): Buffer => Buffer.alloc(bytes, 'x');

/** The code of the fault of a block of HEADERS and such CONTINUATION frames, or undefined. */
function codeOf(sizes: readonly number[], maxBytes = 1_000): number | undefined {
  const block = new HeaderBlock(maxBytes);
  block.begin(1, false, text(10), 0, 10);
  let code: number | undefined;
  for (const size of sizes) code ??= block.add(text(size), 0, size)?.code;
  return code;
}

describe('a header block', () => {
  it('is its parts in order, and is not open any more after its end', () => {
    const block = new HeaderBlock(100);
    const bytes = Buffer.from('-abcde-');
    block.begin(3, true, bytes, 1, 3);
    expect([block.stream, block.endStream]).toEqual([3, true]);
    block.add(bytes, 3, 5);
    block.add(bytes, 5, 6);
    bytes.fill(0);
    expect([String(block.end()), block.stream]).toEqual(['abcde', 0]);
  });

  it('has a limit in bytes, in frames, and no frame of it is empty', () => {
    expect([codeOf([990]), codeOf([991])]).toEqual([undefined, H2_CODE.enhanceYourCalm]);
    expect([codeOf(Array(32).fill(1)), codeOf(Array(33).fill(1))]).toEqual([undefined, H2_CODE.enhanceYourCalm]);
    expect([codeOf([1]), codeOf([0])]).toEqual([undefined, H2_CODE.enhanceYourCalm]);
  });
});
