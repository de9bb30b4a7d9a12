/**
 * Python with every strictness on that its ssl module has (the default from Python 3.13 on), against leaves of the default
 * RSA-4096 CA for every kind of host (S011-FR-005).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { pythonHttpClient, pythonUrllib } from './real-clients.ts';
import { type ClientScene, LONG_NAME, startClientScene } from './scene.ts';

const RULES = rulesFile(
  `{ id: read, condition: 'http.host in ["api.test", "127.0.0.1", "localhost", "${LONG_NAME}"] && http.path != "/no"', action: allow, egress: { mode: intercept } }`,
);

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene({ rules: RULES, ca: { algorithm: 'rsa' } });
});
afterAll(() => scene[Symbol.asyncDispose]());

describe.skipIf(!pythonUrllib.present)('Python with strict X.509', () => {
  it.each([
    ['a DNS name', 'api.test'],
    ['a name without a dot', 'localhost'],
    ['an IP address', '127.0.0.1'],
    ['a name longer than a common name can be', LONG_NAME],
  ])(
    'S011-FR-005: accepts the leaf for %s, in urllib and in http.client, and reads a refusal through it',
    async (_, host) => {
      const allowed = await pythonUrllib.get(scene, scene.url(host, '/yes'), scene.outcallCaFile);
      expect(allowed).toMatchObject({ status: 200, body: 'ok' });
      const refused = await pythonHttpClient.get(scene, scene.url(host, '/no'), scene.outcallCaFile);
      expect(refused).toMatchObject({ status: 403, body: expect.stringContaining('Blocked by outcall: ') });
      expect(scene.origin.heads.all.map(({ url }) => url)).not.toContain('/no');
      expect(await scene.daemon.records.next(({ path }) => path === '/no')).toMatchObject({ host, verdict: 'block' });
    },
  );
});
