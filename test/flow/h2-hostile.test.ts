/**
 * What an agent may write in HTTP/2 that HTTP/1.1 or another parser would read in another way (threats 2, 8, 10, 11):
 * frame by frame, since node:http2 refuses to send most of it. The origin sees no stream, and the next stream is served.
 */
import { describe, expect, it } from 'vitest';
import { CODE, dataFrame, type Fields, type H2Wire, headersFrame, rstFrame } from '../kit/h2-wire.ts';
import type { Origin } from '../kit/origin.ts';
import { fieldsOf, type H2Scene, startH2Scene } from './h2-scene.ts';

/** A GET with some pseudo-header fields put in the place of the usual ones, or left out. */
function pseudo(replaced: Readonly<Record<string, string | undefined>>, more: Fields = []): Fields {
  const usual = { ':method': 'GET', ':scheme': 'https', ':authority': 'api.test', ':path': '/evil', ...replaced };
  const present = Object.entries(usual).filter((field): field is [string, string] => field[1] !== undefined);
  return [...present, ...more];
}

/** Sends the good twin on the same connection, or on a new one where that has ended; the origin has seen it alone. */
async function onlyTwinArrives(scene: H2Scene<Origin>, wire: H2Wire, path = '/good'): Promise<void> {
  await using other = wire.socket.ended === undefined ? undefined : await scene.openWire();
  const alive = other ?? wire;
  await alive.send(headersFrame(99, fieldsOf('GET', path)));
  await alive.next('headers', 99);
  expect(scene.origin.heads.all.map(({ method, url }) => `${method} ${url}`)).toEqual([`GET ${path}`]);
}

describe('the host of a stream', () => {
  it.each([
    ['another host in :authority', pseudo({ ':authority': 'other.test' }), 421, 'misdirected_request'],
    ['another port in :authority', pseudo({ ':authority': 'api.test:8443' }), 421, 'misdirected_request'],
    ['a subdomain in :authority', pseudo({ ':authority': 'x.api.test' }), 421, 'misdirected_request'],
    ['an address in :authority', pseudo({ ':authority': '127.0.0.1' }), 421, 'misdirected_request'],
    ['two hosts in :authority', pseudo({ ':authority': 'api.test,other.test' }), 400, 'invalid_host'],
    ['a Host that differs from :authority', pseudo({}, [['host', 'other.test']]), 400, 'bad_request'],
    [
      'no :authority and another Host',
      pseudo({ ':authority': undefined }, [['host', 'other.test']]),
      421,
      'misdirected_request',
    ],
    ['the scheme http', pseudo({ ':scheme': 'http' }), 400, 'bad_request'],
    ['another scheme', pseudo({ ':scheme': 'ftp' }), 400, 'bad_request'],
  ] as const)('is refused on that stream alone where it has %s', async (_, fields, status, reason) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fields));
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', status, reason, method: 'GET' });
    await wire.next('headers', 1);
    await onlyTwinArrives(scene, wire);
  });

  it.each([
    ['in another case', pseudo({ ':authority': 'API.Test' })],
    ['with the dot of the root', pseudo({ ':authority': 'api.test.' })],
    ['with the default port', pseudo({ ':authority': 'api.test:443' })],
    ['in Host alone', pseudo({ ':authority': undefined }, [['host', 'api.test']])],
    ['in both', pseudo({}, [['host', 'api.test']])],
  ] as const)('is the same %s, and arrives in its one spelling', async (_, fields) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fields));
    const head = await scene.origin.heads.next();
    expect([head.header(':authority'), head.header('host')]).toEqual([[scene.api], []]);
  });
});

describe('a header section that RFC 9113 forbids', () => {
  const name = (text: string) => pseudo({}, [[text, 'x']]);
  const value = (text: string) => pseudo({}, [['x-a', text]]);
  it.each([
    ['two :path', pseudo({}, [[':path', '/second']])],
    ['two :method', [[':method', 'GET'] as const, ...pseudo({ ':method': 'POST' })]],
    ['two :authority', [[':authority', 'api.test'] as const, ...pseudo({})]],
    ['two :scheme', [[':scheme', 'https'] as const, ...pseudo({})]],
    ['no :method', pseudo({ ':method': undefined })],
    ['no :scheme', pseudo({ ':scheme': undefined })],
    ['no :path', pseudo({ ':path': undefined })],
    ['an empty :path', pseudo({ ':path': '' })],
    ['a :path that is a URL', pseudo({ ':path': 'https://api.test/evil' })],
    ['a :path that is a name', pseudo({ ':path': 'evil' })],
    ['* with GET', pseudo({ ':path': '*' })],
    ['neither :authority nor Host', pseudo({ ':authority': undefined })],
    ['user information in :authority', pseudo({ ':authority': 'api.test@other.test' })],
    ['an unknown pseudo-header field', pseudo({}, [[':proto', 'x']])],
    [':status', pseudo({}, [[':status', '200']])],
    [':protocol unasked', pseudo({}, [[':protocol', 'websocket']])],
    ['a pseudo-header field after a regular one', [['x-a', 'b'] as const, ...pseudo({})]],
    ['an upper-case name', name('X-Upper')],
    ['connection', name('connection')],
    ['keep-alive', name('keep-alive')],
    ['proxy-connection', name('proxy-connection')],
    ['upgrade', pseudo({}, [['upgrade', 'h2c']])],
    ['http2-settings', name('http2-settings')],
    ['transfer-encoding', pseudo({}, [['transfer-encoding', 'chunked']])],
    ['transfer_encoding', pseudo({}, [['transfer_encoding', 'chunked']])],
    ['te other than trailers', pseudo({}, [['te', 'gzip']])],
    [
      'two content-length',
      pseudo({ ':method': 'POST' }, [
        ['content-length', '0'],
        ['content-length', '0'],
      ]),
    ],
    ['a content-length with a sign', pseudo({ ':method': 'POST' }, [['content-length', '+0']])],
    [
      'two hosts',
      pseudo({}, [
        ['host', 'api.test'],
        ['host', 'api.test'],
      ]),
    ],
    ['CR LF in :path', pseudo({ ':path': '/\r\nx: y' })],
    ['a blank in :path', pseudo({ ':path': '/a b' })],
    ['a NUL in :path', pseudo({ ':path': '/\0' })],
    ['CR LF in :method', pseudo({ ':method': 'GET\r\n' })],
    ['a blank in :method', pseudo({ ':method': 'GET /x' })],
    ['CR LF in :authority', pseudo({ ':authority': 'api.test\r\nx: y' })],
  ] as const)('with %s opens no stream at the origin', async (_, fields: Fields) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fields));
    await wire.frames.next(({ stream, type }) => stream === 1 || type === 7);
    await onlyTwinArrives(scene, wire);
  });

  it.each([
    ['CR LF in a name', name('x-a\r\nx-b')],
    ['a NUL in a name', name('x-a\0')],
    ['a colon in a name', name('x-a:b')],
    ['a blank in a name', name('x-a b')],
    ['an empty name', name('')],
    ['CR LF in a value', value('b\r\nx-b: c')],
    ['LF in a value', value('b\nx-b: c')],
    ['CR in a value', value('b\rc')],
    ['a NUL in a value', value('b\0c')],
    ['a blank before a value', value(' b')],
    ['a tab after a value', value('b\t')],
  ] as const)('with %s brings no such field to the origin', async (_, fields) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fields), headersFrame(3, fieldsOf('GET', '/good', [['x-good', 'yes']])));
    await scene.origin.heads.some(({ url }) => url === '/good');
    const arrived = scene.origin.heads.all.flatMap(({ headers }) => headers.filter((text) => text.includes('x-')));
    expect(arrived).toEqual(['x-good']);
  });
});

describe('the path of a stream', () => {
  it.each([
    '/a/../b',
    '/..',
    '/a/./b',
    '/a/%2e%2e/b',
    '/%2E/b',
    '/a/..;x/b',
    '/a\\..\\b',
    '/a\\b',
    '/\u00e9',
    '/%zz',
    '/a#b',
  ])('as %s is refused as ambiguous', async (path) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('GET', path)));
    const record = await Promise.race([scene.proxy.nextRecord(), wire.next('rst', 1)]);
    if ('verdict' in record) expect(record).toMatchObject({ verdict: 'failed', status: 400 });
    await onlyTwinArrives(scene, wire);
  });

  it.each([
    ['/a/%41%7E', '/a/A~'],
    ['/a%2Fb/%2f', '/a%2Fb/%2F'],
    ['//a//b', '//a//b'],
    ['/a;b=c/d', '/a;b=c/d'],
    ['/a?x=../..&y=%2e', '/a?x=../..&y=.'],
  ])('as %s is forwarded as %s', async (path, forwarded) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('GET', path)));
    expect((await scene.origin.heads.next()).url).toBe(forwarded);
  });
});

describe('a request that is not whole', () => {
  it.each([
    ['longer than its content-length', 'abcdef', true],
    ['shorter than its content-length', 'abc', true],
    ['reset with NO_ERROR in its middle', 'abc', false],
  ] as const)('is never whole at the origin: %s', async (_, body, endStream) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    const post = (stream: number) =>
      headersFrame(stream, fieldsOf('POST', `/echo?${stream}`, [['content-length', '5']]), { endStream: false });
    await wire.send(post(1));
    await scene.origin.heads.next();
    await wire.send(dataFrame(1, body, endStream), ...(endStream ? [] : [rstFrame(1, CODE.none)]));
    await scene.origin.aborted.next();
    // A length that is exceeded is an error of the connection to node:http2, one that is not reached of the stream.
    await using other = await scene.openWire();
    await other.send(post(3), dataFrame(3, 'abcde', true));
    await other.next('headers', 3);
    expect(scene.origin.requests.all.map(({ url, bodyBytes }) => `${url} ${bodyBytes}`)).toEqual(['/echo?3 5']);
  });

  it.each(['content-length', 'host', 'authorization', 'transfer-encoding', 'te'])(
    'because of %s among its trailers is never whole at the origin',
    async (field) => {
      await using scene = await startH2Scene();
      await using wire = await scene.openWire();
      const post = headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false });
      await wire.send(post, dataFrame(1, 'x'));
      await scene.origin.heads.next();
      await wire.send(headersFrame(1, [[field, 'trailers']]));
      await scene.origin.aborted.next();
      expect(scene.origin.requests.count).toBe(0);
      await wire.send(
        headersFrame(3, fieldsOf('POST', '/good'), { endStream: false }),
        headersFrame(3, [['x-sum', '1']]),
      );
      expect((await scene.origin.nextRequest()).trailers).toEqual(['x-sum', '1']);
    },
  );
});
