/**
 * `outcall ca init | bundle | status` as a person runs them, with and without a daemon to ask.
 */
import { chmodSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { type AdminReader, addCaCommands } from '../../../src/cli/ca.ts';
import { CliError } from '../../../src/cli/io.ts';
import type { CaAnswer } from '../../../src/domain/admin-api.ts';
import { run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';

const nobody: AdminReader = () => ({ get: () => Promise.reject(new Error('not running')) });

/** A daemon that answers this to GET /v1/ca, and this PEM to GET /v1/ca/bundle. */
function daemon(answer: CaAnswer, pem = 'DAEMON PEM\n'): AdminReader {
  return () => ({
    get: async <T>(path: string) => (path === '/v1/ca' ? answer : pem) as T,
  });
}

async function outcall(args: string[], admin: AdminReader = nobody) {
  let out = '';
  let err = '';
  const program = new Command().exitOverride().configureOutput({ writeErr: (text) => (err += text) });
  addCaCommands(program, { out: (text) => (out += text), err: (text) => (err += text) }, admin);
  const failure = await program.parseAsync(['ca', ...args], { from: 'user' }).then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  return {
    out,
    err,
    code: failure instanceof CliError ? failure.exitCode : failure === undefined ? 0 : 'usage',
    failure: failure?.message,
  };
}

const loaded: CaAnswer = {
  loaded: true,
  subject: 'CN=Daemon CA',
  fingerprint_sha256: 'AA:BB',
  not_before: '2026-01-01T00:00:00Z',
  not_after: '2036-01-01T00:00:00Z',
  permit_domains: null,
  managed: false,
  next: null,
  previous: null,
  leaf_cache_size: 7,
  leaf_cache_max: 1024,
};

describe('ca init', () => {
  it('makes an RSA-4096 CA by default and prints where it is and its fingerprint (S011-AS-009)', async () => {
    using folder = new TempFolder();
    const result = await outcall(['init', '--out', join(folder.path, 'ca')]);
    expect(result.code).toBe(0);
    const cert = join(folder.path, 'ca', 'ca.crt');
    const shown = await run('openssl', ['x509', '-in', cert, '-noout', '-text', '-fingerprint', '-sha256']);
    expect(shown.stdout).toContain('Public-Key: (4096 bit)');
    const fingerprint = /sha256 Fingerprint=(\S+)/.exec(shown.stdout)?.[1];
    expect(result.out).toContain(`SHA-256 fingerprint  ${fingerprint}\n`);
    expect(result.out).toContain(cert);
    expect(result.err).toContain('Whoever has the key');
    expect(statSync(join(folder.path, 'ca', 'ca.key')).mode & 0o777).toBe(0o600);
  });

  it('refuses to overwrite, with exit 1, and does it with --force', async () => {
    using folder = new TempFolder();
    const init = (...more: string[]) => outcall(['init', '--out', folder.path, '--algorithm', 'ecdsa', ...more]);
    expect((await init()).code).toBe(0);
    const before = readFileSync(join(folder.path, 'ca.key'), 'utf8');
    expect(await init()).toMatchObject({ code: 1, out: '', failure: expect.stringContaining('ca.key exists') });
    expect(readFileSync(join(folder.path, 'ca.key'), 'utf8')).toBe(before);
    expect((await init('--force')).code).toBe(0);
    expect(readFileSync(join(folder.path, 'ca.key'), 'utf8')).not.toBe(before);
  });

  it('takes no algorithm but rsa and ecdsa', async () => {
    using folder = new TempFolder();
    expect(await outcall(['init', '--out', folder.path, '--algorithm', 'ed25519'])).toMatchObject({ code: 'usage' });
  });
});

describe('ca bundle', () => {
  it('prints the certificate and nothing else (S011-AS-010)', async () => {
    using folder = new TempFolder();
    await outcall(['init', '--out', folder.path, '--algorithm', 'ecdsa']);
    const result = await outcall(['bundle', '--ca-dir', folder.path]);
    expect(result).toMatchObject({ code: 0, err: '', out: readFileSync(join(folder.path, 'ca.crt'), 'utf8') });
  });

  it('ends with 6 where there is no CA, and says how to make one', async () => {
    using folder = new TempFolder();
    const result = await outcall(['bundle', '--ca-dir', folder.path]);
    expect(result).toMatchObject({ code: 6, out: '' });
    expect(result.failure).toBe(
      `no CA: ${folder.path}/ca.crt does not exist; make one with: outcall ca init --out ${folder.path}`,
    );
  });

  it('ends with 1 where the CA cannot be used', async () => {
    using folder = new TempFolder();
    folder.write('ca.crt', 'not a certificate');
    expect(await outcall(['bundle', '--ca-dir', folder.path])).toMatchObject({ code: 1, out: '' });
  });

  it('is that of the running daemon where no folder is named (S011-US-007)', async () => {
    using folder = new TempFolder();
    await outcall(['init', '--out', folder.path, '--algorithm', 'ecdsa']);
    expect((await outcall(['bundle'], daemon(loaded))).out).toBe('DAEMON PEM\n');
    expect((await outcall(['bundle', '--ca-dir', folder.path], daemon(loaded))).out).not.toBe('DAEMON PEM\n');
  });

  it('with --system holds the system roots as well, each once', async () => {
    using folder = new TempFolder();
    await outcall(['init', '--out', folder.path, '--algorithm', 'ecdsa']);
    const { out } = await outcall(['bundle', '--system', '--ca-dir', folder.path]);
    const certificates = out.split(/(?<=-----END CERTIFICATE-----\n)/);
    expect(certificates.length).toBeGreaterThan(50);
    expect(new Set(certificates).size).toBe(certificates.length);
    expect(certificates.at(-1)).toBe(readFileSync(join(folder.path, 'ca.crt'), 'utf8'));
  });
});

describe('ca status', () => {
  const FIELDS = [
    'loaded',
    'subject',
    'fingerprint_sha256',
    'not_before',
    'not_after',
    'leaf_cache_size',
    'leaf_cache_max',
    'permit_domains',
    'managed',
    'next',
    'previous',
  ];

  it('tells of the CA in a folder, as text and as JSON', async () => {
    using folder = new TempFolder();
    await outcall(['init', '--out', folder.path, '--algorithm', 'ecdsa']);
    const text = await outcall(['status', '--ca-dir', folder.path]);
    const json = await outcall(['status', '--json', '--ca-dir', folder.path]);
    expect([text.code, json.code]).toEqual([0, 0]);
    const answer = JSON.parse(json.out) as CaAnswer;
    expect(Object.keys(answer)).toEqual(FIELDS);
    expect(answer).toMatchObject({ loaded: true, leaf_cache_size: 0, leaf_cache_max: 1024 });
    for (const value of [answer.subject, answer.fingerprint_sha256, answer.not_after])
      expect(text.out).toContain(value);
  });

  it('tells of the running daemon’s CA and its cache where no folder is named', async () => {
    const result = await outcall(['status', '--json'], daemon(loaded));
    expect([result.code, JSON.parse(result.out)]).toEqual([0, loaded]);
  });

  it('gives the daemon’s cache for a folder only where it is the same CA', async () => {
    using folder = new TempFolder();
    await outcall(['init', '--out', folder.path, '--algorithm', 'ecdsa']);
    const sizeWith = async (admin: AdminReader) =>
      (JSON.parse((await outcall(['status', '--json', '--ca-dir', folder.path], admin)).out) as CaAnswer)
        .leaf_cache_size;
    const { fingerprint_sha256 } = JSON.parse(
      (await outcall(['status', '--json', '--ca-dir', folder.path])).out,
    ) as CaAnswer;
    expect(await sizeWith(daemon(loaded))).toBe(0);
    expect(await sizeWith(daemon({ ...loaded, fingerprint_sha256 }))).toBe(7);
  });

  it('ends with 6 where there is no CA, in a folder or in the daemon, and the JSON says so', async () => {
    using folder = new TempFolder();
    const none = {
      ...{ loaded: false, managed: false, subject: null, fingerprint_sha256: null, not_before: null, not_after: null },
      ...{ permit_domains: null, next: null, previous: null },
    };
    const inFolder = await outcall(['status', '--json', '--ca-dir', folder.path]);
    expect([inFolder.code, JSON.parse(inFolder.out)]).toEqual([
      6,
      { ...none, leaf_cache_size: null, leaf_cache_max: 1024 },
    ]);
    const inDaemon = await outcall(['status'], daemon({ ...loaded, ...none, leaf_cache_size: null }));
    expect(inDaemon).toMatchObject({ code: 6, out: '', failure: expect.stringContaining('outcalld runs without one') });
  });

  it('ends with 1 where the key would be refused at start, without reading it', async () => {
    using folder = new TempFolder();
    await outcall(['init', '--out', folder.path, '--algorithm', 'ecdsa']);
    const key = join(folder.path, 'ca.key');
    chmodSync(key, 0o644);
    expect(await outcall(['status', '--ca-dir', folder.path])).toMatchObject({
      code: 1,
      failure: `CA key ${key} has mode 0644; it must be 0600: chmod 600 ${key}`,
    });
  });
});
