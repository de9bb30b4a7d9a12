/**
 * git over HTTPS through interception: what a person most wants of an agent, to read a repository and not to write it.
 * The witness is the repository at the origin.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { hasProgram, type RunResult, run } from '../kit/run.ts';
import { TempFolder } from '../kit/temp.ts';
import { GIT_ENVIRONMENT, type GitBackend, startGitBackend } from './git-backend.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const READ_ONLY = rulesFile(
  `{ id: refs, condition: 'http.host == "api.test" && http.method == "GET" && http.path.matches("^/repos/[^/]+/info/refs[?]service=git-upload-pack$")', action: allow, egress: { mode: intercept } }`,
  `{ id: read, condition: 'http.host == "api.test" && http.method == "POST" && http.path.endsWith("/git-upload-pack")', action: allow, egress: { mode: intercept } }`,
  `{ id: late, condition: 'http.host == "other.test" && http.path.endsWith("/git-receive-pack") && http.method == "POST"', action: block }`,
  `{ id: all-else, condition: 'http.host == "other.test"', action: allow, egress: { mode: intercept } }`,
  `{ id: write, condition: 'http.host == "localhost"', action: allow, egress: { mode: intercept } }`,
);

let folder: TempFolder;
let backend: GitBackend;
let scene: ClientScene;
beforeAll(async () => {
  folder = new TempFolder();
  backend = await startGitBackend(folder.path, 'project.git');
  scene = await startClientScene({ rules: READ_ONLY, origin: { handler: backend.handler } });
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function git(clone: string, ...args: string[]): Promise<RunResult> {
  return gitTrusting(scene.outcallCaFile, clone, ...args);
}

function gitTrusting(caFile: string, clone: string, ...args: string[]): Promise<RunResult> {
  const env = { ...GIT_ENVIRONMENT, ...scene.proxyVariables, GIT_SSL_CAINFO: caFile };
  return run('git', ['-C', clone, ...args], { env });
}

async function clone(name: string, httpVersion: string, host = 'api.test'): Promise<string> {
  const url = scene.url(host, '/repos/project.git');
  const cloned = await git(folder.path, 'clone', '-c', `http.version=${httpVersion}`, url, name);
  expect(cloned).toMatchObject({ code: 0 });
  return join(folder.path, name);
}

describe.skipIf(!hasProgram('git')).each(['HTTP/1.1', 'HTTP/2'])('git over %s', (httpVersion) => {
  const name = httpVersion.replaceAll(/[/.]/g, '');

  it('clones and fetches where rules allow upload-pack', async () => {
    const copy = await clone(`read-${name}`, httpVersion);
    expect((await git(copy, 'rev-parse', 'HEAD')).stdout.trim()).toBe(await backend.head());
    const commit = (await backend.git('commit-tree', 'main^{tree}', '-p', 'main', '-m', 'second')).trim();
    await backend.git('update-ref', 'refs/heads/main', commit);
    expect(await git(copy, 'pull', '--ff-only')).toMatchObject({ code: 0 });
    expect((await git(copy, 'rev-parse', 'HEAD')).stdout.trim()).toBe(commit);
    const version = httpVersion.slice('HTTP/'.length);
    const read = await scene.daemon.records.next((record) => record.rule === 'read' && record.http_version === version);
    expect(read).toMatchObject({ path: '/repos/project.git/git-upload-pack', method: 'POST', status: 200 });
  });

  it.each([
    [
      'its first request, which asks for receive-pack',
      'api.test',
      'default',
      '/repos/project.git/info/refs?service=[redacted]',
    ],
    ['the request that carries the commits', 'other.test', 'late', '/repos/project.git/git-receive-pack'],
  ])(
    'is refused a push at %s, and the repository is as it was; where a rule allows it, it pushes',
    async (_, host, rule, path) => {
      const copy = await clone(`push-${name}-${host}`, httpVersion, host);
      const before = await backend.head();
      await git(copy, 'commit', '--allow-empty', '-m', 'mine');
      const refused = await git(copy, 'push', 'origin', 'main');
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toMatch(/403/);
      expect(await backend.head()).toBe(before);
      const blocked = await scene.daemon.records.next(({ verdict }) => verdict === 'block');
      expect(blocked).toMatchObject({ host, rule, path, status: 403, subsystem: 'proxy_intercept' });
      const allowed = await git(copy, 'push', scene.url('localhost', '/repos/project.git'), 'main');
      expect(allowed).toMatchObject({ code: 0 });
      expect(await backend.head()).toBe((await git(copy, 'rev-parse', 'HEAD')).stdout.trim());
    },
  );
});

describe.skipIf(!hasProgram('git'))('git in the wrong place', () => {
  it('is refused at CONNECT where no rule names the host, and nothing is resolved or dialled for it', async () => {
    const { connections } = scene.origin;
    const refused = await git(folder.path, 'ls-remote', scene.url('denied.test', '/repos/project.git'));
    expect(refused.stderr).toMatch(/403/);
    expect([scene.origin.connections - connections, scene.resolver.asked('denied.test')]).toEqual([0, 0]);
    expect((await git(folder.path, 'ls-remote', scene.url('api.test', '/repos/project.git'))).code).toBe(0);
  });

  it('S011-EC-003: without our CA gets nothing, and the record says that it went', async () => {
    const requests = scene.origin.heads.count;
    const url = scene.url('api.test', '/repos/project.git');
    const refused = await gitTrusting(scene.originCaFile, folder.path, 'ls-remote', url);
    expect(refused).toMatchObject({ stdout: '', stderr: expect.stringContaining('certificate') });
    expect(scene.origin.heads.count).toBe(requests);
    const record = await scene.daemon.records.next(({ verdict }) => verdict === 'failed');
    // A git built with OpenSSL sends an alert in the handshake; one with GnuTLS ends the handshake, looks, and goes.
    expect(`${record.host} ${record.reason} ${record.detail}`).toMatch(
      /^api\.test (client_handshake_failed untrusted_ca|client_closed closed_before_request)$/,
    );
    expect((await git(folder.path, 'ls-remote', url)).code).toBe(0);
  });
});
