import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdminBackend } from '../../../src/admin/backend.ts';
import { openAdminServer } from '../../../src/admin/server.ts';
import type { Follower } from '../../../src/audit/record-feed.ts';
import type { StatusAnswer } from '../../../src/domain/admin-api.ts';
import { TempFolder } from '../../kit/temp.ts';

interface Fake {
  readonly backend: AdminBackend;
  readonly followers: Set<Follower>;
}

function fake(fields: Partial<AdminBackend> = {}): Fake {
  const followers = new Set<Follower>();
  const backend: AdminBackend = {
    health: () => ({ state: 'ready' }),
    ready: () => ({ ready: true, waiting_for: [] }),
    check: () => Promise.resolve({ ok: true, rules: 1, problems: [] }),
    explain: () => Promise.resolve(undefined),
    metrics: async () => '# EOF\n',
    status: async () => ({ pid: 7 }) as StatusAnswer,
    rules: () => ({ generation: 3, rules: [] }),
    reload: async () => ({ ok: true, answer: { generation: 4, rules: 1, warnings: [] } }),
    ca: async () => {
      throw new Error('the signer is away');
    },
    grants: async () => ({ grants: [] }),
    agents: { entries: [], tell: () => undefined, forget: () => false },
    caCertificates: () => ['PEM\n'],
    changeCa: async () => ({ ok: false, status: 409, detail: 'not here' }),
    uploadCa: () => undefined,
    records: {
      recent: (count) =>
        Buffer.from(
          '{"n":1}\n{"n":2}\n'
            .split(/(?<=\n)/)
            .slice(-count)
            .join(''),
        ),
      follow: (follower) => {
        followers.add(follower);
        return () => followers.delete(follower);
      },
    },
    ...fields,
  };
  return { backend, followers };
}

interface Reply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

function ask(socketPath: string, method: string, target: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method, path: target, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    request.on('error', reject);
    request.end();
  });
}

async function withServer(backend: AdminBackend, use: (socketPath: string) => Promise<void>): Promise<void> {
  using folder = new TempFolder();
  const socketPath = path.join(folder.path, 'run', 'admin.sock');
  const server = await openAdminServer(socketPath, backend);
  try {
    await use(socketPath);
  } finally {
    await server.close();
    expect(fs.existsSync(socketPath)).toBe(false);
  }
}

describe('the admin API', () => {
  it('answers with JSON, and with the CA certificate as it is', async () => {
    await withServer(fake().backend, async (socket) => {
      expect(await ask(socket, 'GET', '/v1/health')).toMatchObject({ status: 200, text: '{"state":"ready"}\n' });
      expect(JSON.parse((await ask(socket, 'GET', '/v1/status')).text)).toEqual({ pid: 7 });
      expect(JSON.parse((await ask(socket, 'GET', '/v1/rules')).text)).toEqual({ generation: 3, rules: [] });
      expect(JSON.parse((await ask(socket, 'GET', '/v1/grants')).text)).toEqual({ grants: [] });
      expect(JSON.parse((await ask(socket, 'POST', '/v1/rules/reload')).text)).toMatchObject({ generation: 4 });
      const bundle = await ask(socket, 'GET', '/v1/ca/bundle');
      expect(bundle).toMatchObject({ status: 200, text: 'PEM\n' });
      expect(bundle.headers['content-type']).toBe('application/pem-certificate-chain');
    });
  });

  it.each([
    ['ready', 200],
    ['degraded', 200],
    ['starting', 503],
    ['unlocked', 503],
    ['draining', 503],
  ] as const)('says %s with status %d', async (state, status) => {
    await withServer(fake({ health: () => ({ state }) }).backend, async (socket) => {
      expect((await ask(socket, 'GET', '/v1/health')).status).toBe(status);
    });
  });

  it('answers errors as problem documents', async () => {
    const problem = { severity: 'error' as const, file: 'a.yaml', line: 1, column: 2, message: 'no' };
    const { backend } = fake({
      caCertificates: () => [],
      reload: async () => ({ ok: false, generation: 2, problems: [problem] }),
    });
    await withServer(backend, async (socket) => {
      const cases = [
        ['GET', '/v1/nothing', 404, 'there is no /v1/nothing here'],
        ['GET', '/v1/constructor', 404, 'there is no /v1/constructor here'],
        ['GET', '/v1/rules/reload', 405, '/v1/rules/reload is for POST'],
        ['DELETE', '/v1/rules', 405, '/v1/rules is for GET'],
        [
          'GET',
          '/v1/ca/bundle',
          404,
          'there is no CA; make one with outcall ca generate, or start outcalld with --ca-cert',
        ],
        ['GET', '/v1/ca', 500, 'the signer is away'],
        ['POST', '/v1/rules/reload', 422, 'the rules have errors; generation 2 stays in force'],
      ] as const;
      for (const [method, target, status, detail] of cases) {
        const reply = await ask(socket, method, target);
        expect(reply.headers['content-type']).toBe('application/problem+json');
        expect(JSON.parse(reply.text)).toMatchObject({ type: 'about:blank', status, detail });
        expect(reply.status).toBe(status);
      }
      expect((await ask(socket, 'PUT', '/v1/rules/reload')).headers.allow).toBe('POST');
      expect(JSON.parse((await ask(socket, 'POST', '/v1/rules/reload')).text)).toMatchObject({ problems: [problem] });
    });
  });

  it('gives past records, and those to come to whoever follows, until they leave', async () => {
    const { backend, followers } = fake();
    await withServer(backend, async (socket) => {
      expect((await ask(socket, 'GET', '/v1/records?tail=1')).text).toBe('{"n":2}\n');
      expect(followers.size).toBe(0);
      const request = http.get({ socketPath: socket, path: '/v1/records?follow=1', agent: false });
      const response = await new Promise<http.IncomingMessage>((resolve) => request.once('response', resolve));
      const chunks: string[] = [];
      response.setEncoding('utf8');
      for await (const chunk of response as AsyncIterable<string>) {
        chunks.push(chunk);
        if (chunks.length === 1) for (const follower of followers) follower(Buffer.from('{"n":3}\n'));
        if (chunks.join('').endsWith('{"n":3}\n')) break;
      }
      expect(chunks.join('')).toBe('{"n":1}\n{"n":2}\n{"n":3}\n');
      while (followers.size > 0) await new Promise((resolve) => setImmediate(resolve));
    });
  });

  it('lets a follower go who does not read, instead of keeping records for it', async () => {
    const { backend, followers } = fake();
    await withServer(backend, async (socket) => {
      const lazy = net.connect(socket);
      lazy.on('error', () => undefined);
      lazy.write('GET /v1/records?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n');
      while (followers.size === 0) await new Promise((resolve) => setImmediate(resolve));
      lazy.pause();
      const [follower] = followers;
      for (let i = 0; i < 64 && followers.size > 0; i++) {
        follower?.(Buffer.alloc(256 * 1024, 'x'));
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(followers.size).toBe(0);
      lazy.destroy();
    });
  });
});

describe('the admin socket', () => {
  const open = (socketPath: string) => openAdminServer(socketPath, fake().backend);

  it('has mode 0660 in a folder of mode 0750, whatever the umask', async () => {
    using folder = new TempFolder();
    const socketPath = path.join(folder.path, 'run', 'admin.sock');
    const before = process.umask(0);
    try {
      const server = await open(socketPath);
      expect(fs.statSync(socketPath).mode & 0o777).toBe(0o660);
      expect(fs.statSync(path.dirname(socketPath)).mode & 0o777).toBe(0o750);
      expect(process.umask()).toBe(0);
      await server.close();
    } finally {
      process.umask(before);
    }
  });

  it('replaces one that nobody answers on, and leaves alone one that is in use or no socket', async () => {
    using folder = new TempFolder();
    const used = path.join(folder.path, 'used.sock');
    const dead = path.join(folder.path, 'dead.sock');
    const file = folder.write('file.sock', 'precious');
    const living = await open(used);
    const dying = net.createServer().listen(path.join(folder.path, 'dying.sock'));
    await new Promise((resolve) => dying.once('listening', resolve));
    fs.linkSync(path.join(folder.path, 'dying.sock'), dead); // closing unlinks only the name that it knows
    await new Promise((resolve) => dying.close(resolve));
    await expect(open(used)).rejects.toThrow(`another outcalld already answers on ${used}`);
    await expect(open(file)).rejects.toThrow('there is a file that is no socket');
    expect(fs.readFileSync(file, 'utf8')).toBe('precious');
    const reopened = await open(dead);
    expect((await ask(dead, 'GET', '/v1/health')).status).toBe(200);
    expect((await ask(used, 'GET', '/v1/health')).status).toBe(200);
    await reopened.close();
    await living.close();
  });

  it('names the option where the place cannot be used', async () => {
    await expect(open('/dev/null/admin.sock')).rejects.toThrow(
      /cannot open the admin socket \/dev\/null\/admin\.sock: \w+; write --admin-socket/,
    );
  });
});
