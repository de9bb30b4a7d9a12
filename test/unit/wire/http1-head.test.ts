import { describe, expect, it } from 'vitest';
import { parseRequestHead, parseResponseHead } from '../../../src/wire/http1-head.ts';

const LIMITS = { maxHeadBytes: 65_536, maxHeaders: 256 };
const LINE = 'GET /a HTTP/1.1\r\n';
const HOST = 'Host: example.com\r\n';

function request(text: string, limits = LIMITS, start = 0) {
  return parseRequestHead(Buffer.from(text, 'latin1'), start, limits);
}

function response(text: string, method = 'GET') {
  return parseResponseHead(Buffer.from(text, 'latin1'), 0, method, LIMITS);
}

function requestHead(text: string) {
  const result = request(text);
  if (result.kind !== 'head') throw new Error(JSON.stringify(result));
  return result.head;
}

function responseHead(text: string, method = 'GET') {
  const result = response(text, method);
  if (result.kind !== 'head') throw new Error(JSON.stringify(result));
  return result.head;
}

/** A request with these lines between Host and the empty line. */
const withFields = (lines: string, line = LINE) => `${line}${HOST}${lines}\r\n`;

describe('a request head', () => {
  it('is read with names as sent, values without outer white space, and the length of the head', () => {
    const text = `POST /p?q=1 HTTP/1.1\r\nHost: Example.com:8443\r\nX-Empty:\r\nx-Pad: \t a b\t \r\nX-Text: caf\xe9\r\n\r\n`;
    expect(request(`${text}body`)).toEqual({
      kind: 'head',
      head: {
        method: 'POST',
        target: '/p?q=1',
        minor: 1,
        headers: ['Host', 'Example.com:8443', 'X-Empty', '', 'x-Pad', 'a b', 'X-Text', 'caf\xe9'],
        framing: { kind: 'none' },
        bytes: text.length,
        host: 'Example.com:8443',
        keepAlive: true,
        upgrade: undefined,
        expectContinue: false,
        hopByHop: false,
      },
    });
  });

  it('is read from where it starts, so that a pipelined second one follows the first', () => {
    const first = withFields('');
    const input = `${first}PUT /b HTTP/1.1\r\nHost: b\r\n\r\n`;
    expect(requestHead(input).bytes).toBe(first.length);
    expect(request(input, LIMITS, first.length)).toMatchObject({ head: { method: 'PUT', target: '/b', host: 'b' } });
  });

  it('is incomplete at every byte but the last', () => {
    const text = withFields('X: a\r\nContent-Length: 3\r\n');
    for (let end = 0; end < text.length; end++) expect(request(text.slice(0, end)).kind).toBe('incomplete');
    expect(request(text).kind).toBe('head');
  });

  it.each([
    ['a leading empty line', `\r\n${withFields('')}`],
    ['a method that is no token', withFields('', 'G(T /a HTTP/1.1\r\n')],
    ['no method', withFields('', ' /a HTTP/1.1\r\n')],
    ['two spaces before the target', withFields('', 'GET  /a HTTP/1.1\r\n')],
    ['a TAB before the target', withFields('', 'GET\t/a HTTP/1.1\r\n')],
    ['two spaces before the version', withFields('', 'GET /a  HTTP/1.1\r\n')],
    ['a space after the version', withFields('', 'GET /a HTTP/1.1 \r\n')],
    ['a space in the target', withFields('', 'GET /a b HTTP/1.1\r\n')],
    ['a control byte in the target', withFields('', 'GET /a\x01 HTTP/1.1\r\n')],
    ['NUL in the target', withFields('', 'GET /a\0 HTTP/1.1\r\n')],
    ['non-ASCII in the target', withFields('', 'GET /\xe9 HTTP/1.1\r\n')],
    ['no version (HTTP/0.9)', withFields('', 'GET /a\r\n')],
    ['HTTP/1.2', withFields('', 'GET /a HTTP/1.2\r\n')],
    ['HTTP/2.0, as in the h2 preface', 'PRI * HTTP/2.0\r\n\r\n'],
    ['a lower-case version', withFields('', 'GET /a http/1.1\r\n')],
    ['bare CR in the request line', withFields('', 'GET /a HTTP/1.1\r\r\n')],
    ['bare LF after the request line', withFields('', 'GET /a HTTP/1.1\n')],
    ['bare LF after a field', withFields('X: a\nY: b\r\n')],
    ['bare CR in a field', withFields('X: a\rYZ: b\r\n')],
    ['obsolete line folding', withFields('X: a\r\n b\r\n')],
    ['obsolete line folding by TAB', withFields('X: a\r\n\tb\r\n')],
    ['white space before the first field', `${LINE} ${HOST}\r\n`],
    ['a space before the colon', withFields('X : a\r\n')],
    ['a TAB before the colon', withFields('X\t: a\r\n')],
    ['no colon', withFields('X\r\n')],
    ['no name', withFields(': a\r\n')],
    ['a name with a control byte', withFields('X\x01: a\r\n')],
    ['a name with a non-ASCII byte', withFields('X\xe9: a\r\n')],
    ['a name with a bracket', withFields('X[1]: a\r\n')],
    ['NUL in a value', withFields('X: a\0b\r\n')],
    ['a control byte in a value', withFields('X: a\x1bb\r\n')],
    ['DEL in a value', withFields('X: a\x7fb\r\n')],
    ['no Host', `${LINE}X: a\r\n\r\n`],
    ['two Host fields', withFields('Host: other.com\r\n')],
    ['two equal Host fields', withFields('host: example.com\r\n')],
    ['Content-Length twice', withFields('Content-Length: 3\r\nContent-Length: 4\r\n')],
    ['Content-Length twice, equal', withFields('Content-Length: 3\r\nContent-Length: 3\r\n')],
    ['Content-Length as a list', withFields('Content-Length: 3, 3\r\n')],
    ['Content-Length with a sign', withFields('Content-Length: +3\r\n')],
    ['negative Content-Length', withFields('Content-Length: -3\r\n')],
    ['hexadecimal Content-Length', withFields('Content-Length: 0x3\r\n')],
    ['Content-Length with a leading zero', withFields('Content-Length: 03\r\n')],
    ['Content-Length with a fraction', withFields('Content-Length: 3.0\r\n')],
    ['Content-Length with a space inside', withFields('Content-Length: 3 3\r\n')],
    ['an empty Content-Length', withFields('Content-Length:\r\n')],
    ['Content-Length of 2^53', withFields('Content-Length: 9007199254740992\r\n')],
    ['Content-Length beyond 64 bits', withFields('Content-Length: 18446744073709551619\r\n')],
    ['Transfer-Encoding after Content-Length', withFields('Content-Length: 3\r\nTransfer-Encoding: chunked\r\n')],
    ['Content-Length after Transfer-Encoding', withFields('Transfer-Encoding: chunked\r\nContent-Length: 3\r\n')],
    ['Transfer-Encoding twice', withFields('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n')],
    ['Transfer-Encoding gzip, chunked', withFields('Transfer-Encoding: gzip, chunked\r\n')],
    ['Transfer-Encoding identity', withFields('Transfer-Encoding: identity\r\n')],
    ['an empty Transfer-Encoding', withFields('Transfer-Encoding:\r\n')],
    ['Transfer-Encoding with a vertical tab', withFields('Transfer-Encoding: \x0bchunked\r\n')],
    ['Transfer-Encoding with NBSP', withFields('Transfer-Encoding: \xa0chunked\r\n')],
    ['a TAB around chunked, which llhttp overlooks', withFields('Transfer-Encoding: chunked\t\r\n')],
    ['a TAB around a length', withFields('Content-Length:\t3\r\n')],
    ['Transfer-Encoding in HTTP/1.0', withFields('Transfer-Encoding: chunked\r\n', 'POST /a HTTP/1.0\r\n')],
    ['Transfer_Encoding, which CGI cannot tell from the field', withFields('Transfer_Encoding: chunked\r\n')],
    ['Content_Length', withFields('Content_Length: 3\r\n')],
    ['Connection that is no list of tokens', withFields('Connection: a b\r\n')],
    ['Connection naming Host', withFields('Connection: close, Host\r\n')],
    ['Connection naming Content-Length', withFields('Connection: content-length\r\n')],
    ['Connection naming Transfer-Encoding', withFields('Connection: transfer-encoding\r\n')],
    ['Connection naming Authorization', withFields('Connection: authorization\r\n')],
    ['Connection naming a field that rules may have seen', withFields('X-Tenant: corp\r\nConnection: x-tenant\r\n')],
    ['a body announced with CONNECT', withFields('Content-Length: 3\r\n', 'CONNECT a:443 HTTP/1.1\r\n')],
  ])('is refused for %s, while its twin without that is read', (_, text) => {
    expect(request(text)).toMatchObject({
      kind: 'bad',
      reason: 'bad_request',
      detail: expect.stringMatching(/^[ -~]+$/),
    });
    expect(request(withFields('X: a\r\nContent-Length: 3\r\n')).kind).toBe('head');
  });

  it('of another dialect is refused as soon as its first line ends in LF, not at the timeout', () => {
    expect(request('GET /a HTTP/1.1\n')).toMatchObject({ kind: 'bad', detail: 'bare LF' });
    expect(request('GET /a HTTP/1.1\r\n').kind).toBe('incomplete');
  });

  it('names the broken field in its detail, escaped', () => {
    expect(request(withFields('X-Bad\x7f: a\r\n'))).toMatchObject({ detail: expect.stringContaining('X-Bad') });
    expect(request(withFields('Content-Length: \xff\r\n'))).toMatchObject({ detail: expect.stringContaining('\\xff') });
  });

  it.each([
    ['GET', 'none', ''],
    ['POST', 'none', ''],
    ['GET', 'length', 'Content-Length: 7\r\n'],
    ['POST', 'length', 'content-length:7\r\n'],
    ['POST', 'chunked', 'Transfer-Encoding: chunked\r\n'],
    ['POST', 'chunked', 'TRANSFER-ENCODING:Chunked  \r\n'],
  ])('%s has the framing %s for %j', (method, kind, lines) => {
    expect(requestHead(withFields(lines, `${method} / HTTP/1.1\r\n`)).framing.kind).toBe(kind);
  });

  it('holds the largest exact Content-Length', () => {
    const head = requestHead(withFields('Content-Length: 9007199254740991\r\n'));
    expect(head.framing).toEqual({ kind: 'length', bytes: Number.MAX_SAFE_INTEGER });
  });

  it('of HTTP/1.0 may lack Host and closes unless it asks otherwise', () => {
    const line = 'GET / HTTP/1.0\r\n';
    expect(requestHead(`${line}\r\n`)).toMatchObject({ host: undefined, minor: 0, keepAlive: false });
    expect(requestHead(`${line}Connection: Keep-Alive\r\n\r\n`)).toMatchObject({ keepAlive: true, hopByHop: true });
    expect(requestHead(`${line}Content-Length: 3\r\n\r\n`).framing).toEqual({ kind: 'length', bytes: 3 });
  });

  it.each([
    ['', true, false],
    ['Connection: keep-alive\r\n', true, false],
    ['Connection: close\r\n', false, true],
    ['Connection: Keep-Alive, Close\r\n', false, true],
    ['Connection: x\r\nConnection: , close ,\r\n', false, true],
    ['Connection: closed\r\n', true, true],
    ['Keep-Alive: timeout=5\r\n', true, true],
    ['Proxy-Connection: close\r\n', true, true],
    ['Proxy-Authorization: Basic eA==\r\n', true, true],
    ['TE: trailers\r\n', true, true],
    ['Upgrade: websocket\r\n', true, true],
    ['HTTP2-Settings: AAMAAABk\r\n', true, true],
  ])('with %j keeps the connection: %s, and must be rewritten: %s', (lines, keepAlive, hopByHop) => {
    expect(requestHead(withFields(lines))).toMatchObject({ keepAlive, hopByHop });
  });

  it('asks for an upgrade only where Connection names it', () => {
    expect(requestHead(withFields('Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n')).upgrade).toBe(
      'websocket',
    );
    expect(requestHead(withFields('Upgrade: websocket\r\nConnection: keep-alive\r\n')).upgrade).toBeUndefined();
    expect(requestHead(withFields('Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: upgrade\r\n')).upgrade).toBe(
      'h2c, websocket',
    );
  });

  it('expects 100 Continue in any case, but not in HTTP/1.0', () => {
    expect(requestHead(withFields('Expect: 100-Continue\r\n')).expectContinue).toBe(true);
    expect(requestHead(withFields('Expect: 100-continue\r\n', 'POST / HTTP/1.0\r\n')).expectContinue).toBe(false);
    expect(requestHead(withFields('Expect: other\r\n')).expectContinue).toBe(false);
  });

  it('is too large one byte over the cap, complete or not, and read at the cap', () => {
    const text = withFields('X: abc\r\n');
    const small = (maxHeadBytes: number) => ({ maxHeadBytes, maxHeaders: 256 });
    expect(request(text, small(text.length)).kind).toBe('head');
    expect(request(text, small(text.length - 1))).toMatchObject({ kind: 'bad', reason: 'header_too_large' });
    expect(request('GET /aaaaaaaaaa', small(10))).toMatchObject({ kind: 'bad', reason: 'header_too_large' });
    expect(request('GET /aaaaa', small(10)).kind).toBe('incomplete');
  });

  it('is too large one field over the cap, complete or not, and read at the cap', () => {
    const limits = (maxHeaders: number) => ({ maxHeadBytes: 65_536, maxHeaders });
    const text = withFields('A: 1\r\nB: 2\r\n');
    expect(request(text, limits(3)).kind).toBe('head');
    expect(request(text, limits(2))).toMatchObject({ kind: 'bad', reason: 'header_too_large' });
    expect(request(text.slice(0, -2), limits(2))).toMatchObject({ kind: 'bad', reason: 'header_too_large' });
    expect(request(text.slice(0, -2), limits(3)).kind).toBe('incomplete');
  });

  it('never depends on the bytes after it', () => {
    const text = withFields('Content-Length: 3\r\n');
    expect(requestHead(`${text}\n\0\xff`)).toEqual(requestHead(text));
  });
});

describe('a response head', () => {
  it('is read with status, reason and fields', () => {
    const text = 'HTTP/1.1 404 Not  Found\xe9\r\nServer: x\r\nContent-Length: 5\r\n\r\n';
    expect(response(`${text}hello`)).toEqual({
      kind: 'head',
      head: {
        status: 404,
        reason: 'Not  Found\xe9',
        minor: 1,
        headers: ['Server', 'x', 'Content-Length', '5'],
        framing: { kind: 'length', bytes: 5 },
        bytes: text.length,
        keepAlive: true,
        upgrade: undefined,
        hopByHop: false,
      },
    });
  });

  it('may leave out the reason, and the space before it', () => {
    expect(responseHead('HTTP/1.1 200 \r\n\r\n').reason).toBe('');
    expect(responseHead('HTTP/1.1 200\r\n\r\n').reason).toBe('');
  });

  it.each([
    ['a two-digit status', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a four-digit status', 'HTTP/1.1 2000 OK\r\n\r\n'],
    ['a status below 100', 'HTTP/1.1 099 OK\r\n\r\n'],
    ['a status that is no number', 'HTTP/1.1 2x0 OK\r\n\r\n'],
    ['two spaces before the status', 'HTTP/1.1  200 OK\r\n\r\n'],
    ['another version', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['another protocol', 'ICY 200 OK\r\n\r\n'],
    ['a control byte in the reason', 'HTTP/1.1 200 O\x00K\r\n\r\n'],
    ['bare CR in the status line', 'HTTP/1.1 200 OK\rX\r\n\r\n'],
    ['bare LF after the status line', 'HTTP/1.1 200 OK\n\r\n\r\n'],
    ['line folding', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nX : a\r\n\r\n'],
    ['both framings', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n'],
    ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['204 with a body announced', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n'],
    ['204 that is chunked', 'HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['103 with a body announced', 'HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n'],
    ['101 that is chunked', 'HTTP/1.1 101 Switching\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['Connection naming Content-Length', 'HTTP/1.1 200 OK\r\nConnection: content-length\r\n\r\n'],
  ])('is refused for %s, while its twin without that is read', (_, text) => {
    expect(response(text)).toMatchObject({ kind: 'bad', reason: 'bad_request' });
    expect(response('HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 5\r\n\r\n').kind).toBe('head');
  });

  it.each([
    ['200 without framing until the connection closes', 'GET', '200 OK', '', 'until_close', false],
    ['200 with a length', 'GET', '200 OK', 'Content-Length: 5\r\n', 'length', true],
    ['200 chunked', 'GET', '200 OK', 'Transfer-Encoding: chunked\r\n', 'chunked', true],
    ['the answer to HEAD never', 'HEAD', '200 OK', 'Content-Length: 5\r\n', 'none', true],
    ['the chunked answer to HEAD never', 'HEAD', '200 OK', 'Transfer-Encoding: chunked\r\n', 'none', true],
    ['204 never', 'GET', '204 No Content', '', 'none', true],
    ['204 with length 0 never', 'GET', '204 No Content', 'Content-Length: 0\r\n', 'none', true],
    ['304 never, whatever length it tells', 'GET', '304 Not Modified', 'Content-Length: 5\r\n', 'none', true],
    ['100 never', 'GET', '100 Continue', '', 'none', true],
    ['200 with close', 'GET', '200 OK', 'Content-Length: 5\r\nConnection: close\r\n', 'length', false],
  ])('has a body: %s', (_, method, status, lines, kind, keepAlive) => {
    const head = responseHead(`HTTP/1.1 ${status}\r\n${lines}\r\n`, method);
    expect([head.framing.kind, head.keepAlive]).toEqual([kind, keepAlive]);
  });

  it('of HTTP/1.0 keeps the connection only where it says so', () => {
    expect(responseHead('HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n').keepAlive).toBe(false);
    expect(responseHead('HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n').keepAlive).toBe(true);
  });

  it('tells the protocol that a 101 switches to', () => {
    const text = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n';
    expect(responseHead(text)).toMatchObject({ status: 101, upgrade: 'websocket', framing: { kind: 'none' } });
  });

  it('may name Transfer-Encoding in Connection, as some origins do', () => {
    const text = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, Transfer-Encoding\r\n\r\n';
    expect(responseHead(text)).toMatchObject({ framing: { kind: 'chunked' }, hopByHop: true });
  });
});
