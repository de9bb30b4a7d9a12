/**
 * Package managers through interception: a rule says which packages may be fetched. npm writes a scoped package's name as
 * one segment, @scope%2fname, and it stays one (threat 8).
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OriginReply, OriginRequest } from '../kit/origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { hasProgram, type RunResult, run } from '../kit/run.ts';
import { type ClientScene, startClientScene } from './scene.ts';

/** npm and pip take seconds to start on a busy machine. */
const PACKAGE_DEADLINE_MS = 25_000;

const RULES = rulesFile(
  `{ id: npm, condition: 'http.host == "api.test" && http.method == "GET" && http.path in ["/left-pad", "/@good%2Fname"]', action: allow, egress: { mode: intercept } }`,
  `{ id: folder, condition: 'http.host == "api.test" && http.path.startsWith("/@bad/")', action: allow, egress: { mode: intercept } }`,
  `{ id: pip, condition: 'http.host == "api.test" && http.method == "GET" && glob(http.path, "/simple/good/**")', action: allow, egress: { mode: intercept } }`,
);

/** A registry that has every package one asks for, in version 1.0.0; and good-1.0-py3-none-any.whl. */
function registry(request: OriginRequest, reply: OriginReply): boolean {
  if (request.url.startsWith('/simple/')) {
    if (request.url.endsWith('.whl')) reply.writeHead(200).end(readFileSync(join(scene.folder.path, WHEEL)));
    else reply.writeHead(200, { 'content-type': 'text/html' }).end(`<!DOCTYPE html><a href="${WHEEL}">${WHEEL}</a>`);
    return true;
  }
  const name = decodeURIComponent(request.url.slice(1));
  const version = {
    name,
    version: '1.0.0',
    dist: { tarball: scene.url('api.test', '/x.tgz'), shasum: '0'.repeat(40) },
  };
  const packument = { _id: name, name, 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': version } };
  reply.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(packument));
  return true;
}

const WHEEL = 'good-1.0-py3-none-any.whl';
const MAKE_WHEEL = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('good.py', '')
    wheel.writestr('good-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: good\\nVersion: 1.0\\n')
    wheel.writestr('good-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('good-1.0.dist-info/RECORD', '')
`;

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene({ rules: RULES, origin: { handler: registry } });
});
afterAll(() => scene[Symbol.asyncDispose]());

const pathsSeen = () => scene.origin.heads.all.map(({ url }) => url);

function npmView(name: string): Promise<RunResult> {
  const home = scene.folder.path;
  const env = {
    HOME: home,
    npm_config_userconfig: join(home, 'npmrc'),
    npm_config_globalconfig: join(home, 'npmrc-global'),
    npm_config_cache: join(home, 'npm-cache'),
    npm_config_registry: scene.url('api.test'),
    npm_config_https_proxy: scene.proxyUrl,
    npm_config_noproxy: '',
    npm_config_cafile: scene.outcallCaFile,
    npm_config_update_notifier: 'false',
    npm_config_fetch_retries: '0',
  };
  return run('npm', ['view', name, 'version'], { env, cwd: home, timeoutMs: PACKAGE_DEADLINE_MS });
}

describe.skipIf(!hasProgram('npm'))('npm', () => {
  it('sees a package that a rule allows, and E403 for another, of which the registry hears nothing', async () => {
    expect(await npmView('left-pad')).toMatchObject({ code: 0, stdout: '1.0.0\n' });
    const refused = await npmView('right-pad');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/E403/);
    expect(pathsSeen()).toContain('/left-pad');
    expect(pathsSeen()).not.toContain('/right-pad');
    expect(await scene.daemon.records.next(({ path }) => path === '/right-pad')).toMatchObject({ verdict: 'block' });
  });

  it('has the slash in a scoped name stay encoded, for the rules and for the registry alike', async () => {
    expect(await npmView('@good/name')).toMatchObject({ code: 0, stdout: '1.0.0\n' });
    expect(pathsSeen()).toContain('/@good%2Fname');
    // A rule for the folder /@bad/ does not match the one segment @bad%2fname.
    expect((await npmView('@bad/name')).stderr).toMatch(/E403/);
    expect(pathsSeen().filter((path) => path.includes('bad'))).toEqual([]);
    const refused = await scene.daemon.records.next(({ path }) => path?.includes('bad') === true);
    expect(refused).toMatchObject({ path: '/@bad%2Fname', rule: 'default' });
  });
});

function pipDownload(name: string, to: string): Promise<RunResult> {
  const index = [
    '--index-url',
    scene.url('api.test', '/simple/'),
    '--proxy',
    scene.proxyUrl,
    '--cert',
    scene.outcallCaFile,
  ];
  const quick = [
    '--no-deps',
    '--no-cache-dir',
    '--disable-pip-version-check',
    '--retries',
    '0',
    '--only-binary',
    ':all:',
  ];
  const env = { PIP_CONFIG_FILE: '/dev/null' };
  return run('python3', ['-m', 'pip', 'download', ...index, ...quick, '-d', to, name], {
    env,
    timeoutMs: PACKAGE_DEADLINE_MS,
  });
}

describe.skipIf(!hasProgram('pip3'))('pip', () => {
  it('downloads a package that a rule allows, and another is refused before the index hears of it', async () => {
    const wheel = join(scene.folder.path, WHEEL);
    expect((await run('python3', ['-c', MAKE_WHEEL, wheel])).code).toBe(0);
    const to = join(scene.folder.path, 'downloaded');
    expect(await pipDownload('good', to)).toMatchObject({ code: 0 });
    expect(readFileSync(join(to, WHEEL)).equals(readFileSync(wheel))).toBe(true);
    const refused = await pipDownload('evil', join(scene.folder.path, 'nothing'));
    expect(refused.code).not.toBe(0);
    expect(existsSync(join(scene.folder.path, 'nothing', WHEEL))).toBe(false);
    expect(pathsSeen().filter((path) => path.includes('evil'))).toEqual([]);
    const blocked = await scene.daemon.records.next(({ path }) => path === '/simple/evil/');
    expect(blocked).toMatchObject({ verdict: 'block', rule: 'default', status: 403 });
  });
});
