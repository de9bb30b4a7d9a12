import { describe, expect, it } from 'vitest';
import { CLIENT_PREFACE, FrameReader, H2_CODE, type H2Fault } from '../../../src/wire/http2-frames.ts';
import { dataFrame, frame, headersFrame, rstFrame } from '../../kit/h2-wire.ts';

type Seen = readonly [type: number, flags: number, stream: number, payload: string];

/** What a reader gives for `chunks`; `stopAfter`: the sink says no after so many frames. */
function read(role: 'server' | 'client', chunks: readonly Buffer[], stopAfter = Number.POSITIVE_INFINITY) {
  const seen: Seen[] = [];
  const reader = new FrameReader(role);
  let fault: H2Fault | undefined;
  for (const chunk of chunks) {
    fault ??= reader.feed(chunk, {
      onFrame: (type, flags, stream, bytes, start, end) => {
        seen.push([type, flags, stream, bytes.toString('latin1', start, end)]);
        return seen.length < stopAfter;
      },
    });
  }
  return { seen, code: fault?.code };
}

const FRAMES = [
  frame('settings', 0, 0),
  dataFrame(1, 'x'.repeat(16_384), true),
  headersFrame(3, [[':method', 'GET']]),
  rstFrame(0x7fffffff, 8),
  dataFrame(5, ''),
];
const WHOLE = Buffer.concat(FRAMES);
const EXPECTED = read('client', FRAMES).seen;

describe('frames', () => {
  it('are read whole, in order, each with its payload', () => {
    expect(EXPECTED.map(([type, flags, stream, payload]) => [type, flags, stream, payload.length])).toEqual([
      [4, 0, 0, 0],
      [0, 1, 1, 16_384],
      [1, 5, 3, 13],
      [3, 0, 0x7fffffff, 4],
      [0, 0, 5, 0],
    ]);
    expect(read('client', [WHOLE])).toEqual({ seen: EXPECTED, code: undefined });
  });

  it('are the same wherever they are cut', () => {
    for (const size of [1, 2, 8, 9, 10, 1_000, 16_384, 16_393]) {
      const chunks = [];
      for (let at = 0; at < WHOLE.length; at += size) chunks.push(WHOLE.subarray(at, at + size));
      expect(read('client', chunks)).toEqual({ seen: EXPECTED, code: undefined });
    }
  });

  it('of more than 16,384 bytes are a fault as soon as their head is there, and one of as many is none', () => {
    const long = Buffer.from([0, 0x40, 1, 0, 0, 0, 0, 0, 1]);
    expect(read('client', [long]).code).toBe(H2_CODE.frameSizeError);
    expect(read('client', [long.subarray(0, 4), long.subarray(4)]).code).toBe(H2_CODE.frameSizeError);
    expect(read('client', [Buffer.from([0, 0x40, 0, 0, 0, 0, 0, 0, 1])])).toEqual({ seen: [], code: undefined });
  });

  it('have the first bit of their stream taken off', () => {
    expect(read('client', [Buffer.from([0, 0, 0, 0, 0, 0x80, 0, 0, 7])]).seen).toEqual([[0, 0, 7, '']]);
  });

  it('are read no further once the sink has had enough', () => {
    expect(read('client', [WHOLE], 2).seen).toEqual(EXPECTED.slice(0, 2));
  });

  it('come to a server behind the preface, however it is cut, and behind nothing else', () => {
    for (const cut of [0, 1, 23, 24, 30]) {
      const all = Buffer.concat([CLIENT_PREFACE, WHOLE]);
      expect(read('server', [all.subarray(0, cut), all.subarray(cut)])).toEqual({ seen: EXPECTED, code: undefined });
    }
    expect(read('server', [WHOLE])).toEqual({ seen: [], code: H2_CODE.protocolError });
    expect(read('server', [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\rX')]).code).toBe(H2_CODE.protocolError);
    expect(read('server', [Buffer.from('GET / HTTP/1.1\r\n')]).code).toBe(H2_CODE.protocolError);
  });
});
