/**
 * Our HTTP/1.1 reader against llhttp: whatever ours accepts, llhttp accepts too, with the same method, target,
 * fields, body and end. Ours may refuse more. OUTCALL_FUZZ_MS lengthens each property.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAbsoluteForm, parseConnectTarget } from '../../src/wire/authority.ts';
import { BodyScanner, dechunk } from '../../src/wire/http1-body.ts';
import { parseRequestHead, parseResponseHead, type RequestHead, type ResponseHead } from '../../src/wire/http1-head.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';
import { anyRequest, anyResponse, goodRequest, goodResponse } from './http1-messages.ts';
import { knownMethods, oracle, type Reading } from './llhttp.ts';

const LIMITS = { maxHeadBytes: 65_536, maxHeaders: 256 };
const MAX_TRAILER_BYTES = 4096;
/** Fewer accepted cases than this would mean that the properties below compare nothing. */
const MIN_ACCEPTED = 20;

describe('what our reader accepts, llhttp reads in the same way', () => {
  it(
    'requests: method, target, fields, body, keep-alive, and the offset at which the next one starts',
    () => {
      let accepted = 0;
      fc.assert(
        fc.property(anyRequest, (input) => {
          let at = 0;
          for (;;) {
            const end = checkRequest(input, at);
            if (end === undefined) return;
            accepted++;
            at = end;
          }
        }),
        fuzzBudget(),
      );
      expect(accepted).toBeGreaterThan(MIN_ACCEPTED);
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'responses: status, fields, body, keep-alive and end, to GET and to HEAD',
    () => {
      let accepted = 0;
      fc.assert(
        fc.property(anyResponse, fc.constantFrom('GET', 'HEAD'), (input, method) => {
          if (checkResponse(input, method)) accepted++;
        }),
        fuzzBudget(),
      );
      expect(accepted).toBeGreaterThan(MIN_ACCEPTED);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('well-formed messages are read as they were built', () => {
  it(
    'requests',
    () => {
      fc.assert(
        fc.property(goodRequest, (request) => {
          const input = Buffer.from(`${request.wire}GET /next HTTP/1.1\r\n`, 'latin1');
          const head = headOf(parseRequestHead(input, 0, LIMITS));
          expect([head.method, head.target, head.headers, head.framing.kind, head.bytes]).toEqual([
            request.method,
            request.target,
            request.headers,
            request.body.kind,
            request.headBytes,
          ]);
          expect(bodyOf(input, head, true)).toEqual({ end: request.wire.length, payload: request.body.payload });
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'responses, chunk extensions included',
    () => {
      fc.assert(
        fc.property(goodResponse, (response) => {
          const input = Buffer.from(response.wire, 'latin1');
          const head = headOf(parseResponseHead(input, 0, 'GET', LIMITS));
          expect([head.status, head.reason, head.headers, head.bytes]).toEqual([
            response.status,
            response.reason,
            response.headers,
            response.headBytes,
          ]);
          expect(head.framing.kind).toBe(response.body.kind === 'none' ? 'until_close' : response.body.kind);
          if (response.body.kind === 'none') return;
          expect(bodyOf(input, head, false)).toEqual({ end: response.wire.length, payload: response.body.payload });
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});

/** Checks the request at `start`; the offset after it, or undefined where ours has not accepted a whole one. */
function checkRequest(input: Buffer, start: number): number | undefined {
  const result = parseRequestHead(input, start, LIMITS);
  if (result.kind !== 'head' || !isComparable(result.head)) return undefined;
  const body = bodyOf(input.subarray(start), result.head, true);
  if (body === undefined) return undefined;
  const reading = readWhole('request', input.subarray(start, start + body.end), false);
  expect(reading.head).toMatchObject({
    major: 1,
    minor: result.head.minor,
    method: result.head.method,
    url: result.head.target,
    headers: result.head.headers,
  });
  // llhttp also obeys Proxy-Connection, which no specification has.
  if (!/^proxy-connection:/im.test(input.toString('latin1'))) {
    expect(reading.head?.keepAlive).toBe(result.head.keepAlive);
  }
  expect(reading.body.toString('latin1')).toBe(body.payload);
  return start + body.end;
}

function checkResponse(input: Buffer, method: string): boolean {
  const result = parseResponseHead(input, 0, method, LIMITS);
  if (result.kind !== 'head') return false;
  const { head } = result;
  const expected = { major: 1, minor: head.minor, status: head.status, headers: head.headers };
  if (head.framing.kind === 'until_close') {
    const { reading, feed } = oracle('response');
    feed(input);
    expect(reading).toMatchObject({ error: undefined, complete: false, head: { ...expected, keepAlive: false } });
    expect(reading.body).toEqual(input.subarray(head.bytes));
    return true;
  }
  const body = bodyOf(input, head, false);
  if (body === undefined) return false;
  const reading = readWhole('response', input.subarray(0, body.end), method === 'HEAD');
  expect(reading.head).toMatchObject(expected);
  expect(reading.body.toString('latin1')).toBe(body.payload);
  return true;
}

/** llhttp knows fewer methods, and reads the target, which is another module's part here. */
function isComparable(head: RequestHead): boolean {
  if (!knownMethods.has(head.method) || head.method === 'PRI' || head.method === 'SOURCE') return false;
  if (head.method === 'CONNECT') return parseConnectTarget(head.target).ok;
  return head.target.startsWith('/') || head.target === '*' || parseAbsoluteForm(head.target).ok;
}

/** The body by our scanner, dechunked; undefined where it is refused or does not end. */
function bodyOf(
  message: Buffer,
  head: RequestHead | ResponseHead,
  strictChunks: boolean,
): { end: number; payload: string } | undefined {
  const scanner = new BodyScanner(head.framing, { strictChunks, maxTrailerBytes: MAX_TRAILER_BYTES });
  const end = scanner.feed(message, head.bytes);
  if (!scanner.done) return undefined;
  const raw = message.subarray(head.bytes, end);
  const payload = head.framing.kind === 'chunked' ? dechunk(raw) : raw;
  expect(scanner.payloadBytes).toBe(payload.length);
  return { end, payload: payload.toString('latin1') };
}

/** llhttp must find the end at the last byte of `message`, not one sooner. */
function readWhole(kind: 'request' | 'response', message: Buffer, skipBody: boolean): Reading {
  const { reading, feed } = oracle(kind, skipBody);
  feed(message.subarray(0, -1));
  expect({ error: reading.error, complete: reading.complete }).toEqual({ error: undefined, complete: false });
  feed(message.subarray(-1));
  expect({ error: reading.error, complete: reading.complete }).toEqual({ error: undefined, complete: true });
  return reading;
}

function headOf<T>(result: { kind: 'head'; head: T } | { kind: string; detail?: string }): T {
  if (result.kind !== 'head') throw new Error(`refused: ${JSON.stringify(result)}`);
  return (result as { head: T }).head;
}
