import http from 'node:http';
import net from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AdminBackend } from '../../../src/admin/backend.ts';
import { openAdminTcp, openMetricsTcp, type TcpServer } from '../../../src/admin/tcp-server.ts';
import { AdminToken } from '../../../src/admin/token.ts';
import { canonicalHost, type Host } from '../../../src/domain/hostname.ts';

const TEXT = 'a1'.repeat(32);
const AUTHORIZATION = `Bearer ${TEXT}`;
const LOOPBACK = { host: canonicalHost('127.0.0.1') as Host, port: 0 };

interface Reply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

interface Wish {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: http.OutgoingHttpHeaders;
}

function ask(port: number, { method = 'GET', path = '/v1/health', headers = {} }: Wish): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += String(chunk)));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    request.on('error', reject);
    request.end();
  });
}

/** What comes back for bytes that need not be HTTP. */
async function askRaw(port: number, bytes: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1');
  socket.write(bytes);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

describe('the admin API on TCP', () => {
  let server: TcpServer;
  let asked = 0;

  beforeEach(async () => {
    asked = 0;
    const health = () => {
      asked++;
      return { state: 'ready' };
    };
    server = await openAdminTcp(LOOPBACK, new AdminToken(TEXT), { health } as unknown as AdminBackend);
  });
  afterEach(() => server.close());

  it('answers whoever sends the token, and nobody else', async () => {
    expect(await ask(server.port, { headers: { authorization: AUTHORIZATION } })).toMatchObject({ status: 200 });
    expect(asked).toBe(1);
    for (const headers of [{}, { authorization: `${AUTHORIZATION}x` }, { authorization: 'Bearer ' }]) {
      for (const path of ['/v1/health', '/v1/openapi.json', '/v1/nothing']) {
        const reply = await ask(server.port, { path, headers });
        expect(reply.status).toBe(401);
        expect(reply.headers['www-authenticate']).toBe('Bearer realm="outcalld"');
        expect(reply.headers['content-type']).toBe('application/problem+json');
      }
    }
    expect(asked).toBe(1);
  });

  it('answers under its own address alone, so that no page reaches it under a name of its own', async () => {
    const { port } = server;
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`]) {
      expect((await ask(port, { headers: { host, authorization: AUTHORIZATION } })).status).toBe(200);
    }
    const before = asked;
    for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1', 'localhost:1', `127.0.0.1.evil:${port}`]) {
      const reply = await ask(port, { headers: { host, authorization: AUTHORIZATION } });
      expect([reply.status, JSON.parse(reply.text)]).toEqual([421, expect.objectContaining({ status: 421 })]);
    }
    expect(
      await askRaw(port, `GET /v1/health HTTP/1.1\r\nAuthorization: ${AUTHORIZATION}\r\nConnection: close\r\n\r\n`),
    ).toMatch(/^HTTP\/1\.1 421 /);
    expect(asked).toBe(before);
  });

  it('has nothing for pages of other origins', async () => {
    const headers = { authorization: AUTHORIZATION, origin: 'https://evil.example' };
    const reply = await ask(server.port, { headers });
    expect(reply.status).toBe(200);
    expect(Object.keys(reply.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
    const preflight = { ...headers, 'access-control-request-method': 'POST' };
    expect((await ask(server.port, { method: 'OPTIONS', headers: preflight })).status).toBe(405);
  });

  it('tells what is no HTTP by a problem document too', async () => {
    const [head = '', body = ''] = (await askRaw(server.port, 'hello\r\n\r\n')).split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: application\/problem\+json/);
    expect(JSON.parse(body)).toMatchObject({ type: 'about:blank', status: 400 });
    const long = await askRaw(server.port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(long).toMatch(/^HTTP\/1\.1 431 /);
  });
});

describe('the metrics on TCP', () => {
  it('are all that is there, for GET, and scrapes at the same time are one', async () => {
    const waiting: ((text: string) => void)[] = [];
    const metrics = () => new Promise<string>((resolve) => waiting.push(resolve));
    const server = await openMetricsTcp(LOOPBACK, { metrics });
    try {
      const scrapes = [ask(server.port, { path: '/metrics' }), ask(server.port, { path: '/metrics?x=1' })];
      expect((await ask(server.port, { path: '/v1/status' })).status).toBe(404);
      expect((await ask(server.port, { path: '/metrics', method: 'POST' })).status).toBe(405);
      expect(waiting.length).toBe(1);
      waiting[0]?.('# nothing\n');
      for (const scrape of await Promise.all(scrapes)) {
        expect(scrape).toMatchObject({ status: 200, text: '# nothing\n' });
        expect(scrape.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
      }
    } finally {
      await server.close();
    }
  });
});
