import { describe, expect, it } from 'vitest';
import { FAILURE_REASONS, FAILURES } from '../../../src/domain/failure.ts';
import type { Block } from '../../../src/domain/verdict.ts';
import { parseResponseHead } from '../../../src/wire/http1-head.ts';
import { blockRefusal, failureRefusal, refusalBytes } from '../../../src/wire/refusal.ts';

const LIMITS = { maxHeadBytes: 65_536, maxHeaders: 256 };
const BLOCK: Block = { action: 'block', ruleId: 'no-uploads', cause: 'rule', reason: 'uploads are off', log: true };

function field(headers: readonly string[], name: string): string | undefined {
  const at = headers.findIndex((text, i) => i % 2 === 0 && text.toLowerCase() === name);
  return at === -1 ? undefined : headers[at + 1];
}

describe('the refusal of a block', () => {
  it('is 403 with the rule in a header and the reason in one line of text', () => {
    const refusal = blockRefusal(BLOCK, undefined);
    expect(refusal.status).toBe(403);
    expect(refusal.body.toString()).toBe('Blocked by outcall: uploads are off');
    expect(field(refusal.headers, 'content-type')).toBe('text/plain; charset=utf-8');
    expect(field(refusal.headers, 'content-length')).toBe(String(refusal.body.length));
    expect(field(refusal.headers, 'x-outcall-block-reason')).toBe('no-uploads');
    expect(field(refusal.headers, 'connection')).toBeUndefined();
  });

  it('is JSON for who accepts JSON by name, and text for wildcards', () => {
    for (const accept of ['application/json', 'text/html, Application/JSON;q=0.9']) {
      const refusal = blockRefusal(BLOCK, accept);
      expect(field(refusal.headers, 'content-type')).toBe('application/json');
      expect(JSON.parse(refusal.body.toString())).toEqual({
        error: 'blocked',
        reason: 'uploads are off',
        rule: 'no-uploads',
      });
    }
    expect(field(blockRefusal(BLOCK, '*/*').headers, 'content-type')).toBe('text/plain; charset=utf-8');
  });

  it('lets no CR or LF into header or body, wherever it came from', () => {
    const block = { ...BLOCK, ruleId: 'a\r\nX: y', reason: 'b\r\n\r\nc' };
    const bytes = refusalBytes(blockRefusal(block, undefined), { head: false, close: true });
    const result = parseResponseHead(bytes, 0, 'GET', LIMITS);
    if (result.kind !== 'head') throw new Error('refused');
    expect(result.head.headers).toContain('a\\x0d\\x0aX: y');
    expect(result.head.headers).not.toContain('X');
    expect(bytes.subarray(result.head.bytes).toString()).toBe('Blocked by outcall: b\\x0d\\x0a\\x0d\\x0ac');
  });
});

describe('the refusal of a failed flow', () => {
  it.each(FAILURE_REASONS)('%s has the status and the text of the table, and a status line of its own', (reason) => {
    const refusal = failureRefusal(reason, undefined);
    expect(refusal.status).toBe(FAILURES[reason].status);
    expect(refusal.body.toString()).toBe(`Outcall could not complete the request: ${FAILURES[reason].text}`);
    expect(field(refusal.headers, 'x-outcall-failure-reason')).toBe(reason);
    expect(field(refusal.headers, 'x-outcall-block-reason')).toBeUndefined();
    const line = refusalBytes(refusal, { head: true, close: false }).toString().split('\r\n', 1)[0];
    expect(line).toMatch(new RegExp(`^HTTP/1\\.1 ${refusal.status} [A-Z][A-Za-z ]+$`));
  });

  it('is JSON for who accepts it', () => {
    const refusal = failureRefusal('dns_failed', 'application/json');
    expect(JSON.parse(refusal.body.toString())).toEqual({
      error: 'failed',
      reason: 'dns_failed',
      text: 'the host name does not resolve',
    });
  });
});

describe('a refusal as an HTTP/1.1 message', () => {
  const refusal = failureRefusal('bad_request', undefined);

  it('is read by our own parser, and its length is that of its body', () => {
    const bytes = refusalBytes(refusal, { head: false, close: true });
    const result = parseResponseHead(bytes, 0, 'GET', LIMITS);
    if (result.kind !== 'head') throw new Error('refused');
    expect(result.head).toMatchObject({ status: 400, reason: 'Bad Request', keepAlive: false });
    expect(result.head.framing).toEqual({ kind: 'length', bytes: bytes.length - result.head.bytes });
  });

  it('keeps the connection unless told to close it', () => {
    expect(refusalBytes(refusal, { head: false, close: false }).toString()).not.toContain('Connection');
    expect(refusalBytes(refusal, { head: false, close: true }).toString()).toContain('\r\nConnection: close\r\n');
  });

  it('to HEAD announces the body and leaves it out', () => {
    const whole = refusalBytes(refusal, { head: false, close: true });
    const head = refusalBytes(refusal, { head: true, close: true });
    expect(head).toEqual(whole.subarray(0, whole.length - refusal.body.length));
  });
});
