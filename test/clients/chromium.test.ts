/**
 * A browser: Chromium without a window, with our CA in the trust store of its user and its verification on. It sends
 * GREASE in every handshake (ECH included), speaks HTTP/2, and opens connections ahead of need (threats 1, 20).
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { hasProgram, run } from '../kit/run.ts';
import { type ClientScene, pathsAt, startClientScene } from './scene.ts';

const BROWSER = 'chromium-headless-shell';
const PRESENT = hasProgram(BROWSER) && hasProgram('certutil');
/** A browser that starts cold on a busy machine of two cores. */
const BROWSER_DEADLINE_MS = 60_000;

const RULES = rulesFile(
  `{ id: no-admin, condition: 'http.host == "api.test" && http.path.startsWith("/admin")', action: block }`,
  `{ id: api, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept } }`,
  `{ id: right, condition: 'http.host == "tunnel.test"', action: allow, egress: { tls: { server_san: { exact: [tunnel.test] } } } }`,
  `{ id: wrong, condition: 'http.host == "other.test"', action: allow, egress: { tls: { server_san: { exact: [elsewhere.test] } } } }`,
);

let scene: ClientScene;
beforeAll(async () => {
  if (PRESENT) scene = await startClientScene({ rules: RULES });
});
afterAll(() => scene?.[Symbol.asyncDispose]());

/** A home folder whose user trusts this CA beside the public ones. */
async function homeTrusting(caFile: string): Promise<string> {
  const home = join(scene.folder.path, `home-${randomUUID()}`);
  const store = join(home, '.pki/nssdb');
  mkdirSync(store, { recursive: true });
  const database = ['-d', `sql:${store}`];
  await certutil('-N', '--empty-password', ...database);
  await certutil('-A', '-n', 'test CA', '-t', 'C,,', '-i', caFile, ...database);
  return home;
}

async function certutil(...args: string[]): Promise<void> {
  const { code, stderr } = await run('certutil', args);
  if (code !== 0) throw new Error(`certutil ${args.join(' ')}: ${stderr}`);
}

/** The document that the browser shows. */
async function show(url: string, caFile: string): Promise<string> {
  const home = await homeTrusting(caFile);
  // As root it has no sandbox to give; what it shows is ours.
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'];
  const proxy = [`--proxy-server=${scene.proxyUrl}`, `--user-data-dir=${join(home, 'profile')}`];
  const options = { env: { HOME: home }, timeoutMs: BROWSER_DEADLINE_MS };
  const { stdout } = await run(BROWSER, [...args, ...proxy, '--dump-dom', url], options);
  return stdout;
}

describe.skipIf(!PRESENT)('Chromium', () => {
  it(
    'is intercepted where a rule says so: it shows what is allowed, and the reason where it is not',
    async () => {
      expect(await show(scene.url('api.test', '/page'), scene.outcallCaFile)).toMatch(/>ok</);
      expect(await show(scene.url('api.test', '/admin/page'), scene.outcallCaFile)).toContain('Blocked by outcall: ');
      expect(pathsAt(scene)).toContain('/page');
      expect(pathsAt(scene)).not.toContain('/admin/page');
      const record = await scene.daemon.records.next(({ path }) => path === '/page');
      expect(record).toMatchObject({ taken: 'intercept', http_version: '2', rule: 'api', status: 200 });
    },
    BROWSER_DEADLINE_MS * 2,
  );

  it(
    'keeps its own session under a metadata rule, and reaches no origin whose certificate is another',
    async () => {
      expect(await show(scene.url('tunnel.test', '/own'), scene.originCaFile)).toMatch(/>ok</);
      const bytes = scene.origin.bytes;
      expect(await show(scene.url('other.test', '/own'), scene.originCaFile)).not.toMatch(/>ok</);
      expect(scene.origin.bytes).toBe(bytes);
      const { records } = scene.daemon;
      expect(await records.next(({ host }) => host === 'tunnel.test')).toMatchObject({
        verdict: 'allow',
        taken: 'tunnel',
      });
      expect(await records.next(({ host }) => host === 'other.test')).toMatchObject({
        verdict: 'block',
        rule: 'default',
      });
    },
    BROWSER_DEADLINE_MS * 2,
  );

  it(
    'without our CA shows nothing of an intercepted host, and the origin gets no request',
    async () => {
      const heads = scene.origin.heads.count;
      expect(await show(scene.url('api.test', '/untrusted'), scene.originCaFile)).not.toMatch(/>ok</);
      expect(scene.origin.heads.count).toBe(heads);
    },
    BROWSER_DEADLINE_MS,
  );
});
