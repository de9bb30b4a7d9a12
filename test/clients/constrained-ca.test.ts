/**
 * A CA that may sign for one domain alone, and a bundle of two CAs as agents have it while one is replaced: with clients
 * whose verification is on (S011-FR-005; threats row 34).
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outcall } from '../kit/daemon.ts';
import { testCa } from '../kit/pki.ts';
import { rulesFile } from '../kit/rules.ts';
import { TempFolder } from '../kit/temp.ts';
import { curlHttp1, java, nodeFetch, pythonUrllib, wget } from './real-clients.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const RULES = rulesFile(
  `{ id: both, condition: 'http.host in ["api.test", "other.test"]', action: allow, egress: { mode: intercept } }`,
);

const folder = new TempFolder();
let scene: ClientScene;
let caFile: string;
beforeAll(async () => {
  const made = await outcall([
    'ca',
    'init',
    '--out',
    folder.path,
    '--algorithm',
    'ecdsa',
    '--permit-domains',
    'api.test',
  ]);
  expect(made.stdout).toContain('signs for    api.test and below\n');
  caFile = join(folder.path, 'ca.crt');
  const args = ['--ca-cert', caFile, '--ca-key', join(folder.path, 'ca.key')];
  scene = await startClientScene({ rules: RULES, ca: false, args });
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const READ_BUNDLES = [curlHttp1, pythonUrllib, wget, nodeFetch];

describe.each([...READ_BUNDLES, java])('$name', ({ present, get }) => {
  it.skipIf(!present)('trusts what a constrained CA signs within its domain, and gets no leaf outside', async () => {
    expect(await get(scene, scene.url('api.test', '/in'), caFile)).toMatchObject({ status: 200, body: 'ok' });
    const before = scene.origin.requests.all.length;
    expect((await get(scene, scene.url('other.test', '/out'), caFile)).status).not.toBe(200);
    const record = await scene.daemon.records.next(({ host }) => host === 'other.test');
    expect(record).toMatchObject({
      reason: 'cert_gen_failed',
      detail: 'the CA may not sign for other.test: its name constraints do not permit it',
    });
    expect(scene.origin.requests.all.length).toBe(before);
  });
});

// Not Java: keytool takes one certificate from a file, so attach gives it each in its own.
describe.each(READ_BUNDLES)('$name', ({ present, get }) => {
  it.skipIf(!present)('trusts each CA of a bundle of two, in either order', async () => {
    const other = testCa('Another CA').certPem;
    const own = readFileSync(caFile, 'utf8');
    for (const [file, bundle] of [
      ['first.crt', own + other],
      ['second.crt', other + own],
    ] as const) {
      const got = await get(scene, scene.url('api.test', '/bundle'), folder.write(file, bundle));
      expect(got).toMatchObject({ status: 200, body: 'ok' });
    }
    expect((await get(scene, scene.url('api.test', '/bundle'), folder.write('no.crt', other))).status).not.toBe(200);
  });
});

describe('rules and a constrained CA', () => {
  it('are compared at load: a host that the CA can never sign for is warned of, once', async () => {
    const { stdout, stderr } = await scene.daemon.cli('rules', 'reload');
    const said = stdout + stderr;
    expect(said).toContain('the CA may not sign for other.test: its name constraints do not permit it');
    expect(said).not.toContain('may not sign for api.test');
  });
});
