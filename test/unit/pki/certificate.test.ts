/**
 * CA and leaf certificates, read back by OpenSSL and by Python's strict verifier, never by what wrote them.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { canonicalHost, type Host } from '../../../src/domain/hostname.ts';
import {
  type CaAlgorithm,
  type Issuer,
  issueCa,
  issueLeaf,
  issuerOf,
  subjectKey,
} from '../../../src/pki/certificate.ts';
import { run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';

const HOUR_MS = 3_600_000;
const DAY_SECS = 86_400;
const LONG_NAME = `${'a'.repeat(40)}.${'b'.repeat(40)}.example.test`;
const leafKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' });

interface Ca {
  readonly pem: string;
  readonly certificate: X509Certificate;
  readonly issuer: Issuer;
}

const cas = new Map<CaAlgorithm, Ca>();
const NOW = Math.floor(Date.now() / 1000) * 1000;

beforeAll(async () => {
  for (const algorithm of ['rsa', 'ecdsa'] as const) cas.set(algorithm, await makeCa(algorithm, NOW));
});

async function makeCa(algorithm: CaAlgorithm, now: number): Promise<Ca> {
  const { pem, key } = await issueCa(algorithm, now);
  const certificate = new X509Certificate(pem);
  return { pem, certificate, issuer: issuerOf(certificate, key) };
}

function host(text: string): Host {
  const canonical = canonicalHost(text);
  if (canonical === undefined) throw new Error(`not a host: ${text}`);
  return canonical;
}

function mint(ca: Ca, name: string, options: { ttlSecs?: number; now?: number; publicKey?: KeyObject } = {}) {
  return issueLeaf(ca.issuer, {
    host: host(name),
    subjectKey: subjectKey(options.publicKey ?? leafKeys.publicKey),
    ttlSecs: options.ttlSecs ?? DAY_SECS,
    now: options.now ?? NOW,
  });
}

async function text(pem: string): Promise<string> {
  const { stdout } = await run('openssl', ['x509', '-noout', '-text'], { input: pem });
  return stdout.replaceAll(/\n\s+/g, '\n');
}

describe('the CA', () => {
  it('is RSA-4096 with SHA-256 by default, or P-256 with SHA-256', async () => {
    expect(cas.get('rsa')?.certificate.publicKey.asymmetricKeyDetails?.modulusLength).toBe(4096);
    expect(await text(cas.get('rsa')?.pem as string)).toContain('Signature Algorithm: sha256WithRSAEncryption');
    expect(cas.get('ecdsa')?.certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(await text(cas.get('ecdsa')?.pem as string)).toContain('Signature Algorithm: ecdsa-with-SHA256');
  });

  it.each(['rsa', 'ecdsa'] as const)('has what strict verifiers ask of a root (%s)', async (algorithm) => {
    const ca = cas.get(algorithm) as Ca;
    const shown = await text(ca.pem);
    expect(shown).toContain('X509v3 Basic Constraints: critical\nCA:TRUE, pathlen:0');
    expect(shown).toContain('X509v3 Key Usage: critical\nCertificate Sign, CRL Sign\n');
    const subjectKeyId = /Subject Key Identifier:\s+([0-9A-F:]+)/.exec(shown)?.[1];
    expect(subjectKeyId).toHaveLength(59);
    expect(/Authority Key Identifier:\s+(?:keyid:)?([0-9A-F:]+)/.exec(shown)?.[1]).toBe(subjectKeyId);
    expect(ca.certificate.subject).toMatch(/^O=Outcall\nCN=Outcall CA [0-9a-f]{8}$/);
    expect(ca.certificate.issuer).toBe(ca.certificate.subject);
    expect(ca.certificate.verify(ca.certificate.publicKey)).toBe(true);
  });

  it('is valid for ten years from now, and already an hour ago', () => {
    const { certificate } = cas.get('ecdsa') as Ca;
    const tenYears = new Date(NOW);
    tenYears.setUTCFullYear(tenYears.getUTCFullYear() + 10);
    expect(certificate.validToDate.getTime()).toBe(tenYears.getTime());
    expect(certificate.validFromDate.getTime()).toBe(NOW - HOUR_MS);
  });

  it('writes dates from 2050 on in the form that holds four digits of the year', async () => {
    const late = await makeCa('ecdsa', Date.UTC(2045, 5, 1));
    expect(late.certificate.validToDate.toISOString()).toBe('2055-06-01T00:00:00.000Z');
    expect(late.certificate.validFromDate.toISOString()).toBe('2045-05-31T23:00:00.000Z');
    const dates = await run('openssl', ['asn1parse'], { input: late.pem });
    expect(dates.stdout).toMatch(/UTCTIME\s+:450531230000Z/);
    expect(dates.stdout).toMatch(/GENERALIZEDTIME\s+:20550601000000Z/);
  });
});

describe.each(['rsa', 'ecdsa'] as const)('a leaf of an %s CA', (algorithm) => {
  const ca = () => cas.get(algorithm) as Ca;

  it.each([
    'api.example.test',
    'localhost',
    '127.0.0.1',
    '2001:db8::5',
    LONG_NAME,
    'xn--bcher-kva.example',
    '_x.example.test',
  ])('for %s verifies under openssl -x509_strict for that host, and not for another', async (name) => {
    using folder = new TempFolder();
    const caFile = folder.write('ca.crt', ca().pem);
    const { pem } = await mint(ca(), name);
    const kind = /^[0-9.]+$|:/.test(name) ? 'ip' : 'hostname';
    const verify = (kindOfName: string, wanted: string) =>
      run(
        'openssl',
        ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', caFile, `-verify_${kindOfName}`, wanted],
        {
          input: pem,
        },
      );
    expect(await verify(kind, name)).toMatchObject({ code: 0 });
    expect((await verify('hostname', 'other.example.test')).code).not.toBe(0);
  });

  it('says what it is for and no more', async () => {
    const shown = await text((await mint(ca(), 'api.example.test')).pem);
    expect(shown).toContain('X509v3 Basic Constraints: critical\nCA:FALSE');
    expect(shown).toContain('X509v3 Key Usage: critical\nDigital Signature\n');
    expect(shown).toContain('X509v3 Extended Key Usage: \nTLS Web Server Authentication\n');
    expect(shown).toContain('DNS:api.example.test\n');
    expect(shown).toContain('Subject: CN = api.example.test\n');
    const caKeyId = /Subject Key Identifier:\s+([0-9A-F:]+)/.exec(await text(ca().pem))?.[1];
    expect(/Authority Key Identifier:\s+(?:keyid:)?([0-9A-F:]+)/.exec(shown)?.[1]).toBe(caKeyId);
    expect(/Subject Key Identifier:\s+([0-9A-F:]+)/.exec(shown)?.[1]).not.toBe(caKeyId);
  });

  it('has an empty subject and a critical alternative name where a common name would pass 64 characters', async () => {
    const exactly64 = `${'a'.repeat(52)}.example.net`;
    const short = await text((await mint(ca(), exactly64)).pem);
    expect(short).toContain(`Subject: CN = ${exactly64}\n`);
    expect(short).toContain('Subject Alternative Name: \n');
    const long = await text((await mint(ca(), `a${exactly64}`)).pem);
    expect(long).toContain('Subject: \n');
    expect(long).toContain(`Subject Alternative Name: critical\nDNS:a${exactly64}\n`);
  });

  it('is refused by no check that Python has, VERIFY_X509_STRICT included', async () => {
    using folder = new TempFolder();
    const caFile = folder.write('ca.crt', ca().pem);
    const leaf = folder.write('leaf.pem', (await mint(ca(), 'api.example.test')).pem);
    const key = folder.write('leaf.key', leafKeys.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
    const other = folder.write('other.crt', (await makeCa('ecdsa', NOW)).pem);
    const handshake = (trusted: string) => run('python3', ['-c', PYTHON_HANDSHAKE, leaf, key, trusted]);
    expect(await handshake(caFile)).toMatchObject({ code: 0, stdout: 'verified\n' });
    expect((await handshake(other)).stderr).toContain('CERTIFICATE_VERIFY_FAILED');
  });

  it('is valid from an hour ago until its TTL is over, in whole seconds', async () => {
    const { pem, notAfter } = await mint(ca(), 'api.example.test', { now: NOW + 2 * HOUR_MS + 999, ttlSecs: 60 });
    const leaf = new X509Certificate(pem);
    expect(leaf.validFromDate.getTime()).toBe(NOW + HOUR_MS);
    expect(leaf.validToDate.getTime()).toBe(NOW + 2 * HOUR_MS + 60_000);
    expect(notAfter).toBe(leaf.validToDate.getTime());
  });

  it('never starts before the CA does, nor ends after it', async () => {
    const early = new X509Certificate((await mint(ca(), 'api.example.test', { now: NOW - HOUR_MS + 5_000 })).pem);
    expect(early.validFromDate).toEqual(ca().certificate.validFromDate);
    const caEnd = ca().certificate.validToDate.getTime();
    const late = await mint(ca(), 'api.example.test', { now: caEnd - 5_000 });
    expect(late.notAfter).toBe(caEnd);
  });

  it('is not made when the CA is not valid now', async () => {
    const end = ca().certificate.validToDate.getTime();
    await expect(mint(ca(), 'api.example.test', { now: end })).rejects.toThrow(/^the CA expired at /);
    await expect(mint(ca(), 'api.example.test', { now: end - 1000 })).resolves.toBeDefined();
    const start = ca().certificate.validFromDate.getTime();
    await expect(mint(ca(), 'api.example.test', { now: start - 1000 })).rejects.toThrow(/^the CA is not valid before /);
    await expect(mint(ca(), 'api.example.test', { now: start })).resolves.toBeDefined();
  });
});

describe('a serial number', () => {
  it('is positive, of 16 bytes, and never the same twice', async () => {
    const ca = cas.get('ecdsa') as Ca;
    const leaves = await Promise.all(Array.from({ length: 200 }, () => mint(ca, 'api.example.test')));
    for (const { pem, serial } of leaves) {
      expect(new X509Certificate(pem).serialNumber.toLowerCase()).toBe(serial);
      expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/);
    }
    expect(new Set(leaves.map(({ serial }) => serial)).size).toBe(200);
  });
});

describe('an IPv6 address in a leaf', () => {
  it('is the one that was asked for, however it is written', async () => {
    const ca = cas.get('ecdsa') as Ca;
    await fc.assert(
      fc.asyncProperty(fc.ipV6(), async (address) => {
        fc.pre(!address.includes('.'));
        const { pem } = await mint(ca, address);
        expect(new X509Certificate(pem).checkIP(address)).toBeDefined();
        expect(new X509Certificate(pem).checkIP('2001:db8:dead::1')).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });
});

describe('a CA made elsewhere', () => {
  it('issues under its own name, byte for byte, and its own key identifier', async () => {
    using folder = new TempFolder();
    const certFile = `${folder.path}/ca.crt`;
    const keyFile = `${folder.path}/ca.key`;
    const made = await run('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', keyFile, '-out', certFile, '-days', '30'],
      ...['-utf8', '-subj', '/C=NL/O=Bücher, Inc./CN=Corp "Root"+OU=x', '-addext', 'keyUsage=critical,keyCertSign'],
    ]);
    expect(made.code).toBe(0);
    const certificate = new X509Certificate(readFileSync(certFile));
    const issuer = issuerOf(certificate, createPrivateKey(readFileSync(keyFile)));
    const ca = { pem: certificate.toString(), certificate, issuer };
    const { pem } = await mint(ca, 'api.example.test', { now: Date.now() });
    const verified = await run('openssl', ['verify', '-x509_strict', '-CAfile', certFile], { input: pem });
    expect(verified).toMatchObject({ code: 0 });
    expect(new X509Certificate(pem).issuer).toBe(certificate.subject);
  });

  it.each(['P-384', 'P-521'])('on %s signs with the hash of that strength', async (namedCurve) => {
    using folder = new TempFolder();
    const files = ['-keyout', `${folder.path}/ca.key`, '-out', `${folder.path}/ca.crt`];
    const made = await run('openssl', [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      `ec_paramgen_curve:${namedCurve}`,
      '-nodes',
      '-subj',
      '/CN=x',
      ...files,
    ]);
    expect(made.code).toBe(0);
    const certificate = new X509Certificate(readFileSync(`${folder.path}/ca.crt`));
    const issuer = issuerOf(certificate, createPrivateKey(readFileSync(`${folder.path}/ca.key`)));
    const { pem } = await mint({ pem: '', certificate, issuer }, 'api.example.test', { now: Date.now() });
    expect(new X509Certificate(pem).signatureAlgorithm).toBe(
      namedCurve === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA512',
    );
    expect(new X509Certificate(pem).verify(certificate.publicKey)).toBe(true);
  });
});

/** Client and server in one process over memory, so that nothing but the verifier is in play. */
const PYTHON_HANDSHAKE = `
import ssl, sys
leaf, key, trusted = sys.argv[1:]
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain(leaf, key)
client = ssl.create_default_context(cafile=trusted)
client.verify_flags |= ssl.VERIFY_X509_STRICT
a, b, c, d = (ssl.MemoryBIO() for _ in range(4))
s = server.wrap_bio(a, b, server_side=True)
c_ = client.wrap_bio(c, d, server_hostname='api.example.test')
for _ in range(4):
    for side in (c_, s):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
        a.write(d.read()); c.write(b.read())
assert c_.version() == 'TLSv1.3' and c_.getpeercert()
print('verified')
`;
