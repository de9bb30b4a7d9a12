/**
 * CA and leaf certificates: the TBSCertificate is built as ASN.1 and signed natively off the event loop
 * (2 to 3 ms for an RSA-4096 CA, 0.3 ms for P-256; a signature in JavaScript would block for 236 ms).
 * Written for strict verifiers (RFC 5280, OpenSSL -x509_strict, Python VERIFY_X509_STRICT, rustls).
 * Does not decide who gets a leaf: see signer.ts.
 */
import { generateKeyPair, type KeyObject, randomBytes, sign, type X509Certificate } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { promisify } from 'node:util';
import { type Host, isAddress } from '../domain/hostname.ts';
import {
  type Asn1,
  bitString,
  boolean,
  decode,
  encode,
  extension,
  integer,
  keyIdentifier,
  nullValue,
  octetString,
  oid,
  sequence,
  set,
  subjectAndKeyId,
  tagged,
  taggedBytes,
  time,
  utf8String,
} from './x509-asn1.ts';

export type CaAlgorithm = 'rsa' | 'ecdsa';

/** What it takes to sign for a CA. Holds the private key: never leaves the signer process. */
export interface Issuer {
  readonly key: KeyObject;
  readonly subject: Asn1;
  readonly keyId: Buffer;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** A public key as its certificates repeat it. */
export interface SubjectKey {
  readonly spki: Asn1;
  readonly keyId: Buffer;
}

export interface IssuedLeaf {
  readonly pem: string;
  /** Hexadecimal, lower-case. */
  readonly serial: string;
  /** Milliseconds since the epoch, a whole second. */
  readonly notAfter: number;
}

/** S011-AS-009. */
const CA_RSA_BITS = 4096;
const CA_VALID_YEARS = 10;
/** Agents' clocks run behind: what is signed now is valid an hour ago. */
const BACKDATE_MS = 3_600_000;
/** RFC 5280 section 4.1.2.2 wants at most 20 octets and positive; CA/B Forum wants at least 64 random bits. */
const SERIAL_BYTES = 16;
/** RFC 5280 appendix A.1, ub-common-name. */
const MAX_COMMON_NAME_CHARS = 64;

const OID = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  nameConstraints: '2.5.29.30',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  sha256WithRsa: '1.2.840.113549.1.1.11',
} as const;

/** RFC 5758 section 3.2: the hash that goes with each curve. */
const ECDSA_BY_CURVE: Readonly<Record<string, { hash: string; oid: string }>> = {
  prime256v1: { hash: 'sha256', oid: '1.2.840.10045.4.3.2' },
  secp384r1: { hash: 'sha384', oid: '1.2.840.10045.4.3.3' },
  secp521r1: { hash: 'sha512', oid: '1.2.840.10045.4.3.4' },
};

const generate = promisify(generateKeyPair);

/**
 * Makes a self-signed root and its key: RSA-4096 with SHA-256, or P-256 with SHA-256; valid for ten years (S011-AS-009).
 * `now`: milliseconds since the epoch. `permitDomains`: it can sign for these names and those below them, and for nothing
 * else, no address either; empty for no such bound.
 */
export async function issueCa(
  algorithm: CaAlgorithm,
  now: number,
  permitDomains: readonly string[] = [],
): Promise<{ pem: string; key: KeyObject }> {
  const { publicKey, privateKey } =
    algorithm === 'rsa'
      ? await generate('rsa', { modulusLength: CA_RSA_BITS })
      : await generate('ec', { namedCurve: 'prime256v1' });
  const { spki, keyId } = subjectKey(publicKey);
  const expiry = new Date(now);
  expiry.setUTCFullYear(expiry.getUTCFullYear() + CA_VALID_YEARS);
  const issuer: Issuer = {
    key: privateKey,
    subject: name([OID.organization, 'Outcall'], [OID.commonName, `Outcall CA ${keyId.toString('hex', 0, 4)}`]),
    keyId,
    notBefore: now - BACKDATE_MS,
    notAfter: wholeSecond(expiry.getTime()),
  };
  const extensions = [
    extension(OID.basicConstraints, true, sequence(boolean(true), integer(Buffer.from([0])))),
    // keyCertSign (5) and cRLSign (6), RFC 5280 section 4.2.1.3.
    extension(OID.keyUsage, true, bitString(Buffer.from([0b0000_0110]), 1)),
    ...(permitDomains.length === 0 ? [] : [nameConstraints(permitDomains)]),
    ...keyIdExtensions(keyId, keyId),
  ];
  const pem = await signed(issuer, { ...issuer, spki, serial: serialNumber(), extensions });
  return { pem, key: privateKey };
}

/**
 * Reads from a loaded CA what its leaves repeat. Throws when the key is of a kind that we do not sign with.
 * A CA without a subject key identifier gets the one that RFC 7093 derives from its key.
 */
export function issuerOf(certificate: X509Certificate, key: KeyObject): Issuer {
  signatureAlgorithm(key);
  const { subject, keyId } = subjectAndKeyId(certificate.raw);
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return {
    key,
    subject,
    keyId: keyId ?? keyIdentifier(spki),
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
  };
}

/** For issueLeaf: read once, since all leaves of one signer have one key. */
export function subjectKey(publicKey: KeyObject): SubjectKey {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return { spki: decode(spki), keyId: keyIdentifier(spki) };
}

/**
 * Signs a server certificate for one host and the given public key (S011-FR-005). Valid from an hour ago, for `ttlSecs`, and
 * never outside the CA's own dates. Rejects when the CA is not valid at `now` (milliseconds since the epoch).
 */
export async function issueLeaf(
  issuer: Issuer,
  leaf: { host: Host; subjectKey: SubjectKey; ttlSecs: number; now: number },
): Promise<IssuedLeaf> {
  if (leaf.now < issuer.notBefore) throw new Error(`the CA is not valid before ${iso(issuer.notBefore)}`);
  if (leaf.now >= issuer.notAfter) throw new Error(`the CA expired at ${iso(issuer.notAfter)}`);
  const { spki, keyId } = leaf.subjectKey;
  const named = leaf.host.length <= MAX_COMMON_NAME_CHARS;
  const notAfter = wholeSecond(Math.min(leaf.now + leaf.ttlSecs * 1000, issuer.notAfter));
  const serial = serialNumber();
  const extensions = [
    extension(OID.basicConstraints, true, sequence()),
    // digitalSignature (0).
    extension(OID.keyUsage, true, bitString(Buffer.from([0b1000_0000]), 7)),
    extension(OID.extKeyUsage, false, sequence(oid(OID.serverAuth))),
    // RFC 5280 section 4.2.1.6: with an empty subject the alternative name is critical.
    extension(OID.subjectAltName, !named, sequence(generalName(leaf.host))),
    ...keyIdExtensions(keyId, issuer.keyId),
  ];
  const pem = await signed(issuer, {
    subject: named ? name([OID.commonName, leaf.host]) : sequence(),
    notBefore: Math.max(leaf.now - BACKDATE_MS, issuer.notBefore),
    notAfter,
    spki,
    serial,
    extensions,
  });
  return { pem, serial: serial.toString('hex'), notAfter };
}

interface ToBeSigned {
  readonly subject: Asn1;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spki: Asn1;
  readonly serial: Buffer;
  readonly extensions: readonly Asn1[];
}

async function signed(issuer: Issuer, body: ToBeSigned): Promise<string> {
  const algorithm = signatureAlgorithm(issuer.key);
  const tbs = sequence(
    tagged(0, integer(Buffer.from([2]))), // v3
    integer(body.serial),
    algorithm.identifier,
    issuer.subject,
    sequence(time(body.notBefore), time(body.notAfter)),
    body.subject,
    body.spki,
    tagged(3, sequence(...body.extensions)),
  );
  const signature = await signNatively(algorithm.hash, encode(tbs), issuer.key);
  return pem(encode(sequence(tbs, algorithm.identifier, bitString(signature))));
}

/** The callback form of crypto.sign runs in the thread pool; the other one would hold the event loop for 3 ms. */
function signNatively(hash: string, data: Buffer, key: KeyObject): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(hash, data, key, (error, signature) => (error === null ? resolve(signature) : reject(error)));
  });
}

function signatureAlgorithm(key: KeyObject): { hash: string; identifier: Asn1 } {
  // RFC 4055 section 5: parameters are NULL; RFC 5758 section 3.2: parameters are absent.
  if (key.asymmetricKeyType === 'rsa') {
    return { hash: 'sha256', identifier: sequence(oid(OID.sha256WithRsa), nullValue()) };
  }
  const ecdsa = ECDSA_BY_CURVE[key.asymmetricKeyDetails?.namedCurve ?? ''];
  if (ecdsa === undefined) throw new Error(`cannot sign with a key of type ${key.asymmetricKeyType ?? 'unknown'}`);
  return { hash: ecdsa.hash, identifier: sequence(oid(ecdsa.oid)) };
}

function keyIdExtensions(subjectKeyId: Buffer, authorityKeyId: Buffer): readonly Asn1[] {
  return [
    extension(OID.subjectKeyIdentifier, false, octetString(subjectKeyId)),
    extension(OID.authorityKeyIdentifier, false, sequence(taggedBytes(0, authorityKeyId))),
  ];
}

/** RFC 5280 section 4.2.1.10. A bound on names is none on addresses, so all of these are excluded: 0.0.0.0/0 and ::/0. */
function nameConstraints(domains: readonly string[]): Asn1 {
  const names = domains.map((domain) => sequence(taggedBytes(2, Buffer.from(domain, 'latin1'))));
  const addresses = [8, 32].map((bytes) => sequence(taggedBytes(7, Buffer.alloc(bytes))));
  return extension(OID.nameConstraints, true, sequence(tagged(0, ...names), tagged(1, ...addresses)));
}

function name(...attributes: readonly (readonly [type: string, value: string])[]): Asn1 {
  return sequence(...attributes.map(([type, value]) => set(sequence(oid(type), utf8String(value)))));
}

/** RFC 5280 section 4.2.1.6: dNSName [2], iPAddress [7] in network byte order. */
function generalName(host: Host): Asn1 {
  return isAddress(host) ? taggedBytes(7, addressBytes(host)) : taggedBytes(2, Buffer.from(host, 'latin1'));
}

/** `host` is canonical: four decimal numbers, or RFC 5952 hexadecimal groups with at most one `::`. */
function addressBytes(host: Host): Buffer {
  if (isIPv4(host)) return Buffer.from(host.split('.').map(Number));
  const [head, tail] = host.split('::').map((side) => (side === '' ? [] : side.split(':')));
  const left = head ?? [];
  const right = tail ?? [];
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return Buffer.from(groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}

/** Random; the top bits are set so that the number is positive and always has all its bytes. */
function serialNumber(): Buffer {
  const serial = randomBytes(SERIAL_BYTES);
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  return serial;
}

function wholeSecond(at: number): number {
  return Math.floor(at / 1000) * 1000;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
