/**
 * The CA on disk: what `ca init` writes, and everything that is refused when it is loaded.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadCaCertificate } from '../../../src/pki/ca-certificate.ts';
import { CaError } from '../../../src/pki/ca-error.ts';
import { initCa } from '../../../src/pki/ca-files.ts';
import { inspectKeyFile, keyFileProblem, loadCaKey } from '../../../src/pki/ca-key.ts';
import { caPaths } from '../../../src/pki/ca-names.ts';
import { testCa } from '../../kit/pki.ts';
import { run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';

const isRoot = process.geteuid?.() === 0;
const DAY_MS = 86_400_000;

function makeCa(folder: string, options: { force?: boolean; algorithm?: 'rsa' | 'ecdsa' } = {}) {
  const { force = false, algorithm = 'ecdsa' } = options;
  return initCa(folder, { algorithm, force, now: Date.now() });
}

function mode(path: string): string {
  return (statSync(path).mode & 0o7777).toString(8);
}

function caught(work: () => unknown): CaError {
  try {
    work();
  } catch (error) {
    if (error instanceof CaError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('ca init', () => {
  it('writes a key that only its owner may touch and a certificate that all may read, whatever the umask', async () => {
    using folder = new TempFolder();
    const before = process.umask(0o077);
    try {
      const { paths } = await makeCa(join(folder.path, 'new', 'ca'));
      expect(mode(paths.key)).toBe('600');
      expect(mode(paths.cert)).toBe('644');
    } finally {
      process.umask(before);
    }
    const before2 = process.umask(0);
    try {
      expect(mode((await makeCa(join(folder.path, 'other'))).paths.key)).toBe('600');
    } finally {
      process.umask(before2);
    }
  });

  it.each(['rsa', 'ecdsa'] as const)('makes a pair that belongs together and loads (%s)', async (algorithm) => {
    using folder = new TempFolder();
    const { paths, info } = await makeCa(folder.path, { algorithm });
    const loaded = loadCaCertificate(paths.cert, Date.now());
    expect(loaded.info).toEqual(info);
    expect(loadCaKey(paths.key, loaded.certificate).asymmetricKeyType).toBe(algorithm === 'rsa' ? 'rsa' : 'ec');
    const openssl = await run('openssl', ['x509', '-in', paths.cert, '-noout', '-fingerprint', '-sha256']);
    expect(openssl.stdout.trim()).toBe(`sha256 Fingerprint=${info.fingerprint_sha256}`);
    expect(info.certPem).toBe(readFileSync(paths.cert, 'utf8'));
    expect(info.not_after).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(readdirSync(folder.path).sort()).toEqual(['ca.crt', 'ca.key']);
  });

  it.each(['ca.key', 'ca.crt'])('overwrites nothing where %s exists, unless forced', async (existing) => {
    using folder = new TempFolder();
    folder.write(existing, 'mine', 0o600);
    const refused = await makeCa(folder.path).catch((error: unknown) => error);
    expect(refused).toMatchObject({ kind: 'exists', message: expect.stringContaining(join(folder.path, existing)) });
    expect(readdirSync(folder.path)).toEqual([existing]);
    expect(readFileSync(join(folder.path, existing), 'utf8')).toBe('mine');
    const { paths } = await makeCa(folder.path, { force: true });
    const { certificate } = loadCaCertificate(paths.cert, Date.now());
    expect(() => loadCaKey(paths.key, certificate)).not.toThrow();
    expect(readdirSync(folder.path).sort()).toEqual(['ca.crt', 'ca.key']);
  });

  it('replaces a symbolic link by a file when forced, and does not write through it', async () => {
    using folder = new TempFolder();
    const elsewhere = folder.write('elsewhere', 'untouched');
    mkdirSync(join(folder.path, 'ca'));
    symlinkSync(elsewhere, caPaths(join(folder.path, 'ca')).key);
    await expect(makeCa(join(folder.path, 'ca'))).rejects.toMatchObject({ kind: 'exists' });
    const { paths } = await makeCa(join(folder.path, 'ca'), { force: true });
    expect(readFileSync(elsewhere, 'utf8')).toBe('untouched');
    expect(mode(paths.key)).toBe('600');
  });

  it('names the folder and the reason where it cannot write', async () => {
    using folder = new TempFolder();
    const file = folder.write('file', '');
    await expect(makeCa(join(file, 'ca'))).rejects.toMatchObject({
      name: 'CaError',
      message: `cannot write the CA in ${join(file, 'ca')}: ENOTDIR`,
    });
  });
});

describe('the CA key', () => {
  let certificate: X509Certificate;
  let keyPem: string;

  beforeAll(async () => {
    using folder = new TempFolder();
    const { paths } = await makeCa(folder.path);
    certificate = new X509Certificate(readFileSync(paths.cert));
    keyPem = readFileSync(paths.key, 'utf8');
  });

  it.each([0o600, 0o400])('loads with mode %o', (allowed) => {
    using folder = new TempFolder();
    expect(loadCaKey(folder.write('ca.key', keyPem, allowed), certificate).type).toBe('private');
  });

  it.each([0o644, 0o640, 0o604, 0o602, 0o660, 0o610, 0o700, 0o4600])(
    'is refused with mode %o, by name and mode',
    (wide) => {
      using folder = new TempFolder();
      const path = folder.write('ca.key', keyPem, 0o600);
      chmodSync(path, wide);
      const shown = wide.toString(8).padStart(4, '0');
      expect(caught(() => loadCaKey(path, certificate)).message).toBe(
        `CA key ${path} has mode ${shown}; it must be 0600: chmod 600 ${path}`,
      );
      expect(inspectKeyFile(path)).toBe(`CA key ${path} has mode ${shown}; it must be 0600: chmod 600 ${path}`);
      chmodSync(path, 0o600);
      expect(() => loadCaKey(path, certificate)).not.toThrow();
      expect(inspectKeyFile(path)).toBeUndefined();
    },
  );

  it('is refused when it is missing, in the words of S011-EC-004', () => {
    using folder = new TempFolder();
    const path = join(folder.path, 'ca.key');
    expect(caught(() => loadCaKey(path, certificate))).toMatchObject({
      kind: 'missing',
      message: `cannot read CA key: ${path}: ENOENT`,
    });
    expect(inspectKeyFile(path)).toBe(`cannot read CA key: ${path}: ENOENT`);
  });

  it.skipIf(!isRoot)('is refused when this user may not read it, in the words of S011-EC-004', async () => {
    using folder = new TempFolder();
    chmodSync(folder.path, 0o755);
    const path = folder.write('ca.key', keyPem, 0o600);
    const asNobody = await run('python3', ['-c', AS_NOBODY, process.execPath, LOAD_KEY, path, certificate.toString()]);
    expect(asNobody.stdout).toBe(`cannot read CA key: ${path}: EACCES`);
  });

  it('is refused when another user owns it, who could widen it; root may read anyone’s', () => {
    const owned = { mode: 0o100600, uid: 1000 };
    expect(keyFileProblem('/x/ca.key', owned, 1001)).toBe(
      'CA key /x/ca.key belongs to uid 1000; it must belong to uid 1001, which reads it',
    );
    expect(keyFileProblem('/x/ca.key', owned, 1000)).toBeUndefined();
    expect(keyFileProblem('/x/ca.key', owned, 0)).toBeUndefined();
  });

  it('is refused through a symbolic link, and read by its own name', () => {
    using folder = new TempFolder();
    const real = folder.write('real.key', keyPem, 0o600);
    const link = join(folder.path, 'ca.key');
    symlinkSync(real, link);
    expect(caught(() => loadCaKey(link, certificate)).message).toBe(
      `CA key ${link} is a symbolic link; name the file itself`,
    );
    expect(inspectKeyFile(link)).toBe(`CA key ${link} is a symbolic link; name the file itself`);
    expect(() => loadCaKey(real, certificate)).not.toThrow();
  });

  it('is refused when it is a folder, a FIFO or a device, without waiting for a writer', async () => {
    using folder = new TempFolder();
    const fifo = join(folder.path, 'fifo');
    expect((await run('mkfifo', ['-m', '600', fifo])).code).toBe(0);
    for (const path of [folder.path, fifo, '/dev/zero']) {
      expect(caught(() => loadCaKey(path, certificate)).message).toBe(`CA key ${path} is not a regular file`);
    }
  });

  it('is refused when it belongs to another certificate', async () => {
    using folder = new TempFolder();
    const { paths } = await makeCa(folder.path);
    expect(caught(() => loadCaKey(paths.key, certificate)).message).toBe(
      `CA key ${paths.key} does not belong to the CA certificate`,
    );
  });

  it('is refused when it is encrypted or is no key, and the message holds nothing of the file', async () => {
    using folder = new TempFolder();
    const encrypted = createPrivateKey(keyPem).export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'secret',
    }) as string;
    const path = folder.write('encrypted.key', encrypted, 0o600);
    expect(caught(() => loadCaKey(path, certificate)).message).toBe(
      `CA key ${path} is encrypted; it must be unencrypted PEM`,
    );
    for (const text of ['', 'SECRET-TEXT', keyPem.slice(0, 100), certificate.toString()]) {
      const broken = folder.write('broken.key', text, 0o600);
      expect(caught(() => loadCaKey(broken, certificate)).message).toBe(`CA key ${broken} is not a private key in PEM`);
    }
    const huge = folder.write('huge.key', Buffer.alloc(70_000, 'A'), 0o600);
    expect(caught(() => loadCaKey(huge, certificate)).message).toBe(`CA key ${huge} is larger than 65536 bytes`);
  });
});

describe('the CA certificate', () => {
  const load = (path: string, now = Date.now()) => loadCaCertificate(path, now);

  async function opensslCa(folder: TempFolder, ...args: string[]): Promise<string> {
    const path = join(folder.path, 'openssl.crt');
    const files = ['-keyout', join(folder.path, 'openssl.key'), '-out', path];
    const made = await run('openssl', ['req', '-x509', '-nodes', '-subj', '/CN=Corp', ...files, ...args]);
    expect(made.stderr).not.toContain('rror');
    return path;
  }

  it('is told by subject, fingerprint and dates', async () => {
    using folder = new TempFolder();
    const { paths } = await makeCa(folder.path);
    const { info } = load(paths.cert);
    expect(info.subject).toMatch(/^O=Outcall, CN=Outcall CA [0-9a-f]{8}$/);
    expect(info.fingerprint_sha256).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  });

  it('may come from elsewhere, and through a symbolic link', async () => {
    using folder = new TempFolder();
    const path = await opensslCa(folder, '-newkey', 'rsa:2048');
    symlinkSync(path, join(folder.path, 'link.crt'));
    expect(load(path).info.subject).toBe('CN=Corp');
    expect(load(join(folder.path, 'link.crt')).info.subject).toBe('CN=Corp');
    expect(() => loadCaKey(join(folder.path, 'openssl.key'), load(path).certificate)).not.toThrow();
  });

  it('is refused when it is missing', () => {
    expect(caught(() => load('/nonexistent/ca.crt'))).toMatchObject({
      kind: 'missing',
      message: 'cannot read CA certificate: /nonexistent/ca.crt: ENOENT',
    });
  });

  it('is refused before and after its time', async () => {
    using folder = new TempFolder();
    const { paths, info } = await makeCa(folder.path);
    const start = Date.parse(info.not_before);
    const end = Date.parse(info.not_after);
    expect(caught(() => load(paths.cert, start - 1)).message).toBe(
      `CA certificate ${paths.cert} is not valid before ${info.not_before}`,
    );
    expect(caught(() => load(paths.cert, end)).message).toBe(
      `CA certificate ${paths.cert} expired at ${info.not_after}`,
    );
    expect(load(paths.cert, start).info).toEqual(info);
    expect(load(paths.cert, end - 1).info).toEqual(info);
  });

  it.each([
    ['an RSA key below 2,048 bits', ['-newkey', 'rsa:1024'], /has an RSA key of 1024 bits; 2048 or more are needed$/],
    ['a SHA-1 signature', ['-newkey', 'rsa:2048', '-sha1'], /is signed with .*sha1.*; SHA-256 or better is needed$/i],
    [
      'a key that clients do not know',
      ['-newkey', 'ed25519'],
      /has a key of type ed25519; use RSA, P-256, P-384 or P-521$/,
    ],
    ['CA:FALSE', ['-newkey', 'rsa:2048', '-addext', 'basicConstraints=critical,CA:FALSE'], /may not sign certificates/],
    ['no keyCertSign', ['-newkey', 'rsa:2048', '-addext', 'keyUsage=digitalSignature'], /may not sign certificates/],
    ['no serverAuth', ['-newkey', 'rsa:2048', '-addext', 'extendedKeyUsage=clientAuth'], /may not sign for servers/],
  ])('is refused with %s', async (_, args, message) => {
    using folder = new TempFolder();
    const path = await opensslCa(folder, ...args);
    expect(caught(() => load(path)).message).toMatch(message);
    expect(caught(() => load(path)).message).toContain(`CA certificate ${path} `);
  });

  it('is refused as an intermediate, or as one of several in a file', () => {
    using folder = new TempFolder();
    const root = testCa();
    const chain = root.intermediate('Lower CA').certPem;
    const lower = folder.write(
      'lower.crt',
      `${chain.split('-----END CERTIFICATE-----')[0]}-----END CERTIFICATE-----\n`,
    );
    expect(caught(() => load(lower)).message).toBe(
      `CA certificate ${lower} is not self-signed; an intermediate CA is not supported`,
    );
    const both = folder.write('both.crt', root.certPem + chain);
    expect(caught(() => load(both)).message).toBe(
      `CA certificate ${both} holds 2 certificates; it must hold one self-signed root`,
    );
    expect(load(folder.write('root.crt', root.certPem)).info.subject).toBe('CN=Outcall test CA');
  });

  it('is refused when a private key is in the same file, so that none but the signer reads a key', () => {
    using folder = new TempFolder();
    const { certPem, keyPem } = testCa();
    const path = folder.write('both.pem', certPem + keyPem);
    expect(caught(() => load(path)).message).toBe(
      `CA certificate ${path} also holds a private key; keep the key in a file of its own`,
    );
    writeFileSync(path, certPem);
    expect(() => load(path)).not.toThrow();
  });

  it('is refused when it is no certificate', () => {
    using folder = new TempFolder();
    const { certPem } = testCa();
    for (const text of ['', 'hello', certPem.slice(0, 200), certPem.replace('M', 'N')]) {
      const path = folder.write('ca.crt', text);
      expect(caught(() => load(path)).message).toBe(`CA certificate ${path} is not a certificate in PEM`);
    }
  });

  it('is not loaded ten years and a day later', async () => {
    using folder = new TempFolder();
    const { paths } = await makeCa(folder.path);
    expect(() => load(paths.cert, Date.now() + 3652 * DAY_MS - DAY_MS)).not.toThrow();
    expect(caught(() => load(paths.cert, Date.now() + 3654 * DAY_MS)).message).toContain('expired');
  });
});

const LOAD_KEY = `
  const [path, pem] = process.argv.slice(1);
  const { X509Certificate } = require('node:crypto');
  import('${join(import.meta.dirname, '../../../src/pki/ca-key.ts')}').then(({ loadCaKey }) => {
    try { loadCaKey(path, new X509Certificate(pem)); } catch (error) { process.stdout.write(error.message); }
  });
`;
/** A user who owns nothing of ours. */
const AS_NOBODY = `
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.execv(sys.argv[1], [sys.argv[1], '-e', *sys.argv[2:]])
`;
