import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ForwardRequestOptions,
  forwardRequestHead,
  forwardResponseHead,
} from '../../../src/wire/http1-forward.ts';
import { parseRequestHead, parseResponseHead } from '../../../src/wire/http1-head.ts';

const LIMITS = { maxHeadBytes: 65_536, maxHeaders: 256 };

function readRequest(text: string) {
  const raw = Buffer.from(text, 'latin1');
  const result = parseRequestHead(raw, 0, LIMITS);
  if (result.kind !== 'head') throw new Error(JSON.stringify(result));
  return { raw, head: result.head };
}

function forwardRequest(text: string, change: Partial<ForwardRequestOptions> = {}): Buffer {
  const { raw, head } = readRequest(text);
  return forwardRequestHead(raw, head, {
    target: head.target,
    host: head.host ?? 'example.com',
    upgrade: false,
    dropExpect: false,
    ...change,
  });
}

function forwardResponse(text: string, change: { close?: boolean; upgrade?: boolean } = {}): Buffer {
  const raw = Buffer.from(text, 'latin1');
  const result = parseResponseHead(raw, 0, 'GET', LIMITS);
  if (result.kind !== 'head') throw new Error(JSON.stringify(result));
  return forwardResponseHead(raw, result.head, { close: false, upgrade: false, ...change });
}

const PLAIN =
  'POST /a?b HTTP/1.1\r\nHost: example.com\r\nX-A:  1 \r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n';

describe('a request head on its way to the origin', () => {
  it('is the very bytes that came where nothing has to change', () => {
    const { raw, head } = readRequest(PLAIN);
    const options = { target: '/a?b', host: 'example.com', upgrade: false, dropExpect: true };
    expect(forwardRequestHead(raw, head, options)).toBe(raw);
  });

  it('carries the normalised target and the canonical host', () => {
    const text = 'GET http://Example.COM/%7Ea HTTP/1.1\r\nAccept: */*\r\nHost: Example.COM\r\n\r\n';
    expect(forwardRequest(text, { target: '/~a', host: 'example.com' }).toString()).toBe(
      'GET /~a HTTP/1.1\r\nAccept: */*\r\nHost: example.com\r\n\r\n',
    );
  });

  it('is written anew where the host alone is not canonical', () => {
    const text = 'GET / HTTP/1.1\r\nHost: Example.com\r\n\r\n';
    expect(forwardRequest(text, { host: 'example.com' }).toString()).toBe(
      'GET / HTTP/1.1\r\nHost: example.com\r\n\r\n',
    );
    expect(forwardRequest(text, { host: 'Example.com' }).toString()).toBe(text);
  });

  it('loses every hop-by-hop field and gains none', () => {
    const text = [
      'GET / HTTP/1.1',
      'Host: example.com',
      'Connection: close, Keep-Alive',
      'Keep-Alive: timeout=5',
      'Proxy-Connection: keep-alive',
      'Proxy-Authorization: Basic c2VjcmV0',
      'Proxy-Authenticate: Basic',
      'TE: gzip',
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABk',
      'X-Kept: caf\xe9',
      '\r\n',
    ].join('\r\n');
    expect(forwardRequest(text).toString('latin1')).toBe(
      'GET / HTTP/1.1\r\nHost: example.com\r\nX-Kept: caf\xe9\r\n\r\n',
    );
  });

  it('still asks for trailers where the agent did', () => {
    const text = 'GET / HTTP/1.1\r\nHost: example.com\r\nTE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n\r\n';
    expect(forwardRequest(text).toString()).toBe(
      'GET / HTTP/1.1\r\nHost: example.com\r\nConnection: te\r\nTE: trailers\r\n\r\n',
    );
  });

  it('keeps an upgrade only when told to', () => {
    const text =
      'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n';
    expect(forwardRequest(text, { upgrade: true }).toString()).toBe(
      'GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
    expect(forwardRequest(text).toString()).toBe('GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\n\r\n');
  });

  it('drops Expect only when told to', () => {
    const text = 'PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n';
    expect(forwardRequest(text).toString()).toBe(text);
    expect(forwardRequest(text, { dropExpect: true }).toString()).toBe(
      'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n',
    );
  });

  it.each([
    [{ kind: 'length', bytes: 7 }, 'Content-Length: 7\r\n'],
    [{ kind: 'length', bytes: 0 }, 'Content-Length: 0\r\n'],
    [{ kind: 'chunked' }, 'Transfer-Encoding: chunked\r\n'],
    [{ kind: 'none' }, ''],
  ] as const)('takes the framing %j of a buffered body in place of the one that came', (framing, line) => {
    const text = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n';
    expect(forwardRequest(text, { framing }).toString()).toBe(`POST / HTTP/1.1\r\nHost: a\r\n${line}\r\n`);
  });

  it('of HTTP/1.0 stays so, gains Host, and asks for no keep-alive', () => {
    const text = 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n';
    expect(forwardRequest(text).toString()).toBe('GET / HTTP/1.0\r\nHost: example.com\r\n\r\n');
  });

  it('is read by our own reader as the same request, with nothing left to remove', () => {
    const names = fc.constantFrom(
      'TE',
      'te',
      'Upgrade',
      'Keep-Alive',
      'Proxy-Connection',
      'X-A',
      'Cookie',
      'Expect',
      'Accept',
    );
    const values = fc.constantFrom('', 'trailers', 'websocket', '100-continue', 'a, b', 'x\xe9');
    const connections = fc.constantFrom(
      '',
      'Connection: close\r\n',
      'Connection: te, upgrade\r\n',
      'Connection: keep-alive\r\n',
    );
    const framings = fc.constantFrom('', 'Content-Length: 4\r\n', 'Transfer-Encoding: chunked\r\n');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(names, values), { maxLength: 6 }),
        connections,
        framings,
        (fields, connection, framing) => {
          const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
          const text = `POST /x HTTP/1.1\r\nHost: a\r\n${lines}${connection}${framing}\r\n`;
          const before = readRequest(text).head;
          const after = readRequest(forwardRequest(text, { target: '/y' }).toString('latin1')).head;
          expect([after.target, after.host, after.framing]).toEqual(['/y', 'a', before.framing]);
          expect([after.keepAlive, after.upgrade]).toEqual([true, undefined]);
          const endToEnd = (headers: readonly string[]) =>
            headers.join('\n').replace(/^(?:te|upgrade|keep-alive|proxy-connection|connection)\n.*(?:\n|$)/gim, '');
          expect(endToEnd(after.headers).trim()).toBe(endToEnd(before.headers).trim());
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('a response head on its way to the agent', () => {
  const OK = 'HTTP/1.1 200 OK\r\nX-A:  1\r\nContent-Length: 3\r\n\r\n';

  it('is the very bytes that came where nothing has to change', () => {
    const raw = Buffer.from(OK);
    const result = parseResponseHead(raw, 0, 'GET', LIMITS);
    if (result.kind !== 'head') throw new Error('refused');
    expect(forwardResponseHead(raw, result.head, { close: false, upgrade: false })).toBe(raw);
  });

  it('says close when told to', () => {
    expect(forwardResponse(OK, { close: true }).toString()).toBe(
      'HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n',
    );
  });

  it('loses hop-by-hop fields and those that Connection names, but never its framing', () => {
    const text = [
      'HTTP/1.1 200 OK',
      'Connection: close, X-Hop, Transfer-Encoding',
      'Keep-Alive: timeout=5',
      'Proxy-Authenticate: Basic',
      'Upgrade: h2,h2c',
      'X-Hop: 1',
      'X-Kept: 1',
      'Transfer-Encoding: chunked',
      '\r\n',
    ].join('\r\n');
    expect(forwardResponse(text).toString()).toBe('HTTP/1.1 200 OK\r\nX-Kept: 1\r\nTransfer-Encoding: chunked\r\n\r\n');
  });

  it('is HTTP/1.1 though the origin spoke HTTP/1.0', () => {
    expect(forwardResponse('HTTP/1.0 200 Fine\r\nServer: x\r\n\r\n', { close: true }).toString()).toBe(
      'HTTP/1.1 200 Fine\r\nServer: x\r\nConnection: close\r\n\r\n',
    );
  });

  it('keeps the upgrade of a 101 only when told to', () => {
    const text =
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n';
    expect(forwardResponse(text, { upgrade: true }).toString()).toBe(
      'HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
    expect(forwardResponse(text).toString()).not.toContain('Upgrade');
  });
});
