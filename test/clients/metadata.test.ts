/**
 * Metadata rules before real clients: each keeps its own session with the origin, in TLS 1.2 and 1.3, and none reaches an
 * origin whose certificate is not what the rule asks for. Nothing of interception takes part.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import type { RealClient } from './client.ts';
import { nodeHttps } from './node-clients.ts';
import { curlHttp2, curlTls12, nodeFetch, pythonHttpClient, pythonUrllib, wget } from './real-clients.ts';
import { type ClientScene, pathsAt, startClientScene } from './scene.ts';

const CLIENTS: readonly RealClient[] = [
  curlHttp2,
  curlTls12,
  wget,
  pythonUrllib,
  pythonHttpClient,
  nodeFetch,
  nodeHttps,
];

const RULES = rulesFile(
  `{ id: right, condition: 'http.host == "tunnel.test"', action: allow, egress: { tls: { server_san: { exact: [tunnel.test] } } } }`,
  `{ id: wrong, condition: 'http.host == "other.test"', action: allow, egress: { tls: { server_san: { exact: [elsewhere.test] } } } }`,
);

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene({ rules: RULES, ca: false });
});
afterAll(() => scene[Symbol.asyncDispose]());

describe.each(CLIENTS.map((client, index) => ({ ...client, index })))('$name', ({ index, present, ...client }) => {
  it.skipIf(!present)(
    'reaches the origin whose certificate the rule asks for, with its own eyes, and no other',
    async () => {
      const path = `/metadata-${index}`;
      const got = await client.get(scene, scene.url('tunnel.test', path), scene.originCaFile);
      expect(got).toMatchObject({ status: 200, body: 'ok' });
      const bytes = scene.origin.bytes;
      const no = await client.get(scene, scene.url('other.test', path), scene.originCaFile);
      expect(no.status).toBeUndefined();
      expect(scene.origin.bytes).toBe(bytes);
      expect(pathsAt(scene).filter((seen) => seen === path)).toEqual([path]);
      const { records } = scene.daemon;
      expect(await records.next(({ host }) => host === 'tunnel.test')).toMatchObject({
        verdict: 'allow',
        rule: 'right',
        taken: 'tunnel',
      });
      expect(await records.next(({ host }) => host === 'other.test')).toMatchObject({
        verdict: 'block',
        rule: 'default',
        bytes_up: 0,
      });
    },
  );
});
