/**
 * Property 24: the operator's API and metrics on TCP are reached through no door of the proxy, whatever names them and though
 * --allow-private admits the address. An origin stands in their place, so that a dial would be seen.
 */
import { chmodSync } from 'node:fs';
import http from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StatusAnswer } from '../../src/domain/admin-api.ts';
import { connectTunnel } from '../kit/agent.ts';
import { startDaemon, type TestDaemon } from '../kit/daemon.ts';
import { startOrigin } from '../kit/origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { TempFolder } from '../kit/temp.ts';
import { DOORS, startDoors } from './doors.ts';

const HOSTS = ['api.test', 'localhost', '127.0.0.1'] as const;
const CONDITION = HOSTS.map((host) => `http.host == "${host}"`).join(' || ');
const RULES = rulesFile(`{ id: api, condition: '${CONDITION}', action: allow, egress: { allow_private_ips: true } }`);
const INTERCEPT = RULES.replace('egress: {', 'egress: { mode: intercept,');
const TOKEN = 'a1'.repeat(32);

describe.each(DOORS)('an operator’s port, through %s', (door) => {
  it.each(HOSTS)('is not dialled for %s, and the same port is when it is nobody’s', async (host) => {
    const operatorPorts = new Set<number>();
    const zone = { localhost: '127.0.0.1' };
    await using doors = await startDoors({ rules: INTERCEPT, zone, upstream: { operatorPorts } });
    const origin = doors.origins[door];
    operatorPorts.add(origin.port);
    expect(await doors.knock(door, host)).toEqual([403, 'address_refused']);
    expect(origin.connections).toBe(0);
    const record = await doors.proxy.nextRecord();
    expect(record).toMatchObject({ rule: 'api', reason: 'address_refused', upstream: null });
    expect(record.detail).toBe(`operator's port ${origin.port} of own address 127.0.0.1`);
    operatorPorts.clear();
    expect((await doors.knock(door, host))[0]).toBe(200);
  });

  it('is not dialled on an address of ours that --allow-private names by itself', async () => {
    const operatorPorts = new Set<number>();
    const upstream = { operatorPorts, ownAddresses: () => new Set(['10.255.255.1']), connectTimeoutMs: 50 };
    const zone = { 'api.test': '10.255.255.1' };
    await using doors = await startDoors({ rules: INTERCEPT, zone, allowPrivate: ['10.255.255.1'], upstream });
    operatorPorts.add(doors.origins[door].port);
    expect((await doors.knock(door, 'api.test'))[1]).toBe('address_refused');
    operatorPorts.clear();
    expect((await doors.knock(door, 'api.test'))[1]).not.toBe('address_refused');
  });
});

describe('the operator’s ports of a daemon that runs', () => {
  const folder = new TempFolder();
  let daemon: TestDaemon;
  let status: StatusAnswer;

  beforeAll(async () => {
    const tokenFile = folder.write('token', TOKEN);
    chmodSync(tokenFile, 0o600);
    const admin = ['--admin-listen', '127.0.0.1:0', '--admin-token-file', tokenFile];
    daemon = await startDaemon({ rules: RULES, args: [...admin, '--metrics-listen', '127.0.0.1:0'] });
    status = await daemon.status();
  });
  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
    folder[Symbol.dispose]();
  });

  it('answer the operator', async () => {
    expect(await get(status.admin_listen, '/v1/health', { authorization: `Bearer ${TOKEN}` })).toEqual([
      200,
      expect.any(String),
    ]);
    expect(await get(status.admin_listen, '/v1/health', {})).toEqual([401, expect.any(String)]);
    expect(await get(status.metrics_listen, '/metrics', {})).toEqual([200, expect.stringContaining('outcall_state')]);
  });

  it.each(['admin_listen', 'metrics_listen'] as const)(
    'keep %s from agents, under any mode of a rule',
    async (which) => {
      await using origin = await startOrigin();
      const port = portOf(status[which]);
      const direct = `egress: { mode: direct_ip, ports: [${port}, ${origin.port}], `;
      for (const rules of [RULES.replace('egress: {', direct), RULES]) {
        daemon.folder.write('rules/rules.yaml', rules);
        await daemon.cli('rules', 'reload');
        for (const host of ['127.0.0.1', 'localhost', '127.0.0.2']) {
          await using refused = await connectTunnel(daemon, `${host}:${port}`);
          expect([host, refused.reply.status]).toEqual([host, 403]);
        }
        await using open = await connectTunnel(daemon, `127.0.0.1:${origin.port}`);
        expect(open.reply.status).toBe(200);
      }
      expect(await through(daemon.port, `http://127.0.0.1:${port}/metrics`)).toBe(403);
      expect(await through(daemon.port, `http://127.0.0.1:${origin.port}/metrics`)).toBe(200);
    },
  );
});

function portOf(listen: string | null): number {
  return Number(listen?.slice(listen.lastIndexOf(':') + 1));
}

/** Status and text. */
function get(listen: string | null, path: string, headers: http.OutgoingHttpHeaders): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: portOf(listen), path, headers, agent: false };
    const request = http.get(options, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += String(chunk)));
      response.on('end', () => resolve([response.statusCode ?? 0, text]));
    });
    request.on('error', reject);
  });
}

function through(port: number, url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path: url, headers: { Host: new URL(url).host }, agent: false };
    http.get(options, (response) => resolve(response.resume().statusCode ?? 0)).on('error', reject);
  });
}
