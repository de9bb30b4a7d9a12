import { describe, expect, it } from 'vitest';
import { BodyScanner, dechunk } from '../../../src/wire/http1-body.ts';
import type { Framing } from '../../../src/wire/http1-head.ts';

const STRICT = { strictChunks: true, maxTrailerBytes: 64 };
const LENIENT = { strictChunks: false, maxTrailerBytes: 64 };
const CHUNKED: Framing = { kind: 'chunked' };
const NEXT = 'GET / HTTP/1.1\r\n';

/** Feeds the text in pieces of `size`; the end is counted over all pieces. */
function scan(text: string, options = STRICT, framing = CHUNKED, size = text.length) {
  const scanner = new BodyScanner(framing, options);
  const all = Buffer.from(text, 'latin1');
  let end = 0;
  for (let at = 0; at < all.length && end === at; at += size) {
    const piece = all.subarray(at, at + size);
    end += scanner.feed(piece, 0);
    if (scanner.done || scanner.error !== undefined) break;
  }
  return { done: scanner.done, error: scanner.error, end, payload: scanner.payloadBytes };
}

describe('a body', () => {
  it('of no bytes is done at once and takes nothing of what follows', () => {
    for (const framing of [{ kind: 'none' }, { kind: 'length', bytes: 0 }] as const) {
      const scanner = new BodyScanner(framing, STRICT);
      expect(scanner.done).toBe(true);
      expect(scanner.feed(Buffer.from(NEXT), 3)).toBe(3);
      expect(scanner.payloadBytes).toBe(0);
    }
  });

  it('of a length ends after exactly so many bytes, from any start', () => {
    const scanner = new BodyScanner({ kind: 'length', bytes: 5 }, STRICT);
    expect(scanner.feed(Buffer.from('xxhel'), 2)).toBe(5);
    expect(scanner.done).toBe(false);
    expect(scanner.feed(Buffer.from(`lo${NEXT}`), 0)).toBe(2);
    expect([scanner.done, scanner.payloadBytes]).toEqual([true, 5]);
    expect(scanner.feed(Buffer.from(NEXT), 0)).toBe(0);
  });

  it('until close takes all and is never done', () => {
    const scanner = new BodyScanner({ kind: 'until_close' }, LENIENT);
    expect(scanner.feed(Buffer.from('abc'), 1)).toBe(3);
    expect([scanner.done, scanner.payloadBytes]).toEqual([false, 2]);
  });
});

describe('a chunked body', () => {
  it.each([
    ['no chunk', '0\r\n\r\n', 0],
    ['one chunk', '5\r\nhello\r\n0\r\n\r\n', 5],
    ['upper-case and lower-case sizes', 'A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n', 20],
    ['leading zeros', '0005\r\nhello\r\n000\r\n\r\n', 5],
    ['data that looks like framing', '7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n', 7],
    ['more chunks than a size has digits', `${'1\r\na\r\n'.repeat(14)}0\r\n\r\n`, 14],
    ['a trailer', '1\r\na\r\n0\r\nX-Checksum: abc\r\nY:\r\n\r\n', 1],
  ])(
    'of %s ends where it says, whole or in pieces of any size, and leaves the next request alone',
    (_, wire, payload) => {
      const whole = scan(wire + NEXT);
      expect(whole).toEqual({ done: true, error: undefined, end: wire.length, payload });
      for (let size = 1; size <= wire.length; size++) expect(scan(wire + NEXT, STRICT, CHUNKED, size)).toEqual(whole);
      for (let cut = 0; cut < wire.length; cut++)
        expect(scan(wire.slice(0, cut))).toMatchObject({ done: false, error: undefined });
    },
  );

  it.each([
    ['no size', '\r\n\r\n', 0],
    ['a size that is no number', 'g\r\n', 0],
    ['a prefixed size', '0x5\r\nhello\r\n', 1],
    ['a signed size', '+5\r\nhello\r\n', 0],
    ['a negative size', '-5\r\nhello\r\n', 0],
    ['white space before the size', ' 5\r\nhello\r\n', 0],
    ['white space after the size', '5 \r\nhello\r\n', 1],
    ['bare LF after the size', '5\nhello\r\n', 1],
    ['bare CR after the size', '5\rhello\r\n', 2],
    ['a size of 14 digits', '00000000000005\r\n', 13],
    ['a size beyond 64 bits', '10000000000000005\r\n', 13],
    ['data longer than its size', '5\r\nhelloX\r\n', 8],
    ['bare LF after the data', '5\r\nhello\n', 8],
    ['no CRLF after the data', '5\r\nhello0\r\n\r\n', 8],
    ['bare CR after the data', '5\r\nhello\r0', 9],
    ['bare LF at the end', '0\r\n\n', 3],
    ['bare CR at the end', '0\r\n\rX', 4],
    ['a folded trailer', '0\r\n X: a\r\n\r\n', 3],
    ['a trailer without a name', '0\r\n: a\r\n\r\n', 3],
    ['a trailer without a colon', '0\r\nX\r\n\r\n', 4],
    ["a space before a trailer's colon", '0\r\nX : a\r\n\r\n', 4],
    ['a control byte in a trailer', '0\r\nX: a\0\r\n\r\n', 7],
    ['bare LF in a trailer', '0\r\nX: a\nY: b\r\n\r\n', 7],
    ['bare CR in a trailer', '0\r\nX: a\rY: b\r\n\r\n', 8],
    ['a forbidden trailer after another', '0\r\nX: a\r\nHost: b\r\n\r\n', 13],
    ['a request in place of the trailers', '0\r\nGET / HTTP/1.1\r\n\r\n', 6],
  ])('is refused at the offending byte for %s, in pieces of any size', (_, wire, at) => {
    for (const options of [STRICT, LENIENT]) {
      const whole = scan(wire, options);
      expect(whole).toMatchObject({ done: false, error: expect.stringMatching(/^[ -~]+$/), end: at });
      for (let size = 1; size < wire.length; size++) expect(scan(wire, options, CHUNKED, size)).toEqual(whole);
    }
  });

  it('takes nothing after an error', () => {
    const scanner = new BodyScanner(CHUNKED, STRICT);
    scanner.feed(Buffer.from('x'), 0);
    expect(scanner.feed(Buffer.from('5\r\nhello\r\n0\r\n\r\n'), 0)).toBe(0);
    expect([scanner.done, scanner.error]).toEqual([false, 'a chunk size that is not a hexadecimal number']);
  });

  it.each([';a', ';a=b', ';a=b;c', ';a="b c";d="\\""', ';chunk-signature=0123456789abcdef'])(
    'of a response may have the extension %s, that of a request may not',
    (extension) => {
      const wire = `1${extension}\r\na\r\n0${extension}\r\n\r\n`;
      expect(scan(wire, LENIENT)).toMatchObject({ done: true, end: wire.length, payload: 1 });
      expect(scan(wire, STRICT)).toMatchObject({ done: false, error: 'a chunk extension', end: 1 });
      expect(scan('1\r\na\r\n0\r\n\r\n', STRICT).done).toBe(true);
    },
  );

  it.each([
    ';',
    ';;',
    ';=',
    ';a=',
    ';a=b=c',
    ';a b',
    ';a="b',
    ';a="b"c',
    ';a\n',
    ';a="\n"',
    ';a="\\\n"',
    ' ;a',
    ';\xe9',
  ])('is refused for the malformed extension %j even in a response', (extension) => {
    expect(scan(`1${extension}\r\na\r\n0\r\n\r\n`, LENIENT).error).toBeDefined();
    expect(scan('1;a\r\na\r\n0\r\n\r\n', LENIENT).done).toBe(true);
  });

  it('is refused where an extension passes 256 bytes', () => {
    expect(scan(`0;${'a'.repeat(255)}\r\n\r\n`, LENIENT).done).toBe(true);
    expect(scan(`0;${'a'.repeat(256)}\r\n\r\n`, LENIENT).error).toBe('a chunk extension of too many bytes');
  });

  it('is refused where the trailers together pass the cap', () => {
    const trailers = (bytes: number) => `0\r\nX: ${'a'.repeat(bytes - 9)}\r\nY:\r\n\r\n`;
    expect(scan(trailers(64)).done).toBe(true);
    expect(scan(trailers(65)).error).toBe('trailers of too many bytes');
  });

  it.each(['Content-Length: 1', 'transfer-encoding: chunked', 'HOST: a'])(
    'is refused for the trailer %s either way',
    (line) => {
      expect(scan(`0\r\n${line}\r\n\r\n`, STRICT).error).toContain('as a trailer');
      expect(scan(`0\r\n${line}\r\n\r\n`, LENIENT).error).toContain('as a trailer');
      expect(scan('0\r\nX-Length: 1\r\n\r\n', STRICT).done).toBe(true);
    },
  );

  it.each(['Authorization: a', 'Cookie: a', 'Content-Type: a', 'Connection: close'])(
    'is refused for the trailer %s in a request only',
    (line) => {
      expect(scan(`0\r\n${line}\r\n\r\n`, STRICT).error).toContain('as a trailer');
      expect(scan(`0\r\n${line}\r\n\r\n`, LENIENT).done).toBe(true);
    },
  );
});

describe('dechunk', () => {
  it('gives the payload without sizes, extensions and trailers', () => {
    const raw = Buffer.from('5;a=b\r\nhello\r\n1\r\n\n\r\n0\r\nX: a\r\n\r\n', 'latin1');
    expect(dechunk(raw).toString()).toBe('hello\n');
    expect(dechunk(Buffer.from('0\r\n\r\n'))).toHaveLength(0);
  });
});
