/**
 * openssl s_client at the intercepting proxy: versions, ALPN, SNI and session reuse one by one, each verified against the
 * default RSA-4096 CA under -x509_strict (S011-FR-005, FR-007, FR-009, AS-009, EC-009; threats 1, 2).
 */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFile } from '../kit/rules.ts';
import { hasProgram, type RunResult, run } from '../kit/run.ts';
import { type ClientScene, LONG_NAME, startClientScene } from './scene.ts';

const RULES = rulesFile(
  `{ id: api, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept } }`,
  `{ id: long, condition: 'http.host == "${LONG_NAME}"', action: allow, egress: { mode: intercept } }`,
  `{ id: address, condition: 'http.host == "127.0.0.1"', action: allow, egress: { mode: intercept } }`,
  `{ id: dotless, condition: 'http.host == "localhost"', action: allow, egress: { mode: intercept } }`,
);

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene({ rules: RULES, ca: { algorithm: 'rsa' } });
});
afterAll(() => scene[Symbol.asyncDispose]());

/** One request over a verified session to `host`, or the handshake alone where `path` is undefined. */
function client(host: string, path: string | undefined, ...args: string[]): Promise<RunResult> {
  const target = `${host}:${scene.origin.port}`;
  const name = /^[0-9.]+$/.test(host) ? ['-verify_ip', host] : ['-verify_hostname', host];
  const verify = ['-CAfile', scene.outcallCaFile, '-no-CApath', '-verify_return_error', '-x509_strict', ...name];
  const door = ['-proxy', `127.0.0.1:${scene.daemon.port}`, '-connect', target];
  const input = `GET ${path} HTTP/1.1\r\nHost: ${target}\r\nConnection: close\r\n\r\n`;
  return run('openssl', ['s_client', ...door, ...verify, ...(path === undefined ? [] : ['-ign_eof']), ...args], {
    input: path === undefined ? '' : input,
  });
}

const nextFailure = (reason: string) => scene.daemon.records.next((record) => record.reason === reason);

describe.skipIf(!hasProgram('openssl'))('openssl s_client', () => {
  it.each([
    ['TLS 1.2', '-tls1_2', 'TLSv1.2'],
    ['TLS 1.3', '-tls1_3', 'TLSv1.3'],
  ])('S011-EC-009: speaks %s and verifies the chain strictly', async (_, flag, version) => {
    const { stdout } = await client('api.test', `/${version}`, flag, '-servername', 'api.test');
    expect(stdout).toMatch(new RegExp(`New, ${version.replace('.', '\\.')}`));
    expect(stdout).toContain('Verify return code: 0 (ok)');
    expect(stdout).toMatch(/HTTP\/1\.1 200 OK[\s\S]*ok/);
    expect(await scene.origin.heads.some(({ url }) => url === `/${version}`)).toMatchObject({ sni: 'api.test' });
  });

  it('speaks no TLS 1.1', async () => {
    const requests = scene.origin.heads.count;
    const old = await client(
      'api.test',
      '/tls11',
      '-tls1_1',
      '-cipher',
      'DEFAULT:@SECLEVEL=0',
      '-servername',
      'api.test',
    );
    expect(old.code).not.toBe(0);
    expect(old.stdout).toContain('New, (NONE), Cipher is (NONE)');
    expect(scene.origin.heads.count).toBe(requests);
    expect(await nextFailure('client_handshake_failed')).toMatchObject({ host: 'api.test' });
  });

  it.each([
    ['a name', 'api.test', ['-servername', 'api.test'], 'subject=CN = api.test'],
    ['a name longer than a common name can be', LONG_NAME, ['-servername', LONG_NAME], 'subject=\n'],
    ['an IP address', '127.0.0.1', ['-noservername'], 'subject=CN = 127.0.0.1'],
    ['a name without a dot, and no SNI', 'localhost', ['-noservername'], 'subject=CN = localhost'],
  ])('S011-FR-005: verifies the leaf for %s', async (_, host, args, subject) => {
    const { stdout, code } = await client(host, undefined, ...args);
    expect(code).toBe(0);
    expect(stdout).toContain('Verify return code: 0 (ok)');
    expect(stdout).toContain(subject);
    expect(stdout).toMatch(/Server public key is 256 bit/);
  });

  it.each([
    ['h2 and http/1.1', 'h2,http/1.1', 'ALPN protocol: h2'],
    ['http/1.1 alone', 'http/1.1', 'ALPN protocol: http/1.1'],
    ['h2 alone', 'h2', 'ALPN protocol: h2'],
    ['nothing', undefined, 'No ALPN negotiated'],
  ])('S011-FR-009: that offers %s agrees on what the origin speaks', async (_, offer, agreed) => {
    const alpn = offer === undefined ? [] : ['-alpn', offer];
    const { stdout } = await client('api.test', undefined, '-servername', 'api.test', ...alpn);
    expect(stdout).toContain(agreed);
  });

  it.each([
    ['another name', ['-servername', 'other.test'], 'sni_mismatch'],
    ['no name', ['-noservername'], 'sni_missing'],
  ])('with %s in its SNI is refused with an alert, and the origin sees no connection', async (_, args, reason) => {
    const { connections } = scene.origin;
    const refused = await client('api.test', undefined, ...args);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('unrecognized name');
    expect(scene.origin.connections).toBe(connections);
    expect(await nextFailure(reason)).toMatchObject({ host: 'api.test', verdict: 'failed' });
    expect((await client('api.test', undefined, '-servername', 'api.test')).code).toBe(0);
  });

  it.each(['-tls1_2', '-tls1_3'])('with %s resumes its session, and each request in it is decided', async (version) => {
    const session = join(scene.folder.path, `session${version}`);
    const args = [version, '-servername', 'api.test'];
    expect((await client('api.test', '/first', ...args, '-sess_out', session)).stdout).toMatch(/^New, TLSv1/m);
    const again = await client('api.test', '/again', ...args, '-sess_in', session);
    expect(again.stdout).toMatch(/^Reused, TLSv1/m);
    expect(again.stdout).toContain('HTTP/1.1 200 OK');
    expect(await scene.daemon.records.next(({ path }) => path === '/again')).toMatchObject({
      verdict: 'allow',
      rule: 'api',
    });
  });

  it('S011-EC-003: that trusts another CA ends with an alert, and the record says untrusted_ca', async () => {
    const strangers = ['-servername', 'api.test', '-CAfile', scene.originCaFile];
    const refused = await client('api.test', undefined, ...strangers);
    expect(refused.stdout + refused.stderr).toMatch(/unable to get (local )?issuer certificate|unable to verify/);
    expect(await nextFailure('client_handshake_failed')).toMatchObject({ detail: 'untrusted_ca' });
    expect((await client('api.test', undefined, '-servername', 'api.test')).code).toBe(0);
  });
});
