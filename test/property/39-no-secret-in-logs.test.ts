/**
 * Property 39: no secret of a request or response reaches a record, the log, or what the operator's commands print. The real
 * daemon at its most talkative, every way of ending included; what it wrote is searched byte for byte.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connectTunnel, H2Agent, openAgent, openHttps, openTunnel, startTls } from '../kit/agent.ts';
import { startDaemon, type TestDaemon } from '../kit/daemon.ts';
import { type Origin, type OriginReply, type OriginRequest, startOrigin } from '../kit/origin.ts';
import { testCa } from '../kit/pki.ts';
import { startResolver } from '../kit/resolver.ts';
import { rulesFile } from '../kit/rules.ts';

const API = 'http.host == "api.test"';
const RULES = rulesFile(
  `{ id: no-admin, condition: '${API} && http.path.startsWith("/admin")', action: block }`,
  `{ id: no-shell, condition: '${API} && http.method == "POST" && http.body.contains("rm -rf")', action: block }`,
  `{ id: api, condition: '${API}', action: allow, egress: { mode: intercept, match_body: true } }`,
  `{ id: bad, condition: 'http.host == "bad.test"', action: allow, egress: { mode: intercept } }`,
  `{ id: plain, condition: 'http.host == "127.0.0.1" && http.path.startsWith("/ok")', action: allow }`,
);

/** Where a client or an origin may put a secret; each is a word that stands nowhere else. */
const SECRETS = {
  query: 'zq7-in-query',
  authorization: 'zq7-in-authorization',
  proxyAuthorization: 'zq7-in-proxy-authorization',
  cookie: 'zq7-in-cookie',
  apiKey: 'zq7-in-api-key',
  body: 'zq7-in-body',
  userinfo: 'zq7-in-userinfo',
  fragment: 'zq7-in-fragment',
  setCookie: 'zq7-in-set-cookie',
  answer: 'zq7-in-answer',
};
const HEADERS = [
  `Authorization: Bearer ${SECRETS.authorization}`,
  `Proxy-Authorization: Basic ${SECRETS.proxyAuthorization}`,
  `Cookie: session=${SECRETS.cookie}`,
  `X-Api-Key: ${SECRETS.apiKey}`,
];
const QUERY = `?token=${SECRETS.query}&${SECRETS.query}`;
const BODY = `{"password":"${SECRETS.body}"}`;

function answerWithSecrets(_: OriginRequest, reply: OriginReply): boolean {
  reply.writeHead(200, { 'Set-Cookie': `session=${SECRETS.setCookie}` }).end(SECRETS.answer);
  return true;
}

/** Requests to the explicit door, each on a connection of its own; whatever comes back is read and thrown away. */
async function sendRaw(daemon: TestDaemon, head: string, body = ''): Promise<void> {
  await using agent = await openAgent(daemon);
  await agent.send(`${head}\r\n${HEADERS.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  await agent.readReply();
}

async function sendInside(
  daemon: TestDaemon,
  origin: Origin,
  head: string,
  more = '',
  host = 'api.test',
): Promise<void> {
  const ca = readFileSync(join(daemon.caFolder, 'ca.crt'), 'utf8');
  await using agent = await openHttps(daemon, `${host}:${origin.port}`, { ca });
  const fields = [`Host: ${host}`, ...HEADERS, `Content-Length: ${BODY.length}`].join('\r\n');
  await agent.send(`${head}\r\n${fields}\r\n${more}\r\n${BODY}`);
  await agent.readReply();
}

describe('a secret', () => {
  it('in query, Authorization, cookie or body is in no record and no log, whatever became of its request', async () => {
    const ca = testCa();
    const tls = { ca, names: ['api.test'], alpn: ['h2', 'http/1.1'] as const };
    await using origin = await startOrigin({ tls, handler: answerWithSecrets });
    await using plain = await startOrigin({ handler: answerWithSecrets });
    await using resolver = await startResolver({ 'api.test': '127.0.0.1', 'bad.test': '127.0.0.1' });
    await using daemon = await startDaemon({
      rules: RULES,
      ca: true,
      trust: ca.certPem,
      dnsServers: [resolver.address],
      args: ['--log-level', 'debug', '--intercept-body-cap-bytes', '64'],
    });
    const url = `http://${plain.address}`;
    const host = `Host: ${plain.address}`;
    // The explicit door: allowed, refused, malformed, misdirected.
    await sendRaw(daemon, `POST ${url}/ok${QUERY} HTTP/1.1\r\n${host}`, BODY);
    await sendRaw(daemon, `POST ${url}/refused${QUERY} HTTP/1.1\r\n${host}`, BODY);
    await sendRaw(daemon, `GET ${url}/ok/../x${QUERY} HTTP/1.1\r\n${host}`);
    await sendRaw(daemon, `GET ${url}/ok${QUERY}#${SECRETS.fragment} HTTP/1.1\r\n${host}`);
    await sendRaw(daemon, `GET http://u:${SECRETS.userinfo}@${plain.address}/ok HTTP/1.1\r\n${host}`);
    await sendRaw(daemon, `GET ${url}/ok${QUERY} HTTP/1.1\r\nHost: other.test`);
    await sendRaw(daemon, `GET /ok${QUERY} HTTP/1.1\r\n${host}`);
    await using connect = await connectTunnel(daemon, `u:${SECRETS.userinfo}@api.test:443`, { headers: HEADERS });
    expect(connect.reply.status).toBe(400);
    // Inside TLS: allowed, refused by path and by body, over the cap, undecodable, malformed, a bad origin.
    const get = (path: string) => `POST ${path}${QUERY} HTTP/1.1`;
    await sendInside(daemon, origin, get('/ok'));
    await sendInside(daemon, origin, get('/admin'));
    await sendInside(daemon, origin, get('/x/../y'));
    await sendInside(daemon, origin, get('/ok'), 'Content-Encoding: gzip\r\n');
    await sendInside(daemon, origin, get('/ok'), `X-Bad : ${SECRETS.apiKey}\r\n`);
    await sendInside(daemon, origin, get('/ok'), '', 'bad.test');
    // HTTP/2: allowed, refused, over the cap of the body.
    const caPem = readFileSync(join(daemon.caFolder, 'ca.crt'), 'utf8');
    const tunnel = await openTunnel(daemon, `api.test:${origin.port}`);
    const secure = await startTls(tunnel, { ca: caPem, servername: 'api.test', alpn: ['h2'] });
    await using agent = new H2Agent(secure, `api.test:${origin.port}`);
    const fields = { authorization: `Bearer ${SECRETS.authorization}`, cookie: `session=${SECRETS.cookie}` };
    for (const [path, body] of [
      ['/ok', BODY],
      ['/admin', BODY],
      ['/ok', BODY.padEnd(100)],
    ] as const) {
      await agent.request({ ':method': 'POST', ':path': path + QUERY, ...fields }, body);
    }
    const shown = await Promise.all([daemon.cli('logs', '--json'), daemon.cli('logs'), daemon.cli('status')]);
    expect(shown.map(({ code }) => code)).toEqual([0, 0, 0]);
    await agent[Symbol.asyncDispose]();
    expect(await daemon.stop()).toBe(0);

    // Every ending was one of those that are meant, and the secrets did travel.
    const records = daemon.records.all;
    expect(records.filter(({ verdict }) => verdict === 'allow').map(({ rule }) => rule)).toEqual([
      'plain',
      'api',
      'api',
    ]);
    const reasons = new Set(records.map(({ reason }) => reason));
    for (const reason of ['default', 'rule', 'error', 'ambiguous_request', 'misdirected_request', 'invalid_host'])
      expect(reasons).toContain(reason);
    for (const reason of ['bad_request', 'body_decode_failed', 'upstream_handshake_failed'])
      expect(reasons).toContain(reason);
    const arrived = JSON.stringify([...origin.requests.all, ...plain.requests.all].map(arrivedOf));
    for (const secret of [SECRETS.query, SECRETS.authorization, SECRETS.cookie, SECRETS.apiKey, SECRETS.body])
      expect(arrived).toContain(secret);
    expect(records[0]?.path).toBe('/ok?token=[redacted]&[redacted]');
    const written = JSON.stringify([records, daemon.log.all, shown]);
    expect(Object.values(SECRETS).filter((secret) => written.includes(secret))).toEqual([]);
  });
});

function arrivedOf({ url, headers, body }: OriginRequest): unknown {
  return [url, headers, body.toString()];
}
