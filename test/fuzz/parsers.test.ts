/**
 * Each reader of agent or origin bytes on anything at all: it never throws, never reads past what it was given,
 * keeps its caps, and gives one answer however the bytes were split. What it accepts has the form it promises.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalHost } from '../../src/domain/hostname.ts';
import { parseAbsoluteForm, parseConnectTarget, parseHostField } from '../../src/wire/authority.ts';
import { BodyScanner, dechunk } from '../../src/wire/http1-body.ts';
import { type Framing, parseRequestHead, parseResponseHead } from '../../src/wire/http1-head.ts';
import { readH2RequestHeaders } from '../../src/wire/http2-headers.ts';
import { normaliseTarget } from '../../src/wire/target.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';
import { anyRequest, anyResponse } from './http1-messages.ts';
import { mutated } from './mutations.ts';

const LIMITS = { maxHeadBytes: 400, maxHeaders: 8 };
const PRINTABLE = /^[ -~]+$/;

const anyBytes = fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes));
const latin1 = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'/.%:@[]a0-;?#\\ \u0000\r\n\u00e9'), maxLength: 30 }),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
);

describe('a head of any bytes', () => {
  it(
    'is judged the same from any offset and whatever follows, and never on bytes before or after it',
    () => {
      const heads = fc.oneof(anyRequest, anyResponse, anyBytes);
      fc.assert(
        fc.property(heads, fc.uint8Array({ maxLength: 20 }), (bytes, around) => {
          const input = Buffer.concat([Buffer.from(around), bytes, Buffer.from(around)]);
          const readers = [
            (buffer: Buffer, start: number) => parseRequestHead(buffer, start, LIMITS),
            (buffer: Buffer, start: number) => parseResponseHead(buffer, start, 'GET', LIMITS),
          ];
          for (const read of readers) {
            const alone = read(bytes, 0);
            if (alone.kind === 'bad') expect(alone.detail).toMatch(PRINTABLE);
            if (alone.kind !== 'head') continue;
            expect(alone.head.bytes).toBeLessThanOrEqual(LIMITS.maxHeadBytes);
            expect(alone.head.headers.length).toBeLessThanOrEqual(2 * LIMITS.maxHeaders);
            expect(read(input, around.length)).toEqual(alone);
          }
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'is never accepted after it was refused in part, nor refused as a part of one that is accepted',
    () => {
      fc.assert(
        fc.property(anyRequest, (bytes) => {
          const whole = parseRequestHead(bytes, 0, LIMITS);
          const end = whole.kind === 'head' ? whole.head.bytes : bytes.length;
          for (let cut = 0; cut < end; cut++) {
            const part = parseRequestHead(bytes.subarray(0, cut), 0, LIMITS);
            if (whole.kind === 'head') expect(part.kind).toBe('incomplete');
            else expect(part.kind).not.toBe('head');
          }
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('a body of any bytes', () => {
  const chunkedText = fc.array(
    fc.constantFrom(
      '0\r\n',
      '5\r\nhello\r\n',
      '1\r\n\n\r\n',
      'a\r\n0123456789\r\n',
      '3;x="y"\r\nabc\r\n',
      'T: a\r\n',
      '\r\n',
    ),
    { maxLength: 6 },
  );
  const framings = fc.oneof(
    { weight: 6, arbitrary: fc.constant<Framing>({ kind: 'chunked' }) },
    { weight: 1, arbitrary: fc.nat({ max: 80 }).map<Framing>((bytes) => ({ kind: 'length', bytes })) },
    { weight: 1, arbitrary: fc.constantFrom<Framing>({ kind: 'none' }, { kind: 'until_close' }) },
  );

  it(
    'ends, fails or goes on at the same byte however it was split',
    () => {
      let ended = 0;
      fc.assert(
        fc.property(
          fc.oneof(mutated(chunkedText.map((parts) => parts.join(''))), anyBytes),
          framings,
          fc.boolean(),
          fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 5 }),
          (bytes, framing, strictChunks, sizes) => {
            const options = { strictChunks, maxTrailerBytes: 24 };
            const whole = scanIn(bytes, framing, options, [bytes.length + 1]);
            expect(scanIn(bytes, framing, options, sizes)).toEqual(whole);
            expect(whole.end).toBeLessThanOrEqual(bytes.length);
            if (!whole.done) return;
            ended++;
            if (framing.kind === 'chunked') expect(dechunk(bytes.subarray(0, whole.end))).toHaveLength(whole.payload);
          },
        ),
        fuzzBudget(),
      );
      expect(ended).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'never makes dechunk throw or give more than there was',
    () => {
      fc.assert(
        fc.property(fc.oneof(mutated(chunkedText.map((parts) => parts.join(''))), anyBytes), (bytes) => {
          expect(dechunk(bytes).length).toBeLessThanOrEqual(bytes.length);
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('an authority of any text', () => {
  it(
    'is a canonical host and a port, or a printable reason',
    () => {
      const texts = fc.oneof(
        latin1,
        fc.tuple(latin1, fc.nat({ max: 70_000 })).map(([host, port]) => `${host}:${port}`),
        fc.tuple(fc.domain(), latin1).map(([host, rest]) => `http://${host}${rest}`),
        fc
          .tuple(fc.oneof(fc.domain(), fc.ipV4Extended(), fc.ipV6()), fc.nat({ max: 70_000 }))
          .map((parts) => parts.join(':')),
      );
      fc.assert(
        fc.property(texts, (text) => {
          for (const result of [parseConnectTarget(text), parseHostField(text, 443), parseAbsoluteForm(text)]) {
            if (result.ok) {
              expect(canonicalHost(result.value.host)).toBe(result.value.host);
              expect(result.value.port).toBeGreaterThan(0);
              expect(result.value.port).toBeLessThanOrEqual(65_535);
            } else expect(result.detail).toMatch(PRINTABLE);
          }
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('a target of any text', () => {
  it(
    'is normal for good once normalised, or has a printable reason',
    () => {
      fc.assert(
        fc.property(latin1, fc.boolean(), (text, slash) => {
          const result = normaliseTarget(slash ? `/${text}` : text);
          if (!result.ok) {
            expect(result.detail).toMatch(PRINTABLE);
            return;
          }
          expect(result.value).toMatch(/^\/[!-~]*$/);
          expect(normaliseTarget(result.value)).toEqual(result);
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('an HTTP/2 header list of any text', () => {
  it(
    'holds nothing that could end a line or a name in HTTP/1.1, or has a printable reason',
    () => {
      const names = fc.oneof(
        fc.constantFrom(
          ':method',
          ':path',
          ':scheme',
          ':authority',
          ':protocol',
          'host',
          'te',
          'content-length',
          'x-a',
        ),
        latin1,
      );
      const values = fc.oneof(fc.constantFrom('GET', '/', 'https', 'a.com', 'trailers', '1'), latin1);
      const good = fc.constant([':method', 'GET', ':scheme', 'https', ':authority', 'a.com', ':path', '/']);
      const lists = fc
        .tuple(fc.oneof(good, fc.constant<string[]>([])), fc.array(fc.tuple(names, values), { maxLength: 6 }))
        .map(([start, fields]) => [...start, ...fields.flat()]);
      let accepted = 0;
      fc.assert(
        fc.property(lists, (raw) => {
          const result = readH2RequestHeaders(raw);
          if (!result.ok) {
            expect(result.detail).toMatch(PRINTABLE);
            return;
          }
          accepted++;
          const { method, path, authority, headers } = result.value;
          const lines = headers.map((text, i) => (i % 2 === 0 ? `${text}: ${headers[i + 1]}\r\n` : '')).join('');
          const text = `${method} ${path || '/'} HTTP/1.1\r\nHost: ${authority}\r\n${lines}\r\n`;
          const head = parseRequestHead(Buffer.from(text, 'latin1'), 0, { maxHeadBytes: 65_536, maxHeaders: 256 });
          expect(head).toMatchObject({ kind: 'head', head: { method, headers: ['Host', authority, ...headers] } });
        }),
        fuzzBudget(),
      );
      expect(accepted).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});

/** Scans `bytes` in pieces whose sizes go round `sizes`. */
function scanIn(
  bytes: Buffer,
  framing: Framing,
  options: { strictChunks: boolean; maxTrailerBytes: number },
  sizes: readonly number[],
) {
  const scanner = new BodyScanner(framing, options);
  let end = 0;
  for (let at = 0, turn = 0; at < bytes.length && end === at; turn++) {
    const piece = bytes.subarray(at, at + (sizes[turn % sizes.length] as number));
    at += piece.length;
    end += scanner.feed(piece, 0);
    if (scanner.done || scanner.error !== undefined) break;
  }
  return { end, done: scanner.done, error: scanner.error, payload: scanner.payloadBytes };
}
