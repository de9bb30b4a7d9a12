/**
 * What curl can do that others cannot: uploads, HEAD, both HTTP versions on purpose, plain HTTP in a tunnel, HTTP/2 by
 * prior knowledge (threats 11, 13). Verified against the CA of `outcall ca init` in each case.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { hasProgram, type RunResult, run } from '../kit/run.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const MIB = 1024 * 1024;
const LARGE_BYTES = 32 * MIB;
const UPLOAD_BYTES = 4 * MIB;
/** Exit codes of curl(1). */
const CURLE_RECV_ERROR = 56;
const CURLE_GOT_NOTHING = 52;

const RULES = rulesFile(
  `{ id: read, condition: 'http.host == "api.test" && http.method in ["GET", "HEAD"]', action: allow, egress: { mode: intercept } }`,
  `{ id: write, condition: 'http.host == "api.test" && http.method in ["POST", "PUT"] && http.path.startsWith("/echo")', action: allow, egress: { mode: intercept } }`,
  `{ id: plain, condition: 'http.host == "plain.test" && (http.method == "CONNECT" || http.path != "/admin")', action: allow }`,
);

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene({ rules: RULES });
});
afterAll(() => scene[Symbol.asyncDispose]());

function curl(...args: string[]): Promise<RunResult> {
  const common = ['-q', '-sS', '--proxy', scene.proxyUrl, '--cacert', scene.outcallCaFile];
  return run('curl', [...common, ...args]);
}

const recordOf = (path: string) => scene.daemon.records.next((record) => record.path === path);

describe.skipIf(!hasProgram('curl')).each([
  ['1.1', '--http1.1'],
  ['2', '--http2'],
])('curl over HTTP/%s', (version, flag) => {
  it('S011-AS-001: a rule for POST lets -d through with its body, and not where it names another path', async () => {
    const sent = await curl(flag, '-d', 'a=1&b=2', scene.url('api.test', `/echo?post${version}`));
    expect(JSON.parse(sent.stdout)).toMatchObject({ method: 'POST', body: 'a=1&b=2', sni: 'api.test' });
    const refused = await curl(flag, '-i', '-d', 'a=1&b=2', scene.url('api.test', `/read?post${version}`));
    expect(refused.stdout).toMatch(/^HTTP\/(2|1\.1) 403/m);
    expect(refused.stdout).toContain('Blocked by outcall: ');
    expect(scene.origin.heads.all.map(({ url }) => url)).not.toContain(`/read?post${version}`);
    expect(await scene.daemon.records.next((r) => r.method === 'POST' && r.verdict === 'allow')).toMatchObject({
      rule: 'write',
      body_size: 7,
      http_version: version,
    });
    expect(await scene.daemon.records.next((r) => r.method === 'POST')).toMatchObject({ rule: 'default', status: 403 });
  });

  it('uploads a file with -T unchanged, and a refused upload brings the origin nothing', async () => {
    const content = Buffer.alloc(UPLOAD_BYTES, 'upload ');
    const file = scene.folder.write('upload.bin', content);
    const path = `/echo?put${version}`;
    const { stdout, stderr } = await curl(
      flag,
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      '-T',
      file,
      scene.url('api.test', path),
    );
    expect(stdout + stderr).toBe('200');
    const request = await scene.origin.requests.next(({ url }) => url === path);
    expect(request.bodySha256).toBe(createHash('sha256').update(content).digest('hex'));
    expect(await scene.daemon.records.next(({ method }) => method === 'PUT')).toMatchObject({
      rule: 'write',
      body_size: UPLOAD_BYTES,
    });
    const refused = await curl(flag, '-w', '%{http_code}', '-T', file, scene.url('api.test', `/files/put${version}`));
    expect(refused.stdout).toMatch(/403$/);
    expect(await recordOf(`/files/put${version}`)).toMatchObject({ method: 'PUT', rule: 'default', body_size: 0 });
    expect(scene.origin.heads.all.map(({ url }) => url)).not.toContain(`/files/put${version}`);
  });

  it('asks with -I and gets the head alone, of the answer and of a refusal', async () => {
    const url = `/large?bytes=1000&head${version}`;
    const { stdout } = await curl(flag, '-I', scene.url('api.test', url));
    expect(stdout).toMatch(/content-length: 1000/i);
    const refused = await curl(flag, '-I', '-X', 'DELETE', scene.url('api.test', `/gone${version}`));
    expect(refused.stdout).toMatch(/x-outcall-block-reason: default/i);
    expect(await recordOf(`/gone${version}`)).toMatchObject({ method: 'DELETE', verdict: 'block' });
  });

  it('downloads 32 MiB whole and unchanged, to the last byte', async () => {
    const file = join(scene.folder.path, `large${version}`);
    const path = `/large?bytes=${LARGE_BYTES}&v=${version}`;
    const { code } = await curl(flag, '-o', file, scene.url('api.test', path));
    expect(code).toBe(0);
    const got = createHash('sha256');
    await pipeline(createReadStream(file), got);
    expect(got.digest('hex')).toBe(createHash('sha256').update(Buffer.alloc(LARGE_BYTES, 'x')).digest('hex'));
    const { bytes_down } = await scene.daemon.records.next(
      ({ path: seen }) => seen?.startsWith('/large?bytes=[') === true && seen.endsWith('v=[redacted]'),
    );
    expect(bytes_down).toBeGreaterThanOrEqual(LARGE_BYTES);
  });
});

describe.skipIf(!hasProgram('curl'))('curl in plain HTTP', () => {
  it('--proxytunnel has each request in the tunnel decided as without it: the same allowed, the same refused', async () => {
    for (const door of [['--proxytunnel'], []]) {
      expect((await curl(...door, scene.plainUrl('/ok'))).stdout).toBe('ok');
      const refused = await curl(...door, '-w', ' %{http_code}', scene.plainUrl('/admin'));
      expect(refused.stdout).toMatch(/^Blocked by outcall: .* 403$/);
      expect(await recordOf('/ok')).toMatchObject({ scheme: 'http', taken: 'forward', rule: 'plain' });
      expect(await recordOf('/admin')).toMatchObject({ scheme: 'http', verdict: 'block', rule: 'default' });
    }
    expect(scene.plain.heads.all.map(({ url }) => url)).toEqual(['/ok', '/ok']);
  });

  it('--proxytunnel to a host that no rule allows is refused at CONNECT', async () => {
    const before = scene.plain.connections;
    const url = scene.plainUrl('/ok').replace('plain.test', 'denied.test');
    const refused = await curl('--proxytunnel', url);
    expect(refused).toMatchObject({ code: CURLE_RECV_ERROR, stderr: expect.stringContaining('response 403') });
    expect([scene.plain.connections - before, scene.resolver.asked('denied.test')]).toEqual([0, 0]);
    expect((await curl('--proxytunnel', scene.plainUrl('/ok'))).stdout).toBe('ok');
  });

  it('--http2-prior-knowledge through a tunnel is refused, and HTTP/1.1 the same way is served', async () => {
    const requests = scene.plain.heads.count;
    const refused = await curl('--proxytunnel', '--http2-prior-knowledge', scene.plainUrl('/h2c'));
    expect(refused.code).toBe(CURLE_GOT_NOTHING);
    expect(scene.plain.heads.count).toBe(requests);
    expect(await scene.daemon.records.next(({ verdict }) => verdict === 'failed')).toMatchObject({
      reason: 'bad_request',
      host: 'plain.test',
      status: 400,
    });
    expect((await curl('--proxytunnel', scene.plainUrl('/h2c'))).stdout).toBe('ok');
  });
});
