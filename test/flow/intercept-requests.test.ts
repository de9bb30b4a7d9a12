/**
 * Each request of an intercepted connection by itself: decided afresh, for the connection's own host alone, in the one
 * spelling that is forwarded (S011-FR-010; threats 2, 8, 9, 11). Asserted at the origin: what is refused brings it no byte.
 */
import { describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import {
  ask,
  blockRule,
  type InterceptScene,
  interceptRule,
  refusalOf,
  startInterceptScene,
} from './intercept-scene.ts';

const ALL_BUT_ADMIN = rulesFile(
  blockRule('admin', 'http.host == "api.test" && http.path.startsWith("/admin")'),
  interceptRule('rest', 'http.host == "api.test"'),
);

const urls = (scene: InterceptScene) => scene.origin.heads.all.map(({ url }) => url);

describe('a kept intercepted connection', () => {
  it('has each request decided by itself: the second is refused, and the connection ends', async () => {
    await using scene = await startInterceptScene({ rules: ALL_BUT_ADMIN });
    await using agent = await scene.open();
    expect((await ask(agent, '/1')).status).toBe(200);
    expect((await ask(agent, '/2')).status).toBe(200);
    const bytes = scene.origin.bytes;
    expect(refusalOf(await ask(agent, '/admin'))).toEqual([403, 'admin']);
    expect(await agent.untilEnded()).toBe('FIN');
    expect(scene.origin.bytes).toBe(bytes);
    expect(urls(scene)).toEqual(['/1', '/2']);
    expect(scene.origin.connections).toBe(1);
  });

  it('answers pipelined requests in order, and what follows a refused one is never read', async () => {
    await using scene = await startInterceptScene({ rules: ALL_BUT_ADMIN });
    await using agent = await scene.open();
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: api.test\r\n\r\n`;
    await agent.send(get('/1') + get('/2') + get('/admin') + get('/3'));
    expect((await agent.readReply()).status).toBe(200);
    expect((await agent.readReply()).status).toBe(200);
    expect((await agent.readReply()).status).toBe(403);
    expect((await agent.readToEnd()).length).toBe(0);
    expect(urls(scene)).toEqual(['/1', '/2']);
  });

  it.each([
    ['another host', 'Host: other.test', 421],
    ['a subdomain', 'Host: x.api.test', 421],
    ['another port', 'Host: api.test:1', 421],
    ['the address', 'Host: 127.0.0.1', 421],
    ['no host', 'X-Host: api.test', 400],
    ['an empty host', 'Host:', 400],
    ['two hosts', 'Host: api.test\r\nHost: api.test', 400],
    ['two hosts that differ', 'Host: api.test\r\nHost: other.test', 400],
    ['a host with userinfo', 'Host: x@api.test', 400],
    ['a host with a NUL', 'Host: api.test\0.other.test', 400],
  ])('refuses a second request with %s, and the origin gets no byte of it', async (_, field, status) => {
    const rules = rulesFile(interceptRule('all', 'domain(http.host, "test")'));
    await using scene = await startInterceptScene({ rules });
    await using agent = await scene.open();
    expect((await ask(agent, '/1')).status).toBe(200);
    const { bytes, connections } = scene.origin;
    await agent.send(`GET /2 HTTP/1.1\r\n${field}\r\n\r\n`);
    expect((await agent.readReply()).status).toBe(status);
    await agent.untilEnded();
    expect([scene.origin.bytes, scene.origin.connections]).toEqual([bytes, connections]);
    expect(await scene.proxy.nextRecord(({ verdict }) => verdict === 'failed')).toMatchObject({
      reason: status === 421 ? 'misdirected_request' : expect.stringMatching(/^(bad_request|invalid_host)$/),
      subsystem: 'proxy_intercept',
      status,
    });
  });

  it.each(['api.test', 'API.TEST', 'api.test.', 'api.test:443', 'api.test:%P'])(
    'takes Host %s for its own, and the origin reads the canonical one',
    async (host) => {
      await using scene = await startInterceptScene();
      await using agent = await scene.open();
      const field = `Host: ${host.replace('%P', String(scene.origin.port))}`;
      expect((await agent.request({ target: '/', headers: [field] })).status).toBe(200);
      expect((await scene.origin.nextRequest()).header('host')).toEqual([scene.api]);
    },
  );

  it.each([
    ['CONNECT to elsewhere', 'CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n', 405],
    ['CONNECT to the same host', 'CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n', 405],
    ['TRACE', 'TRACE / HTTP/1.1\r\nHost: api.test\r\n\r\n', 405],
    ['a method in lower case', 'delete / HTTP/1.1\r\nHost: api.test\r\n\r\n', 405],
    ['absolute form to elsewhere', 'GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n', 421],
    ['absolute form behind the right Host', 'GET http://other.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n', 400],
    ['absolute form of its own', 'GET https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n', 400],
    ['a target without a slash', 'GET admin HTTP/1.1\r\nHost: api.test\r\n\r\n', 400],
    ['an asterisk', 'GET * HTTP/1.1\r\nHost: api.test\r\n\r\n', 400],
    ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['an upgrade to h2c', 'GET / HTTP/1.1\r\nHost: api.test\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n', 400],
    [
      'an upgrade to anything else',
      'GET / HTTP/1.1\r\nHost: api.test\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\n',
      400,
    ],
  ])('refuses %s', async (_, bytes, status) => {
    const rules = rulesFile(interceptRule('all', 'domain(http.host, "test")'));
    await using scene = await startInterceptScene({ rules });
    await using agent = await scene.open();
    await agent.send(bytes);
    expect((await agent.readReply()).status).toBe(status);
    await agent.untilEnded();
    expect(scene.origin.bytes).toBe(0);
    await using twin = await scene.open();
    expect((await ask(twin, '/')).status).toBe(200);
    expect((await ask(twin, '*', { method: 'OPTIONS' })).status).toBe(200);
    expect(scene.origin.requests.all.map(({ method, url }) => `${method} ${url}`)).toEqual(['GET /', 'OPTIONS *']);
  });
});

describe('a path inside TLS', () => {
  it.each([
    ['dot segments', '/x/../admin'],
    ['a dot segment', '/./admin'],
    ['encoded dots', '/x/%2e%2e/admin'],
    ['one encoded dot', '/x/.%2E/admin'],
    ['dots encoded twice', '/x/%252e%252e/admin'],
    ['an encoded slash after dots', '/x/..%2fadmin'],
    ['dots with parameters', '/x/..;a=b/admin'],
    ['a backslash', '/x\\..\\admin'],
    ['an encoded backslash', '/x%5c..%5cadmin'],
    ['an overlong dot', '/x/%c0%ae%c0%ae/admin'],
    ['an encoded NUL', '/admin%00'],
    ['an encoded CR LF', '/x%0d%0aGET /admin'],
    ['a raw byte above ASCII', '/\xe9'],
    ['a malformed escape', '/%zz'],
    ['a fragment', '/x#/admin'],
  ])('with %s is refused with 400 and brings the origin no byte', async (_, path) => {
    await using scene = await startInterceptScene({ rules: ALL_BUT_ADMIN });
    await using agent = await scene.open();
    await agent.send(`GET ${path} HTTP/1.1\r\nHost: api.test\r\n\r\n`);
    const reply = await agent.readReply();
    expect(refusalOf(reply)).toEqual([400, expect.stringMatching(/^(ambiguous_request|bad_request)$/)]);
    await agent.untilEnded();
    expect(scene.origin.bytes).toBe(0);
    await using twin = await scene.open();
    expect((await ask(twin, '/x/admin')).status).toBe(200);
  });

  it.each([
    ['escapes that need none', '/%61dmin', 403, undefined],
    ['doubled slashes', '//admin', 403, undefined],
    ['another case of the word', '/ADMIN', 200, '/ADMIN'],
    ['escapes that need none, elsewhere', '/%78%2d%7e', 200, '/x-~'],
    ['an encoded slash, which stays', '/@scope%2fadmin', 200, '/@scope%2Fadmin'],
    ['doubled slashes elsewhere, which stay', '/x//y', 200, '/x//y'],
    ['dots that are no segment', '/x/..y/.z', 200, '/x/..y/.z'],
    ['parameters', '/x;a=b', 200, '/x;a=b'],
    ['dots in a query', '/x?p=/../admin', 200, '/x?p=/../admin'],
  ])('with %s is decided in the spelling that the origin reads', async (_, path, status, forwarded) => {
    await using scene = await startInterceptScene({ rules: ALL_BUT_ADMIN });
    await using agent = await scene.open();
    expect((await ask(agent, path)).status).toBe(status);
    expect(urls(scene)).toEqual(forwarded === undefined ? [] : [forwarded]);
    if (forwarded === undefined) expect(scene.origin.bytes).toBe(0);
  });
});

describe('a request head inside TLS', () => {
  it('reaches the origin byte for byte where nothing has to change', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    const fields = ['X-Mixed-CASE: a  b', 'x-empty:', 'Cookie: a=1', 'Cookie: b=2', 'Accept: */*', 'X-Latin: caf\xe9'];
    await agent.send(`GET /a?b=c HTTP/1.1\r\nHost: ${scene.api}\r\n${fields.join('\r\n')}\r\n\r\n`);
    expect((await agent.readReply()).status).toBe(200);
    const { headers } = await scene.origin.nextRequest();
    const lines = headers.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${headers[i + 1]}`.trimEnd()] : []));
    expect(lines).toEqual([`Host: ${scene.api}`, ...fields]);
  });

  it('loses what is for the connection alone', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    const headers = ['Connection: keep-alive, X-Absent', 'Keep-Alive: timeout=5', 'Proxy-Authorization: x'];
    expect((await ask(agent, '/', { headers: [...headers, 'X-End: 1'] })).status).toBe(200);
    const names = (await scene.origin.nextRequest()).headers.filter((_, i) => i % 2 === 0);
    expect(names.map((name) => name.toLowerCase())).toEqual(['host', 'x-end']);
  });

  it.each([
    ['Content-Length beside Transfer-Encoding', 'Content-Length: 4\r\nTransfer-Encoding: chunked', '0\r\n\r\n'],
    ['two Content-Lengths', 'Content-Length: 4\r\nContent-Length: 4', 'abcd'],
    ['an unknown transfer coding', 'Transfer-Encoding: gzip, chunked', '0\r\n\r\n'],
    ['a folded line', 'X-A: b\r\n c', ''],
    ['a bare LF', 'X-A: b\nX-B: c', ''],
    ['a space before a colon', 'X-A : b', ''],
    ['Connection naming a field that rules may have seen', 'Connection: x-a\r\nX-A: b', ''],
  ])('with %s is refused, and what follows on the connection is never read', async (_, fields, body) => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n';
    await agent.send(`POST / HTTP/1.1\r\nHost: api.test\r\n${fields}\r\n\r\n${body}${smuggled}`);
    expect((await agent.readReply()).status).toBe(400);
    expect((await agent.readToEnd()).length).toBe(0);
    expect(scene.origin.bytes).toBe(0);
    await using twin = await scene.open();
    expect((await ask(twin, '/', { method: 'POST', body: 'abcd' })).status).toBe(200);
  });
});
