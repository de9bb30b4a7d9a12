/**
 * Rules on answers before real clients: each reads the answer that the rule is true of, and of any other the reason alone.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import type { RealClient } from './client.ts';
import { nodeHttps } from './node-clients.ts';
import { curlHttp2, nodeFetch, pythonHttpClient, pythonUrllib } from './real-clients.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const CLIENTS: readonly RealClient[] = [curlHttp2, pythonUrllib, pythonHttpClient, nodeFetch, nodeHttps];
const SECRET = 'of the origin';

const RULES = rulesFile(
  `{ id: json, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept, response: 'http.response.headers["content-type"] == "application/json"' } }`,
);

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene({
    rules: RULES,
    origin: {
      handler: ({ url }, reply) => {
        const type = url === '/json' ? 'application/json' : 'text/html';
        reply.writeHead(200, { 'content-type': type }).end(SECRET);
        return true;
      },
    },
  });
});
afterAll(() => scene[Symbol.asyncDispose]());

describe.each(CLIENTS)('$name', ({ present, get }) => {
  it.skipIf(!present)('reads the answer that the rule is true of, and of another the reason and no byte', async () => {
    expect(await get(scene, scene.url('api.test', '/json'), scene.outcallCaFile)).toMatchObject({
      ...{ status: 200, body: SECRET },
    });
    const refused = await get(scene, scene.url('api.test', '/html'), scene.outcallCaFile);
    expect(refused).toMatchObject({ status: 403, body: expect.stringMatching(/^Blocked by outcall: /) });
    expect(refused.said).not.toContain(SECRET);
    expect(await scene.daemon.records.next(({ path }) => path === '/html')).toMatchObject({
      ...{ verdict: 'block', rule: 'json', status: 403 },
    });
  });
});
