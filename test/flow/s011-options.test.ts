/**
 * The options of S011 as the whole daemon takes them (IF-001 to IF-004, FR-001, FR-014, FR-021): each changes what a client
 * sees, beside a daemon with the default.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { openTunnel, startTls } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { startDaemon, type TestDaemon } from '../kit/daemon.ts';
import { type Origin, startOrigin } from '../kit/origin.ts';
import { testCa } from '../kit/pki.ts';
import { startResolver } from '../kit/resolver.ts';
import { rulesFile } from '../kit/rules.ts';

const API = 'http.host == "api.test"';
const RULES = rulesFile(
  `{ id: no-shell, condition: '${API} && http.body.contains("rm -rf")', action: block }`,
  `{ id: api, condition: '${API}', action: allow, egress: { mode: intercept } }`,
);
const TTL_SECS = 120;
const DAY_SECS = 86_400;
const CAP_BYTES = 16;
const MIB = 1_048_576;
/** Certificates tell time to the second, and a test takes some. */
const LEEWAY_SECS = 30;

interface Scene extends AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly origin: Origin;
  readonly ca: X509Certificate;
  /** TLS inside a tunnel to api.test, verified by the CA of the daemon alone. */
  open(): Promise<TLSSocket>;
}

async function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Scene> {
  const stack = new AsyncDisposableStack();
  const originCa = testCa();
  const origin = stack.use(await startOrigin({ tls: { ca: originCa, names: ['api.test'] } }));
  const resolver = stack.use(await startResolver({ 'api.test': '127.0.0.1' }));
  const dnsServers = [resolver.address];
  const daemon = stack.use(
    await startDaemon({ rules: RULES, ca: true, trust: originCa.certPem, dnsServers, args, env }),
  );
  const pem = readFileSync(join(daemon.caFolder, 'ca.crt'), 'utf8');
  const open = async () =>
    startTls(await openTunnel(daemon, `api.test:${origin.port}`), { ca: pem, servername: 'api.test' });
  return { daemon, origin, ca: new X509Certificate(pem), open, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function leafLifeSecs(scene: Scene): Promise<number> {
  const socket = await scene.open();
  const leaf = socket.getPeerX509Certificate() as X509Certificate;
  socket.destroy();
  expect(leaf.verify(scene.ca.publicKey)).toBe(true);
  return (leaf.validToDate.getTime() - Date.now()) / 1000;
}

async function post(scene: Scene, bytes: number): Promise<number> {
  await using agent = new AgentSocket(await scene.open());
  return (await agent.request({ method: 'POST', target: '/', headers: ['Host: api.test'], body: 'x'.repeat(bytes) }))
    .status;
}

describe('--ca-cert and --ca-key', () => {
  it('S011-FR-001: load the CA that signs the leaf a client sees, by flag and by environment', async () => {
    await using byFlag = await start([]);
    expect(Math.abs((await leafLifeSecs(byFlag)) - DAY_SECS)).toBeLessThan(LEEWAY_SECS);
    const folder = byFlag.daemon.caFolder;
    const originCa = testCa();
    await using origin = await startOrigin({ tls: { ca: originCa, names: ['api.test'] } });
    await using resolver = await startResolver({ 'api.test': '127.0.0.1' });
    await using daemon = await startDaemon({
      rules: RULES,
      trust: originCa.certPem,
      dnsServers: [resolver.address],
      env: { OUTCALL_CA_CERT: join(folder, 'ca.crt'), OUTCALL_CA_KEY: join(folder, 'ca.key') },
    });
    const tunnel = await openTunnel(daemon, `api.test:${origin.port}`);
    const ca = readFileSync(join(folder, 'ca.crt'), 'utf8');
    await using agent = new AgentSocket(await startTls(tunnel, { ca, servername: 'api.test' }));
    expect((await agent.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
  });
});

describe('--intercept-leaf-ttl-secs', () => {
  it('S011-FR-021: is how long a leaf is good for', async () => {
    await using scene = await start(['--intercept-leaf-ttl-secs', String(TTL_SECS)]);
    expect(Math.abs((await leafLifeSecs(scene)) - TTL_SECS)).toBeLessThan(LEEWAY_SECS);
  });
});

describe('--intercept-body-cap-bytes', () => {
  it('S011-FR-014: is the largest body that a rule sees, 1 MiB unless set', async () => {
    await using small = await start(['--intercept-body-cap-bytes', String(CAP_BYTES)]);
    expect(await post(small, CAP_BYTES + 1)).toBe(403);
    expect(small.origin.heads.count).toBe(0);
    expect(await post(small, CAP_BYTES)).toBe(200);
    await using usual = await start([]);
    expect(await post(usual, MIB + 1)).toBe(403);
    expect(usual.origin.heads.count).toBe(0);
    expect(await post(usual, MIB)).toBe(200);
  });
});
