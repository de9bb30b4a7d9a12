/**
 * What is malformed, ambiguous or too much, tried at the explicit port and inside a tunnel in plain HTTP, and asserted at
 * the origin: not one byte of it arrives (threats 4, 5, 6, 8, 9, 37). Each case has a well-formed twin.
 */
import { describe, expect, it } from 'vitest';
import { connectTunnel, type Door, openAgent } from '../kit/agent.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { rulesFile } from '../kit/rules.ts';
import { NOTHING_WENT_OUT, startScene, untouched } from './scene.ts';

const ALLOW_ALL = rulesFile("{ id: all, condition: 'true', action: allow }");
/** Far beyond what a test takes in real time, on which the test clock runs as well. */
const HEAD_DEADLINE_MS = 1_000_000;
const STEP_MS = 100_000;

describe('a CONNECT target', () => {
  it.each([
    ['no port', 'api.test'],
    ['an empty port', 'api.test:'],
    ['port 0', 'api.test:0'],
    ['a port past the last', 'api.test:65536'],
    ['a signed port', 'api.test:+443'],
    ['a port with a leading zero', 'api.test:0443'],
    ['a port in words', 'api.test:https'],
    ['two ports', 'api.test:443:443'],
    ['no host', ':443'],
    ['userinfo', 'user@api.test:443'],
    ['a path', 'api.test:443/x'],
    ['a scheme', 'https://api.test:443'],
    ['a NUL', 'api.test\0.other.test:443'],
    ['an encoded NUL', 'api.test%00.other.test:443'],
    ['an encoded CR LF', 'api.test%0d%0aHost:443'],
    ['a bare LF', 'api.test\n:443'],
    ['a bare CR', 'api.test\r:443'],
    ['a space', 'api .test:443'],
    ['a tab', 'api.test\t:443'],
    ['DEL', 'api.test\x7f:443'],
    ['raw UTF-8', 'b\xc3\xbccher.test:443'],
    ['two dots', 'api..test:443'],
    ['two trailing dots', 'api.test..:443'],
    ['a leading dot', '.api.test:443'],
    ['a label of 64', `${'a'.repeat(64)}.test:443`],
    ['a name of 254', `${'a'.repeat(61)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(64)}:443`],
    ['a wildcard', '*.test:443'],
    ['decimal IPv4', '2130706433:443'],
    ['hexadecimal IPv4', '0x7f000001:443'],
    ['hexadecimal parts', '0x7f.0.0.1:443'],
    ['octal IPv4', '0177.0.0.1:443'],
    ['leading zeros', '127.000.000.001:443'],
    ['short IPv4', '127.1:443'],
    ['five parts', '127.0.0.1.1:443'],
    ['IPv4 with a trailing dot', '127.0.0.1.:443'],
    ['IPv6 without brackets', '::1:443'],
    ['an IPv6 zone', '[fe80::1%eth0]:443'],
    ['an encoded IPv6 zone', '[fe80::1%25eth0]:443'],
    ['half a bracket', '[::1:443'],
    ['IPv4 in brackets', '[127.0.0.1]:443'],
    ['a name in brackets', '[api.test]:443'],
    ['the future form', '[v1.api.test]:443'],
    ['a backslash', 'api.test\\@other.test:443'],
    ['a fragment', 'api.test#other.test:443'],
    ['a question mark', 'api.test?other.test:443'],
  ])('with %s is refused with 400, and nothing is resolved or dialled', async (_, target) => {
    await using scene = await startScene({ rules: ALLOW_ALL });
    await using agent = await openAgent(scene.proxy);
    await agent.send(`CONNECT ${target} HTTP/1.1\r\nHost: api.test\r\n\r\n`);
    const reply = await agent.readReply('CONNECT');
    expect(reply.status).toBe(400);
    expect(fieldOf(reply.headers, 'x-outcall-failure-reason')).toMatch(/^(invalid_host|bad_request)$/);
    expect(await agent.untilEnded()).toBe('FIN');
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    const record = await scene.proxy.nextRecord();
    expect(record).toMatchObject({ verdict: 'failed', upstream: null, bytes_up: 0 });
    expect(JSON.stringify(record)).not.toMatch(/\\u0000|\\n|\\r|\\t/);
  });

  it.each([
    ['upper case', 'API.Test'],
    ['a trailing dot', 'api.test.'],
    ['the address', '127.0.0.1'],
  ])('in %s is the same host in its canonical form', async (_, host) => {
    await using scene = await startScene({ rules: ALLOW_ALL });
    await using tunnel = await connectTunnel(scene.proxy, `${host}:${scene.origin.port}`);
    expect(tunnel.reply.status).toBe(200);
    const asked = scene.proxy.resolver.queries.all.map((query) => query.name);
    expect(new Set(asked)).toEqual(new Set(host === '127.0.0.1' ? [] : ['api.test']));
  });

  it('comes alone: a CONNECT with a body, or with Transfer-Encoding, is refused', async () => {
    await using scene = await startScene({ rules: ALLOW_ALL });
    for (const field of ['Content-Length: 4', 'Transfer-Encoding: chunked']) {
      await using refused = await connectTunnel(scene.proxy, scene.api, { headers: [field] });
      expect(refused.reply.status).toBe(400);
    }
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    await using twin = await connectTunnel(scene.proxy, scene.api, { headers: ['Content-Length: 0'] });
    expect([200, 400]).toContain(twin.reply.status);
  });
});

/** Heads to plain.test; `%P` is the port of the origin. Each must be refused before a byte of it goes out. */
const BAD_HEADS: readonly (readonly [string, string])[] = [
  ['two Host fields', 'GET %U/ HTTP/1.1\r\nHost: %H\r\nHost: %H\r\n\r\n'],
  ['two Host fields that differ', 'GET %U/ HTTP/1.1\r\nHost: %H\r\nHost: other.test\r\n\r\n'],
  [
    'Content-Length and Transfer-Encoding',
    'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  [
    'two Content-Lengths that differ',
    'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde',
  ],
  ['two equal Content-Lengths', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd'],
  ['a list of Content-Lengths', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: 4, 4\r\n\r\nabcd'],
  ['a signed Content-Length', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: +4\r\n\r\nabcd'],
  ['a hexadecimal Content-Length', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: 0x4\r\n\r\nabcd'],
  ['a Content-Length past 2^53', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: 99999999999999999999\r\n\r\n'],
  ['a negative Content-Length', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: -1\r\n\r\n'],
  ['an unknown transfer coding', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  [
    'chunked that is not last',
    'POST %U/ HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n',
  ],
  [
    'chunked twice',
    'POST %U/ HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['a transfer coding in disguise', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
  ['a vertical tab before chunked', 'POST %U/ HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n'],
  ['Transfer-Encoding in HTTP/1.0', 'POST %U/ HTTP/1.0\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a space before the colon', 'GET %U/ HTTP/1.1\r\nHost: %H\r\nX-A : b\r\n\r\n'],
  ['a space before a field name', 'GET %U/ HTTP/1.1\r\n Host: %H\r\n\r\n'],
  ['obs-fold', 'GET %U/ HTTP/1.1\r\nHost: %H\r\nX-A: b\r\n c\r\n\r\n'],
  ['a bare LF in the head', 'GET %U/ HTTP/1.1\r\nHost: %H\nX-A: b\r\n\r\n'],
  ['bare LF everywhere', 'GET %U/ HTTP/1.1\nHost: %H\n\n'],
  ['a bare CR in a value', 'GET %U/ HTTP/1.1\r\nHost: %H\r\nX-A: b\rc\r\n\r\n'],
  ['a NUL in a value', 'GET %U/ HTTP/1.1\r\nHost: %H\r\nX-A: b\0c\r\n\r\n'],
  ['a NUL in a name', 'GET %U/ HTTP/1.1\r\nHost: %H\r\nX\0A: b\r\n\r\n'],
  ['an empty name', 'GET %U/ HTTP/1.1\r\nHost: %H\r\n: b\r\n\r\n'],
  ['a field without a colon', 'GET %U/ HTTP/1.1\r\nHost: %H\r\nnonsense\r\n\r\n'],
  ['two spaces in the request line', 'GET  %U/ HTTP/1.1\r\nHost: %H\r\n\r\n'],
  ['no version', 'GET %U/\r\nHost: %H\r\n\r\n'],
  ['HTTP/1.2', 'GET %U/ HTTP/1.2\r\nHost: %H\r\n\r\n'],
  ['HTTP/2.0', 'GET %U/ HTTP/2.0\r\nHost: %H\r\n\r\n'],
  ['a lower-case version', 'GET %U/ http/1.1\r\nHost: %H\r\n\r\n'],
  ['a method that is no token', 'G@T %U/ HTTP/1.1\r\nHost: %H\r\n\r\n'],
  [
    'Connection naming Content-Length',
    'POST %U/ HTTP/1.1\r\nHost: %H\r\nConnection: content-length\r\nContent-Length: 4\r\n\r\nabcd',
  ],
  ['a fragment', 'GET %U/#x HTTP/1.1\r\nHost: %H\r\n\r\n'],
];

describe('a request head', () => {
  it.each(BAD_HEADS)(
    'with %s is refused with 400, closes the connection, and the origin gets no byte',
    async (_, text) => {
      await using scene = await startScene({ rules: ALLOW_ALL });
      await using agent = await openAgent(scene.proxy);
      const smuggled = `GET ${scene.plainUrl}/smuggled HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`;
      await agent.send(filled(text, scene.plainUrl) + smuggled);
      expect((await agent.readReply()).status).toBe(400);
      expect((await agent.readToEnd()).length).toBe(0);
      expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
      expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed' });
    },
  );

  it('of the plain kind goes through, so that the cases above fail for their one difference', async () => {
    await using scene = await startScene({ rules: ALLOW_ALL });
    for (const text of [
      'GET %U/ HTTP/1.1\r\nHost: %H\r\nX-A: b\r\n\r\n',
      'POST %U/ HTTP/1.1\r\nHost: %H\r\nContent-Length: 4\r\n\r\nabcd',
      'POST %U/ HTTP/1.1\r\nHost: %H\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n',
      'PURGE %U/ HTTP/1.1\r\nhost:%H\r\nX-Latin: caf\xe9\r\n\r\n',
    ]) {
      await using agent = await openAgent(scene.proxy);
      await agent.send(filled(text, scene.plainUrl));
      expect((await agent.readReply()).status).toBe(200);
    }
    expect(scene.plain.requests.count).toBe(4);
  });

  it.each([
    ['a chunk size that is no number', 'x\r\nabc\r\n0\r\n\r\n'],
    ['a chunk longer than it says', '2\r\nabc\r\n0\r\n\r\n'],
    ['a bare LF after the size', '3\nabc\r\n0\r\n\r\n'],
    ['a chunk size past 2^53', 'ffffffffffffffffff\r\n'],
    ['a chunk extension with a bare LF', '3;a=\nb\r\nabc\r\n0\r\n\r\n'],
    ['white space before the size', ' 3\r\nabc\r\n0\r\n\r\n'],
    ['a signed size', '+3\r\nabc\r\n0\r\n\r\n'],
    ['a size in 0x form', '0x3\r\nabc\r\n0\r\n\r\n'],
  ])('followed by %s ends there: the next request on the connection is never read', async (_, body) => {
    await using scene = await startScene({ rules: ALLOW_ALL });
    await using agent = await openAgent(scene.proxy);
    const host = `plain.test:${scene.plain.port}`;
    const head = `POST ${scene.plainUrl}/ HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    await agent.send(`${head}${body}GET ${scene.plainUrl}/smuggled HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    expect((await agent.readReply()).status).toBe(400);
    await agent.untilEnded();
    expect(scene.plain.requests.all.map((request) => request.url)).not.toContain('/smuggled');
    expect(scene.plain.requests.count).toBe(0);
  });

  it('past its caps is refused with 431, and under them goes through', async () => {
    await using scene = await startScene({ rules: ALLOW_ALL, options: { maxHeadBytes: 4_096, maxHeaders: 16 } });
    const send = async (fields: string) => {
      const agent = await openAgent(scene.proxy);
      await agent.send(`GET ${scene.plainUrl}/ HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n${fields}\r\n`);
      const { status } = await agent.readReply();
      await agent[Symbol.asyncDispose]();
      return status;
    };
    expect(await send(`X-Long: ${'a'.repeat(4_096)}\r\n`)).toBe(431);
    expect(await send(`X-Endless: ${'a'.repeat(8_192)}`)).toBe(431);
    expect(await send('A: b\r\n'.repeat(16))).toBe(431);
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    expect(await send(`X-Long: ${'a'.repeat(3_000)}\r\n`)).toBe(200);
    expect(await send('A: b\r\n'.repeat(15))).toBe(200);
  });

  it('must be whole by an absolute deadline from its first byte: 408, whatever drips in meanwhile', async () => {
    await using scene = await startScene({ rules: ALLOW_ALL, options: { headTimeoutMs: HEAD_DEADLINE_MS } });
    await using slow = await openAgent(scene.proxy);
    await using intime = await openAgent(scene.proxy);
    const head = `GET ${scene.plainUrl}/ HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`;
    for (const agent of [slow, intime]) await agent.send(head.slice(0, 10));
    await healthy(scene.proxy); // By now those bytes have been read.
    await scene.proxy.advance(HEAD_DEADLINE_MS - 2 * STEP_MS);
    await slow.send(head.slice(10, 20));
    await intime.send(head.slice(10));
    expect((await intime.readReply()).status).toBe(200);
    await healthy(scene.proxy);
    await scene.proxy.advance(3 * STEP_MS);
    expect((await slow.readReply()).status).toBe(408);
    expect(await scene.proxy.nextRecord((record) => record.verdict === 'failed')).toMatchObject({
      reason: 'header_timeout',
    });
    expect(scene.plain.requests.count).toBe(1);
  });
});

describe('a path', () => {
  it.each([
    '/a/../secret',
    '/a/..',
    '/./a',
    '/a/.',
    '/..%2fsecret',
    '/%2e%2e/secret',
    '/%2E./secret',
    '/.%2e/secret',
    '/a/%252e%252e/secret',
    '/a/..;/secret',
    '/a/..;x=y/secret',
    '/a\\..\\secret',
    '/a%5c..%5csecret',
    '/a%00b',
    '/a%0d%0ab',
    '/a%7fb',
    '/caf\xe9',
    '/%c0%ae%c0%ae/secret',
    '/a%',
    '/a%2',
    '/a%zz',
    '/%u002e%u002e/secret',
  ])('spelt %s is refused as ambiguous, and the origin hears nothing', async (path) => {
    await using scene = await startScene({ rules: ALLOW_ALL });
    await using agent = await openAgent(scene.proxy);
    const host = `plain.test:${scene.plain.port}`;
    await agent.send(`GET ${scene.plainUrl}${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    const reply = await agent.readReply();
    expect(reply.status).toBe(400);
    expect(fieldOf(reply.headers, 'x-outcall-failure-reason')).toMatch(/^(ambiguous_request|bad_request)$/);
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
  });

  it.each([
    ['/a%2Fb', '/a%2Fb'],
    ['/a%2fb', '/a%2Fb'],
    ['/%61%7E', '/a~'],
    ['/a//b', '/a//b'],
    ['/a;v=1/b', '/a;v=1/b'],
    ['/...', '/...'],
    ['/.well-known/x', '/.well-known/x'],
    ['/a..b', '/a..b'],
    ['/?next=../x', '/?next=../x'],
    ['', '/'],
    ['?q=1', '/?q=1'],
  ])('spelt %j reaches the origin as %j, and that is what rules saw', async (sent, forwarded) => {
    const path = JSON.stringify(forwarded);
    const rule = `{ id: exact, condition: 'http.host == "plain.test" && http.path == ${path}', action: allow }`;
    await using scene = await startScene({ rules: rulesFile(rule) });
    await using agent = await openAgent(scene.proxy);
    const reply = await agent.request({
      target: scene.plainUrl + sent,
      headers: [`Host: plain.test:${scene.plain.port}`],
    });
    expect(reply.status).toBe(200);
    expect((await scene.plain.nextRequest()).url).toBe(forwarded);
  });

  it('cannot slip a block rule by an encoding that the origin decodes', async () => {
    const block = '{ id: no-secret, priority: 1, condition: \'http.path.startsWith("/secret")\', action: block }';
    await using scene = await startScene({ rules: rulesFile(block, "{ id: all, condition: 'true', action: allow }") });
    for (const path of ['/secret', '/%73ecret', '//secret', '/s%65cret/x']) {
      await using agent = await openAgent(scene.proxy);
      const headers = [`Host: plain.test:${scene.plain.port}`];
      const reply = await agent.request({ target: scene.plainUrl + path, headers });
      expect([path, reply.status, fieldOf(reply.headers, 'x-outcall-block-reason')]).toEqual([path, 403, 'no-secret']);
    }
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
  });
});

/** One exchange with the proxy itself: what was sent to it before has been read when this is over. */
async function healthy(door: Door): Promise<void> {
  await using agent = await openAgent(door);
  expect((await agent.request({ target: '/outcall-health', headers: ['Host: proxy'] })).status).toBe(200);
}

/** `%U` is the URL of plain.test, `%H` its host and port. */
function filled(text: string, url: string): string {
  return text.replaceAll('%U', url).replaceAll('%H', url.slice('http://'.length));
}
