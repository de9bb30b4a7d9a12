/**
 * The CA certificate as the operator gave it: read, checked, described. Everything that can be known without the key, so that
 * the supervisor and the CLI need never open it. Does not load node-forge.
 */
import { type KeyObject, X509Certificate } from 'node:crypto';
import type { NameConstraints } from '../domain/name-constraints.ts';
import { CaError } from './ca-error.ts';
import { readNameConstraints } from './name-constraints.ts';
import { readPemFile } from './pem-file.ts';

/** What may be told about the CA: to the operator, to `ca status`, to the log. */
export interface CaInfo {
  /** As in `O=Outcall, CN=Outcall CA 1f2e3d4c`. */
  readonly subject: string;
  /** Upper-case hexadecimal pairs joined by colons. */
  readonly fingerprint_sha256: string;
  /** RFC 3339, UTC. */
  readonly not_before: string;
  readonly not_after: string;
  readonly certPem: string;
  /** Undefined where it may sign for any host. */
  readonly constraints: NameConstraints | undefined;
}

export interface LoadedCertificate {
  readonly certificate: X509Certificate;
  readonly info: CaInfo;
}

/** The CAs of one installation: the one that signs, the one that is to sign next, and the one that signed before. */
export interface CaSet {
  readonly current: CaInfo | undefined;
  readonly next: CaInfo | undefined;
  readonly previous: CaInfo | undefined;
}

export const NO_CA: CaSet = { current: undefined, next: undefined, previous: undefined };

/** What agents are to trust, the one that signs first; empty without a CA. */
export function bundleOf({ current, next, previous }: CaSet): string {
  return [current, next, previous].map((ca) => (ca === undefined ? '' : `${ca.certPem.trimEnd()}\n`)).join('');
}

const LABEL = 'CA certificate';
/** NIST SP 800-131A: RSA below 2,048 bits is disallowed for signatures. */
const MIN_RSA_BITS = 2048;
const CURVES: readonly string[] = ['prime256v1', 'secp384r1', 'secp521r1'];
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const ANY_EXTENDED_KEY_USAGE = '2.5.29.37.0';

/**
 * Reads and checks the CA certificate (S011-FR-001): one self-signed root that may sign certificates, valid at `now`
 * (milliseconds since the epoch), strong enough. Throws CaError, kind `missing` where there is no such file.
 */
export function loadCaCertificate(path: string, now: number): LoadedCertificate {
  return caCertificateFrom(path, readPemFile(path, LABEL, { follow: true }), now);
}

/** The same of bytes that are here already; `path` is for the messages. */
export function caCertificateFrom(path: string, bytes: Buffer, now: number): LoadedCertificate {
  const certificate = parse(path, bytes);
  const problem = problemWith(certificate, now);
  if (problem !== undefined) throw new CaError('unfit', `${LABEL} ${path} ${problem}`);
  return { certificate, info: describe(certificate) };
}

function parse(path: string, bytes: Buffer): X509Certificate {
  // A key in here would be read by processes that must never hold it.
  if (bytes.includes('PRIVATE KEY-----')) {
    bytes.fill(0);
    throw new CaError('unfit', `${LABEL} ${path} also holds a private key; keep the key in a file of its own`);
  }
  const count = bytes.toString('latin1').split('-----BEGIN CERTIFICATE-----').length - 1;
  if (count > 1) {
    throw new CaError('unfit', `${LABEL} ${path} holds ${count} certificates; it must hold one self-signed root`);
  }
  try {
    if (count === 0) throw new Error('no BEGIN CERTIFICATE line');
    return new X509Certificate(bytes);
  } catch (cause) {
    throw new CaError('unfit', `${LABEL} ${path} is not a certificate in PEM`, { cause });
  }
}

function problemWith(certificate: X509Certificate, now: number): string | undefined {
  const weakness = weakKey(certificate.publicKey);
  if (weakness !== undefined) return weakness;
  if (/sha1|md5|md4|md2/i.test(certificate.signatureAlgorithm ?? '')) {
    return `is signed with ${certificate.signatureAlgorithm}; SHA-256 or better is needed`;
  }
  // OpenSSL says true only where basicConstraints has CA:TRUE and keyUsage, if there, has keyCertSign.
  if (!certificate.ca) return 'may not sign certificates: it needs basicConstraints CA:TRUE and keyUsage keyCertSign';
  const usages = certificate.keyUsage as readonly string[] | undefined;
  if (usages !== undefined && !usages.includes(SERVER_AUTH) && !usages.includes(ANY_EXTENDED_KEY_USAGE)) {
    return 'may not sign for servers: its extendedKeyUsage has no serverAuth';
  }
  if (certificate.subject === undefined) return 'has an empty subject';
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey)) {
    return 'is not self-signed; an intermediate CA is not supported';
  }
  if (readNameConstraints(certificate.raw) === 'unsupported') {
    return 'has name constraints on the subject; only those on DNS names and addresses are supported';
  }
  if (now < certificate.validFromDate.getTime()) return `is not valid before ${iso(certificate.validFromDate)}`;
  if (now >= certificate.validToDate.getTime()) return `expired at ${iso(certificate.validToDate)}`;
  return undefined;
}

function weakKey(key: KeyObject): string | undefined {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === 'rsa') {
    const bits = details?.modulusLength ?? 0;
    return bits < MIN_RSA_BITS ? `has an RSA key of ${bits} bits; ${MIN_RSA_BITS} or more are needed` : undefined;
  }
  if (key.asymmetricKeyType === 'ec' && CURVES.includes(details?.namedCurve ?? '')) return undefined;
  return `has a key of type ${details?.namedCurve ?? key.asymmetricKeyType}; use RSA, P-256, P-384 or P-521`;
}

function describe(certificate: X509Certificate): CaInfo {
  const constraints = readNameConstraints(certificate.raw);
  return {
    subject: certificate.subject.split('\n').join(', '),
    fingerprint_sha256: certificate.fingerprint256,
    not_before: iso(certificate.validFromDate),
    not_after: iso(certificate.validToDate),
    certPem: certificate.toString(),
    constraints: constraints === 'unsupported' ? undefined : constraints,
  };
}

/** Certificates count whole seconds. */
function iso(date: Date): string {
  return date.toISOString().replace('.000Z', 'Z');
}
