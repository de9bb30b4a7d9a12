import http from 'node:http';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdminBackend } from '../../../src/admin/backend.ts';
import { openAdminServer } from '../../../src/admin/server.ts';
import { AgentDirectory } from '../../../src/daemon/agents.ts';
import { TempFolder } from '../../kit/temp.ts';

const ENTRY = { id: 'a'.repeat(64), name: 'web', image: 'debian', labels: { team: 'x' }, ip: '10.203.0.20' };

const OTHER = { ...ENTRY, id: 'b'.repeat(64), ip: 'fd00::2', trusts: [`${'AB:'.repeat(31)}CD`] };

interface Reply {
  readonly status: number;
  readonly value: unknown;
}

async function withAgents(
  use: (ask: (method: string, target: string, body?: string) => Promise<Reply>) => Promise<void>,
): Promise<void> {
  using folder = new TempFolder();
  const socketPath = path.join(folder.path, 'admin.sock');
  const agents = new AgentDirectory();
  const server = await openAdminServer(socketPath, { agents } as unknown as AdminBackend);
  const ask = (method: string, target: string, body = '') =>
    new Promise<Reply>((resolve, reject) => {
      const request = http.request({ socketPath, method, path: target, agent: false }, (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += String(chunk)));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, value: JSON.parse(text) }));
      });
      request.on('error', reject);
      request.end(body);
    });
  try {
    await use(ask);
  } finally {
    await server.close();
  }
}

describe('/v1/agents', () => {
  it('takes agents, lists them with their addresses in canonical form, and lets one be forgotten', async () => {
    await withAgents(async (ask) => {
      const body = JSON.stringify({ agents: [ENTRY, { ...OTHER, ip: 'FD00:0::2' }] });
      expect((await ask('POST', '/v1/agents', body)).status).toBe(200);
      expect((await ask('GET', '/v1/agents')).value).toEqual({
        agents: [ENTRY, OTHER],
      });
      expect((await ask('DELETE', `/v1/agents?id=${ENTRY.id}`)).status).toBe(200);
      expect((await ask('DELETE', `/v1/agents?id=${ENTRY.id}`)).status).toBe(404);
    });
  });

  it.each([
    ['no JSON', '{'],
    ['no agents', '{}'],
    ['a short id', JSON.stringify({ agents: [{ ...ENTRY, id: 'abc' }] })],
    ['a fingerprint that is none', JSON.stringify({ agents: [{ ...ENTRY, trusts: ['abc'] }] })],
    ['no address', JSON.stringify({ agents: [{ ...ENTRY, ip: 'web' }] })],
    ['a field too many', JSON.stringify({ agents: [{ ...ENTRY, admin: true }] })],
    ['a label that is no text', JSON.stringify({ agents: [{ ...ENTRY, labels: { a: 1 } }] })],
    ['a name beyond all measure', JSON.stringify({ agents: [{ ...ENTRY, name: 'x'.repeat(2_000) }] })],
    [
      'too many labels',
      JSON.stringify({ agents: [{ ...ENTRY, labels: Object.fromEntries([...Array(200)].map((_, i) => [i, ''])) }] }),
    ],
    ['a body beyond all measure', JSON.stringify({ agents: [], more: 'x'.repeat(2_000_000) }), 413],
  ])('refuses %s as a whole, also beside a good one, and knows nobody by it', async (_what, body, status = 400) => {
    await withAgents(async (ask) => {
      expect((await ask('POST', '/v1/agents', body)).status).toBe(status);
      expect((await ask('GET', '/v1/agents')).value).toEqual({ agents: [] });
      expect((await ask('POST', '/v1/agents', JSON.stringify({ agents: [ENTRY] }))).status).toBe(200);
    });
  });
});
