/**
 * From a recorded session to its rules: npm install, git clone and an HTTP API through a daemon in audit mode; what
 * `outcall rules suggest` makes of the records lets the same session through in enforce mode, and no request of it with
 * one thing changed. The witness is the origin.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from '../kit/daemon.ts';
import type { OriginReply, OriginRequest } from '../kit/origin.ts';
import { hasProgram, proxyEnv, type RunResult, run } from '../kit/run.ts';
import { TempFolder } from '../kit/temp.ts';
import { GIT_ENVIRONMENT, type GitBackend, startGitBackend } from './git-backend.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const LEARNING = 'version: "1"\ndefaults: { enforcement: audit, unmatched: intercept }\nrules: []\n';
/** npm takes seconds to start on a busy machine. */
const CLIENT_DEADLINE_MS = 25_000;
const SESSION_TIMEOUT_MS = 90_000;
const REGISTRY = 'other.test';
const GIT = 'tunnel.test';
const API = 'api.test';
const LAST_PATH = '/v1/files/file_022DOib9jDKdV2xYOS7r5W9x';

let folder: TempFolder;
let backend: GitBackend;
let scene: ClientScene;
let enforcing: TestDaemon;
let suggested: RunResult;

beforeAll(async () => {
  folder = new TempFolder();
  backend = await startGitBackend(folder.path, 'project.git');
  await makePackage();
  scene = await startClientScene({
    rules: LEARNING,
    args: ['--enforcement', 'audit'],
    origin: { handler: (request, reply) => registry(request, reply) || backend.handler(request, reply) },
  });
  await session(scene.daemon, 'recorded');
  // Records are written in batches; this request was the last.
  await scene.daemon.records.some(({ path }) => path === LAST_PATH);
  suggested = await scene.daemon.cli('rules', 'suggest');
  enforcing = await startDaemon({
    rules: suggested.stdout,
    ca: true,
    dnsServers: [scene.resolver.address],
    trust: scene.originCa.certPem,
  });
}, SESSION_TIMEOUT_MS);

afterAll(async () => {
  await enforcing[Symbol.asyncDispose]();
  await scene[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

async function makePackage(): Promise<void> {
  folder.write('package/package.json', JSON.stringify({ name: 'small', version: '1.2.3' }));
  expect((await run('tar', ['-czf', 'small.tgz', 'package'], { cwd: folder.path })).code).toBe(0);
}

/** A registry that has every package one asks for, all of them the small one. */
function registry(request: OriginRequest, reply: OriginReply): boolean {
  if (!/^\/(?:small|large)(?:\/|$)/.test(request.url)) return false;
  const tarball = readFileSync(join(folder.path, 'small.tgz'));
  if (request.url.endsWith('.tgz')) {
    reply.writeHead(200).end(tarball);
    return true;
  }
  const name = decodeURIComponent(request.url.slice(1));
  const dist = {
    tarball: scene.url(REGISTRY, `/${name}/-/${name}-1.2.3.tgz`),
    integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}`,
  };
  const packument = { name, 'dist-tags': { latest: '1.2.3' }, versions: { '1.2.3': { name, version: '1.2.3', dist } } };
  reply.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(packument));
  return true;
}

const caFile = (daemon: TestDaemon) => join(daemon.caFolder, 'ca.crt');

function npmInstall(daemon: TestDaemon, name: string, where: string): Promise<RunResult> {
  folder.write(`${where}/package.json`, '{ "name": "app", "version": "1.0.0" }');
  const home = join(folder.path, where);
  const env = {
    HOME: home,
    npm_config_userconfig: join(home, 'npmrc'),
    npm_config_globalconfig: join(home, 'npmrc-global'),
    npm_config_cache: join(home, 'npm-cache'),
    npm_config_registry: scene.url(REGISTRY),
    npm_config_https_proxy: `http://127.0.0.1:${daemon.port}`,
    npm_config_noproxy: '',
    npm_config_cafile: caFile(daemon),
    npm_config_update_notifier: 'false',
    npm_config_fetch_retries: '0',
  };
  return run('npm', ['install', '--no-audit', '--no-fund', name], { env, cwd: home, timeoutMs: CLIENT_DEADLINE_MS });
}

function git(daemon: TestDaemon, ...args: readonly string[]): Promise<RunResult> {
  const env = { ...GIT_ENVIRONMENT, ...proxyEnv(daemon), GIT_SSL_CAINFO: caFile(daemon) };
  return run('git', ['-C', folder.path, ...args], { env });
}

/** Status of one request by curl. */
async function api(daemon: TestDaemon, method: string, path: string, body?: string): Promise<string> {
  const proxy = ['-q', '-sS', '--proxy', `http://127.0.0.1:${daemon.port}`, '--cacert', caFile(daemon)];
  const data = body === undefined ? [] : ['--data', body];
  const args = [...proxy, '-X', method, ...data, '-o', '/dev/null', '-w', '%{http_code}', scene.url(API, path)];
  return (await run('curl', args)).stdout;
}

/** What is recorded, and what must go through. */
async function session(daemon: TestDaemon, name: string): Promise<void> {
  expect(await npmInstall(daemon, 'small', `npm-${name}`)).toMatchObject({ code: 0 });
  const cloned = await git(daemon, 'clone', scene.url(GIT, '/repos/project.git'), `clone-${name}`);
  expect(cloned).toMatchObject({ code: 0 });
  expect(await api(daemon, 'POST', '/v1/messages?beta=true', '{"model":"small"}')).toBe('200');
  expect(await api(daemon, 'GET', '/v1/files/file_011CNha8iCJcU1wXNR6q4V8w')).toBe('200');
  expect(await api(daemon, 'GET', LAST_PATH)).toBe('200');
}

describe.skipIf(!(hasProgram('npm') && hasProgram('git') && hasProgram('curl')))('a recorded session', () => {
  it('gives rules without a mistake, with no warning that they do not tell of themselves, and few of them', async () => {
    expect(suggested).toMatchObject({ code: 0 });
    const file = folder.write('suggested/rules.yaml', suggested.stdout);
    const checked = await scene.daemon.cli('rules', 'check', file);
    expect(checked.code).toBe(0);
    expect(checked.stdout).not.toContain('warning');
    expect(suggested.stdout.match(/- id:/g)).toHaveLength(5);
    expect(suggested.stdout).toContain('"/small/-/small-*.tgz"');
    expect(suggested.stdout).toContain('"/v1/files/file_*"');
    expect(suggested.stdout).toContain('http.query == {"service": ["git-upload-pack"]}');
    expect(scene.daemon.records.all.some(({ would_block }) => would_block === 'default')).toBe(true);
  });

  it(
    'goes through again with these rules in force, and nothing of it is blocked',
    async () => {
      await session(enforcing, 'again');
      await enforcing.records.some(({ path }) => path === LAST_PATH);
      expect(enforcing.records.all.filter(({ verdict }) => verdict === 'block')).toEqual([]);
    },
    SESSION_TIMEOUT_MS,
  );

  it(
    'is refused with one package changed, and the registry hears nothing of it',
    async () => {
      const seen = scene.origin.heads.count;
      const refused = await npmInstall(enforcing, 'large', 'npm-changed');
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toMatch(/E403/);
      expect(scene.origin.heads.all.slice(seen)).toEqual([]);
      expect(await npmInstall(enforcing, 'small', 'npm-unchanged')).toMatchObject({ code: 0 });
    },
    SESSION_TIMEOUT_MS,
  );

  it('is refused with the clone changed to a push, and the repository is as it was', async () => {
    const copy = 'clone-push';
    expect(await git(enforcing, 'clone', scene.url(GIT, '/repos/project.git'), copy)).toMatchObject({ code: 0 });
    const before = await backend.head();
    await git(enforcing, '-C', copy, 'commit', '--allow-empty', '-m', 'mine');
    const refused = await git(enforcing, '-C', copy, 'push', 'origin', 'main');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/403/);
    expect(await backend.head()).toBe(before);
  });

  it.each([
    ['method', 'PUT', '/v1/messages?beta=true'],
    ['path', 'POST', '/v1/batches?beta=true'],
    ['parameter', 'POST', '/v1/messages?gamma=true'],
    ['depth', 'GET', '/v1/files/file_011CNha8iCJcU1wXNR6q4V8w/content'],
  ])('is refused with its %s changed, and the API hears nothing of it', async (_, method, path) => {
    const seen = scene.origin.heads.count;
    expect(await api(enforcing, method, path)).toBe('403');
    expect(scene.origin.heads.count).toBe(seen);
    expect(await api(enforcing, 'POST', '/v1/messages?beta=true', '{}')).toBe('200');
  });
});
