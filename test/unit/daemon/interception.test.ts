import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { openTunnel, startTls } from '../../kit/agent.ts';
import { AgentSocket } from '../../kit/agent-socket.ts';
import { startDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { type Origin, startOrigin } from '../../kit/origin.ts';
import { testCa } from '../../kit/pki.ts';
import { startResolver } from '../../kit/resolver.ts';
import { childNamed, commandLineOf, environmentOf, memoryHolds } from './processes.ts';

const RULES = `version: "1"
rules:
  - id: only-a-path
    condition: http.host.endsWith(".a.test") && http.path.startsWith("/yes")
    action: allow
    egress: { mode: intercept, allow_private_ips: true }
`;

interface Scene extends AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly origin: Origin;
  readonly caPem: string;
}

async function intercepting(...args: readonly string[]): Promise<Scene> {
  const stack = new AsyncDisposableStack();
  const ca = testCa();
  const origin = stack.use(await startOrigin({ tls: { ca, names: ['one.a.test', 'two.a.test', 'three.a.test'] } }));
  const zone = { 'one.a.test': '127.0.0.1', 'two.a.test': '127.0.0.1', 'three.a.test': '127.0.0.1' };
  const resolver = stack.use(await startResolver(zone));
  const dnsServers = [`127.0.0.1:${resolver.port}`];
  const daemon = stack.use(await startDaemon({ rules: RULES, ca: true, trust: ca.certPem, dnsServers, args }));
  const caPem = readFileSync(path.join(daemon.caFolder, 'ca.crt'), 'utf8');
  return { daemon, origin, caPem, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** CONNECT and TLS to `host`, verified by the CA alone. */
async function handshake({ daemon, origin, caPem }: Scene, host: string): Promise<TLSSocket> {
  const tunnel = await openTunnel(daemon, `${host}:${origin.port}`);
  return startTls(tunnel, { ca: caPem, servername: host });
}

async function statusOf(scene: Scene, host: string, target: string): Promise<number> {
  await using agent = new AgentSocket(await handshake(scene, host));
  return (await agent.request({ method: 'GET', target, headers: [`Host: ${host}:${scene.origin.port}`] })).status;
}

describe('interception by the whole daemon', () => {
  it('decides inside TLS, signs once per host for all workers, and tells the CA to the operator', async () => {
    await using scene = await intercepting('--workers', '2');
    for (let i = 0; i < 6; i++) expect(await statusOf(scene, 'one.a.test', '/yes')).toBe(200);
    expect(await statusOf(scene, 'one.a.test', '/no')).toBe(403);
    expect(await statusOf(scene, 'two.a.test', '/yes')).toBe(200);
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(Array.from({ length: 7 }, () => '/yes'));
    const leaves = scene.daemon.log.all.filter(({ event }) => event === 'leaf_generated');
    expect(leaves.map((leaf) => leaf['host'])).toEqual(['one.a.test', 'two.a.test']);
    const status = JSON.parse((await scene.daemon.cli('ca', 'status', '--json')).stdout) as Record<string, unknown>;
    const ca = new X509Certificate(scene.caPem);
    expect(status).toMatchObject({
      loaded: true,
      fingerprint_sha256: ca.fingerprint256,
      leaf_cache_size: 2,
      leaf_cache_max: 1024,
    });
    expect((await scene.daemon.cli('ca', 'bundle')).stdout.trim()).toBe(scene.caPem.trim());
    const blocked = await scene.daemon.records.some(({ verdict }) => verdict === 'block');
    expect(blocked).toMatchObject({ subsystem: 'proxy_intercept', path: '/no', rule: 'default' });
  });

  it('serves leaves that it has while the signer is dead, and new hosts once there is another', async () => {
    await using scene = await intercepting();
    expect(await statusOf(scene, 'one.a.test', '/yes')).toBe(200);
    process.kill(childNamed(scene.daemon, 'signer'), 'SIGKILL');
    await scene.daemon.log.some(({ event }) => event === 'signer_died');
    expect(await statusOf(scene, 'one.a.test', '/yes')).toBe(200);
    await scene.daemon.log.next(({ event }) => event === 'ca_loaded');
    expect(await statusOf(scene, 'two.a.test', '/yes')).toBe(200);
  });

  it('keeps the CA key in the signer alone: no other process has it in memory, environment or arguments', async () => {
    await using scene = await intercepting();
    expect(await statusOf(scene, 'one.a.test', '/yes')).toBe(200);
    const file = path.join(scene.daemon.caFolder, 'ca.key');
    const secret = Buffer.from(
      createPrivateKey(readFileSync(file)).export({ format: 'jwk' }).d ?? '',
      'base64url',
    ).reverse();
    const [worker, signer] = [childNamed(scene.daemon, 'worker-0'), childNamed(scene.daemon, 'signer')];
    expect(memoryHolds(signer, secret)).toBe(true); // the search finds a key where there is one
    for (const pid of [worker, scene.daemon.process.pid ?? 0]) expect(memoryHolds(pid, secret)).toBe(false);
    expect(environmentOf(worker)).toContain('OUTCALLD_ROLE=worker');
    for (const pid of [worker, signer]) expect(environmentOf(pid) + commandLineOf(pid)).not.toContain(file);
  });
});
