import { describe, expect, it } from 'vitest';
import { h2TrailerProblem, readH2RequestHeaders, readH2ResponseHead } from '../../../src/wire/http2-headers.ts';

const PSEUDO = [':method', 'GET', ':scheme', 'https', ':authority', 'example.com', ':path', '/a?b'];
const ok = (raw: readonly string[]) => expect(readH2RequestHeaders(raw)).toMatchObject({ ok: true });

/** The pseudo-header fields with some replaced; undefined leaves one out. */
function pseudo(changes: Record<string, string | undefined>): string[] {
  const all = { ':method': 'GET', ':scheme': 'https', ':authority': 'example.com', ':path': '/', ...changes };
  return Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
}

describe('an HTTP/2 request', () => {
  it('is its pseudo-header fields and its regular ones in order', () => {
    expect(
      readH2RequestHeaders([...PSEUDO, 'cookie', 'a=1', 'cookie', 'b=2', 'x-text', 'caf\xe9', 'x-empty', '']),
    ).toEqual({
      ok: true,
      value: {
        method: 'GET',
        scheme: 'https',
        authority: 'example.com',
        path: '/a?b',
        protocol: undefined,
        headers: ['cookie', 'a=1', 'cookie', 'b=2', 'x-text', 'caf\xe9', 'x-empty', ''],
      },
    });
  });

  it.each([
    ['CR in a name', ['x\r', 'a']],
    ['LF in a name', ['x\ny', 'a']],
    ['a colon in a name', ['x:y', 'a']],
    ['NUL in a name', ['x\0', 'a']],
    ['a space in a name', ['x y', 'a']],
    ['an empty name', ['', 'a']],
    ['an upper-case name', ['X-A', 'a']],
    ['a non-ASCII name', ['x\xe9', 'a']],
    ['CR LF in a value', ['x', 'a\r\nHost: b']],
    ['bare LF in a value', ['x', 'a\nb']],
    ['NUL in a value', ['x', 'a\0']],
    ['a control byte in a value', ['x', 'a\x01b']],
    ['a character above a byte', ['x', 'a\u010a']],
    ['white space before a value', ['x', ' a']],
    ['white space after a value', ['x', 'a\t']],
    ['connection', ['connection', 'close']],
    ['keep-alive', ['keep-alive', 'timeout=5']],
    ['proxy-connection', ['proxy-connection', 'close']],
    ['transfer-encoding', ['transfer-encoding', 'chunked']],
    ['transfer_encoding', ['transfer_encoding', 'chunked']],
    ['content_length', ['content_length', '1']],
    ['upgrade', ['upgrade', 'websocket']],
    ['http2-settings', ['http2-settings', 'AAMAAABk']],
    ['te other than trailers', ['te', 'gzip']],
    ['te with more than trailers', ['te', 'trailers, gzip']],
    ['content-length twice', ['content-length', '1', 'content-length', '1']],
    ['content-length that is no number', ['content-length', '1x']],
    ['content-length with a sign', ['content-length', '+1']],
    ['a pseudo-header field after a regular one', ['x', 'a', ':path', '/b']],
    ['a pseudo-header field twice', [':path', '/a?b']],
    [':method twice', [':method', 'GET']],
    ['an unknown pseudo-header field', [':x', 'a']],
    ['a response pseudo-header field', [':status', '200']],
    ['host other than :authority', ['host', 'other.com']],
    ['host twice', ['host', 'example.com', 'host', 'example.com']],
    ['a field without a value', ['x']],
  ])('is refused for %s, and not without it', (_, fields) => {
    expect(readH2RequestHeaders([...PSEUDO, ...fields])).toMatchObject({
      ok: false,
      detail: expect.stringMatching(/^[ -~]+$/),
    });
    ok([...PSEUDO, 'x', 'a', 'te', 'trailers', 'content-length', '1', 'host', 'example.com']);
  });

  it.each([
    ['no :method', { ':method': undefined }],
    ['no :scheme', { ':scheme': undefined }],
    ['no :path', { ':path': undefined }],
    ['no :authority and no host', { ':authority': undefined }],
    ['an empty :path', { ':path': '' }],
    ['an empty :authority', { ':authority': '' }],
    ['a method that is no token', { ':method': 'GET /x HTTP/1.1' }],
    ['a space in :path', { ':path': '/a b' }],
    ['CR LF in :path', { ':path': '/ HTTP/1.1\r\nHost: b' }],
    ['non-ASCII in :path', { ':path': '/\xe9' }],
    ['LF in :authority', { ':authority': 'a\nb' }],
    [':path in absolute form', { ':path': 'https://example.com/' }],
    [':path * without OPTIONS', { ':path': '*' }],
    [':protocol without CONNECT', { ':protocol': 'websocket' }],
    ['CONNECT with :path', { ':method': 'CONNECT', ':scheme': undefined }],
    ['CONNECT with :scheme', { ':method': 'CONNECT', ':path': undefined }],
  ])('is refused for %s', (_, changes) => {
    expect(readH2RequestHeaders(pseudo(changes)).ok).toBe(false);
    ok(pseudo({}));
  });

  it('is refused where a pseudo-header field comes after a regular one, though it comes once', () => {
    const rest = pseudo({ ':path': undefined });
    expect(readH2RequestHeaders([...rest, 'x', 'a', ':path', '/']).ok).toBe(false);
    expect(readH2RequestHeaders([...rest, 'host', 'example.com', ':path', '/']).ok).toBe(false);
    ok([...rest, ':path', '/', 'x', 'a']);
  });

  it('may name its host by the host field alone', () => {
    expect(readH2RequestHeaders([...pseudo({ ':authority': undefined }), 'host', 'example.com'])).toMatchObject({
      ok: true,
      value: { authority: 'example.com', headers: [] },
    });
  });

  it('may be OPTIONS *', () => {
    expect(readH2RequestHeaders(pseudo({ ':method': 'OPTIONS', ':path': '*' }))).toMatchObject({
      ok: true,
      value: { path: '*' },
    });
  });

  it('may be an extended CONNECT, and tells its protocol', () => {
    expect(readH2RequestHeaders(pseudo({ ':method': 'CONNECT', ':protocol': 'websocket' }))).toMatchObject({
      ok: true,
      value: { method: 'CONNECT', protocol: 'websocket', path: '/' },
    });
  });

  it('that is a plain CONNECT has no path that could be forwarded', () => {
    const raw = pseudo({ ':method': 'CONNECT', ':scheme': undefined, ':path': undefined });
    expect(readH2RequestHeaders(raw)).toMatchObject({ ok: true, value: { method: 'CONNECT', scheme: '', path: '' } });
  });
});

describe('the head of an HTTP/2 response', () => {
  it('is its status and its length', () => {
    const head = [':status', '200', 'content-length', '12', 'set-cookie', 'a', 'set-cookie', 'b', 'x-empty', ''];
    expect(readH2ResponseHead(head)).toEqual({ ok: true, value: { status: 200, length: 12 } });
    expect(readH2ResponseHead([':status', '103', 'link', '</a>'])).toEqual({
      ok: true,
      value: { status: 103, length: undefined },
    });
    expect(readH2ResponseHead([':status', '204', 'content-length', '0'])).toMatchObject({ ok: true });
  });

  it.each([
    ['no status', ['x-a', 'b']],
    ['nothing', []],
    ['a status behind a field', ['x-a', 'b', ':status', '200']],
    ['two', [':status', '200', ':status', '200']],
    ['a status of two digits', [':status', '20']],
    ['a status with a sign', [':status', '+20']],
    ['status 101', [':status', '101']],
    ['another pseudo-header field', [':status', '200', ':path', '/']],
    ['an upper-case name', [':status', '200', 'X-A', 'b']],
    ['CR LF in a value', [':status', '200', 'x-a', 'b\r\nc: d']],
    ['connection', [':status', '200', 'connection', 'close']],
    ['transfer-encoding', [':status', '200', 'transfer-encoding', 'chunked']],
    ['two lengths', [':status', '200', 'content-length', '1', 'content-length', '1']],
    ['a length that is none', [':status', '200', 'content-length', '1, 1']],
    ['a length with 204', [':status', '204', 'content-length', '1']],
    ['a length with 100', [':status', '100', 'content-length', '0']],
  ])('is refused for %s', (_, head) => {
    expect(readH2ResponseHead(head)).toMatchObject({ ok: false, detail: expect.any(String) });
  });
});

describe('the trailers of an HTTP/2 message', () => {
  it.each([
    ['a pseudo-header field', 'response', [':status', '200'], ['status', '200']],
    ['te other than trailers', 'response', ['te', 'gzip'], ['te', 'trailers']],
    ['a field that frames the message', 'response', ['content-length', '1'], ['x-length', '1']],
    ['a connection-specific field', 'response', ['keep-alive', '1'], ['x-alive', '1']],
    ['an upper-case name', 'request', ['X-A', '1'], ['x-a', '1']],
    ['a field for a head alone', 'request', ['authorization', 'a'], ['x-authorization', 'a']],
    ['a line end in a value', 'request', ['x-a', 'a\r\nb'], ['x-a', 'a b']],
  ] as const)('with %s are refused', (_, message, bad, good) => {
    expect(h2TrailerProblem(['x-ok', '1', ...bad], message)).toEqual(expect.any(String));
    expect(h2TrailerProblem(['x-ok', '1', ...good], message)).toBeUndefined();
  });
});
