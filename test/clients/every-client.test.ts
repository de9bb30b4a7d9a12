/**
 * What holds for every client that people run: allowed and refused inside TLS, refused at CONNECT, let through unread,
 * and without our CA. Asserted at the origin, at the resolver and in the audit records; none of them weakens its
 * verification. What is particular to one client stands in that client's own file.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RealClient } from './client.ts';
import { nodeHttp2, nodeHttps, undiciEnvProxyAgent, undiciProxyAgent } from './node-clients.ts';
import * as programs from './real-clients.ts';
import { type ClientScene, pathsAt, startClientScene } from './scene.ts';

const CLIENTS: readonly RealClient[] = [
  ...Object.values(programs),
  undiciProxyAgent,
  undiciEnvProxyAgent,
  nodeHttps,
  nodeHttp2,
];

describe.each(CLIENTS.map((client, index) => ({ ...client, index })))('$name', ({ index, present, ...client }) => {
  /** Paths that no other client asks for. */
  const allowed = `/client-${index}`;
  const refused = `/admin/client-${index}`;

  it.skipIf(!present)(
    'gets its answer where a rule allows the path inside TLS, and a 403 that it can read where one does not',
    async () => {
      const got = await client.get(scene, scene.url('api.test', allowed), scene.outcallCaFile);
      expect(got).toMatchObject({ status: 200, body: 'ok' });
      const no = await client.get(scene, scene.url('api.test', refused), scene.outcallCaFile);
      expect(no).toMatchObject({ status: 403, body: expect.stringContaining('Blocked by outcall: ') });
      expect(pathsAt(scene).filter((path) => path.endsWith(`client-${index}`))).toEqual([allowed]);
      const common = {
        subsystem: 'proxy_intercept',
        taken: 'intercept',
        http_version: client.httpVersion,
        method: 'GET',
      };
      const records = scene.daemon.records;
      expect(await records.next(({ path }) => path === allowed)).toMatchObject({
        ...common,
        verdict: 'allow',
        rule: 'api',
      });
      expect(await records.next(({ path }) => path === refused)).toMatchObject({
        ...common,
        verdict: 'block',
        rule: 'no-admin',
      });
    },
  );

  it.skipIf(!present)(
    'is told 403 where no rule allows its CONNECT, and nothing is resolved or dialled for it',
    async () => {
      const before = scene.origin.connections;
      const got = await client.get(scene, scene.url('denied.test', allowed), scene.outcallCaFile);
      expect(got.said + got.status).toMatch(client.saysRefused);
      expect([scene.origin.connections - before, scene.resolver.asked('denied.test')]).toEqual([0, 0]);
      const record = await scene.daemon.records.next(({ host }) => host === 'denied.test');
      expect(record).toMatchObject({ method: 'CONNECT', verdict: 'block', rule: 'default', status: 403 });
    },
  );

  it.skipIf(!present)(
    'meets the origin’s own certificate where the rule does not intercept (S011-AS-008)',
    async () => {
      const got = await client.get(scene, scene.url('tunnel.test', allowed), scene.originCaFile);
      expect(got).toMatchObject({ status: 200, body: 'ok' });
      const requests = scene.origin.heads.count;
      const no = await client.get(scene, scene.url('tunnel.test', allowed), scene.outcallCaFile);
      expect(no.status).toBeUndefined();
      expect(scene.origin.heads.count).toBe(requests);
      const record = await scene.daemon.records.next(({ host }) => host === 'tunnel.test');
      expect(record).toMatchObject({
        subsystem: 'proxy',
        verdict: 'allow',
        taken: 'tunnel',
        method: 'CONNECT',
        path: null,
      });
      await scene.daemon.records.next(({ host }) => host === 'tunnel.test');
    },
  );

  it.skipIf(!present)(
    'S011-EC-003: without our CA it gets no answer, the origin no request, and the record says why',
    async () => {
      const requests = scene.origin.heads.count;
      const got = await client.get(scene, scene.url('api.test', allowed), scene.originCaFile);
      expect(got.status).toBeUndefined();
      expect(scene.origin.heads.count).toBe(requests);
      const record = await scene.daemon.records.next(({ verdict }) => verdict === 'failed');
      expect(record).toMatchObject({ ...client.distrust, host: 'api.test', taken: 'intercept', status: null });
    },
  );
});

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene();
});
afterAll(() => scene[Symbol.asyncDispose]());
