/**
 * The daemon without a CA (S011-FR-022, SC-002, SC-004; threat 36): an intercept rule is refused at start, every other rule
 * decides and relays as ever, and no code of interception is loaded, as V8's own coverage of each process shows.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { spawnDaemon } from '../kit/daemon.ts';
import { rulesFile } from '../kit/rules.ts';
import { run } from '../kit/run.ts';
import { TempFolder } from '../kit/temp.ts';
import { type ClientScene, type ClientSceneOptions, startClientScene } from './scene.ts';

const TUNNELS = rulesFile(
  `{ id: tunnel, condition: 'http.host == "tunnel.test"', action: allow }`,
  `{ id: plain, condition: 'http.host == "plain.test" && http.path != "/admin"', action: allow }`,
);
const INTERCEPT = `{ id: api, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept } }`;

/** What only interception needs; what a worker needs besides is loaded either way. */
const INTERCEPTION_CODE = [
  'daemon/signer-link.ts',
  'pki/ca-key.ts',
  'pki/leaf-cache.ts',
  'pki/leaf-server.ts',
  'pki/signer-client.ts',
  'pki/signer.ts',
  'proxy/h2-connection.ts',
  'proxy/h2-exchange.ts',
  'proxy/h2-upstream.ts',
  'proxy/intercept.ts',
];

/** Sources under src/, and packages, that the daemon's processes loaded while `use` ran, from start to exit. */
async function codeLoaded(
  options: ClientSceneOptions,
  use: (scene: ClientScene) => Promise<void>,
): Promise<Set<string>> {
  using folder = new TempFolder();
  {
    await using scene = await startClientScene({ ...options, env: { NODE_V8_COVERAGE: folder.path } });
    await use(scene);
    expect(await scene.daemon.stop()).toBe(0);
  }
  const reports = readdirSync(folder.path).map(
    (name) => JSON.parse(readFileSync(join(folder.path, name), 'utf8')) as Report,
  );
  const urls = reports.flatMap(({ result }) => result.map(({ url }) => url));
  return new Set(urls.map((url) => url.replace(/^.*\/(?:src|node_modules)\//, '')));
}

interface Report {
  readonly result: readonly { readonly url: string }[];
}

async function ask(scene: ClientScene, url: string, caFile = scene.originCaFile): Promise<string> {
  const args = ['-q', '-sS', '--proxy', scene.proxyUrl, '--cacert', caFile, '-w', ' %{http_code} %{http_connect}', url];
  return (await run('curl', args)).stdout;
}

describe('outcalld without a CA', () => {
  it('S011-AS-003: does not start with an intercept rule and says what to do, and starts with the rule as a tunnel', async () => {
    await using daemon = await spawnDaemon({ rules: rulesFile(INTERCEPT) });
    expect(await daemon.exited).toBe(1);
    const message = await daemon.log.some(({ msg }) => msg.includes('intercept'));
    expect(message.msg).toMatch(/rules\.yaml:\d+:\d+.*api/);
    expect(daemon.log.all.map(({ msg }) => msg).join('\n')).toMatch(/--ca-cert/);
    await using twin = await startClientScene({
      ca: false,
      rules: rulesFile(INTERCEPT.replace('mode: intercept', 'mode: proxy')),
    });
    expect(await ask(twin, twin.url('api.test'))).toBe('ok 200 200');
  });

  it('S011-SC-004: a reload that brings an intercept rule is refused, and the old rules go on deciding', async () => {
    await using scene = await startClientScene({ ca: false, rules: TUNNELS });
    scene.daemon.folder.write('rules/rules.yaml', rulesFile(INTERCEPT));
    const reload = await scene.daemon.cli('rules', 'reload');
    expect(reload).toMatchObject({ code: 1, stderr: expect.stringContaining('intercept') });
    expect(await ask(scene, scene.url('tunnel.test'))).toBe('ok 200 200');
    const { connections } = scene.origin;
    expect(await ask(scene, scene.url('api.test'))).toBe(' 000 403');
    expect(scene.origin.connections).toBe(connections);
  });

  it('S011-SC-002: tunnels, forwards and refuses as ever, and loads no code of interception, which a CA and a rule do', async () => {
    const decided = async (scene: ClientScene): Promise<void> => {
      expect(await ask(scene, scene.url('tunnel.test'))).toBe('ok 200 200');
      expect(await ask(scene, scene.url('denied.test'))).toBe(' 000 403');
      expect(await ask(scene, scene.plainUrl('/ok'))).toBe('ok 200 000');
      expect(await ask(scene, scene.plainUrl('/admin'))).toMatch(/^Blocked by outcall: .* 403 000$/);
    };
    const without = await codeLoaded({ ca: false, rules: TUNNELS }, decided);
    expect([...without].filter((file) => INTERCEPTION_CODE.includes(file) || file.startsWith('node-forge/'))).toEqual(
      [],
    );
    expect(without).toContain('proxy/tunnel.ts');
    const withCa = await codeLoaded({ ca: true, rules: `${TUNNELS}  - ${INTERCEPT}\n` }, async (scene) => {
      await decided(scene);
      expect(await ask(scene, scene.url('api.test'), scene.outcallCaFile)).toBe('ok 200 200');
    });
    expect(INTERCEPTION_CODE.filter((file) => !withCa.has(file))).toEqual([]);
  });
});
