/**
 * Test CAs and the certificates of origins and mTLS clients, minted per run in about a millisecond each (P-256).
 * Does not use src/pki: the product is never checked against itself.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP, isIPv4 } from 'node:net';
import { bits, boolean, der, integer, octets, oid, sequence, set, tagged, time, utf8 } from './der.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const COMMON_NAME = oid('2.5.4.3');
const EXTENSION = {
  subjectKeyId: oid('2.5.29.14'),
  keyUsage: oid('2.5.29.15'),
  altName: oid('2.5.29.17'),
  basicConstraints: oid('2.5.29.19'),
  authorityKeyId: oid('2.5.29.35'),
  extendedKeyUsage: oid('2.5.29.37'),
  tlsFeature: oid('1.3.6.1.5.5.7.1.24'),
};
const SERVER_AUTH = oid('1.3.6.1.5.5.7.3.1');
const CLIENT_AUTH = oid('1.3.6.1.5.5.7.3.2');
const OCSP_SIGNING = oid('1.3.6.1.5.5.7.3.9');
/** status_request, as a list of TLS features (RFC 7633). */
const MUST_STAPLE = sequence(integer(Buffer.from([5])));
const RSA_BITS = 2048;

export interface KeyPair {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface IssueOptions {
  /** DNS names and IP addresses of the subjectAltName; the first is the CN too. */
  readonly names: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** extendedKeyUsage clientAuth in the place of serverAuth. */
  readonly clientAuth?: boolean;
  /** Signed by its own key in the place of the CA's. */
  readonly selfSigned?: boolean;
  /** No subjectAltName at all: verifiers of today refuse it. */
  readonly cnOnly?: boolean;
  /** The CN in the place of the first name; '' for an empty subject. */
  readonly cn?: string;
  /** Of what kind the certified key is; default: P-256. */
  readonly key?: 'ec' | 'rsa';
  /** RFC 7633: clients insist on a stapled OCSP response. */
  readonly mustStaple?: boolean;
  /** extendedKeyUsage OCSPSigning in the place of serverAuth. */
  readonly ocspSigning?: boolean;
}

export interface TestCa extends KeyPair {
  issue(options: IssueOptions): KeyPair;
  /** An intermediate: what it issues has its own certificate appended, as a server sends it. */
  intermediate(name: string): TestCa;
}

interface Subject {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly Buffer[];
}

interface Issuer {
  readonly name: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** A fresh CA that no one trusts but those who are given its `certPem`. */
export function testCa(name = 'Outcall test CA'): TestCa {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuer = { name, ...keys };
  return caOf(issuer, caCertificate(issuer, issuer), '');
}

function caOf(issuer: Issuer, certPem: string, chainPem: string): TestCa {
  return {
    certPem,
    keyPem: pemKey(issuer.privateKey),
    issue: (options) => issue(issuer, chainPem, options),
    intermediate: (name) => {
      const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const lower = { name, ...keys };
      const lowerPem = caCertificate(lower, issuer);
      return caOf(lower, lowerPem, lowerPem + chainPem);
    },
  };
}

function caCertificate(subject: Issuer, issuer: Issuer): string {
  return certificate(issuer, {
    name: subject.name,
    publicKey: subject.publicKey,
    ...validity({}),
    extensions: [
      extension(EXTENSION.basicConstraints, true, sequence(boolean(true))),
      extension(EXTENSION.keyUsage, true, bits(Buffer.from([0x06]), 1)), // keyCertSign, cRLSign
      ...keyIds(subject.publicKey, issuer.publicKey),
    ],
  });
}

function issue(ca: Issuer, chainPem: string, options: IssueOptions): KeyPair {
  const keys =
    options.key === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: RSA_BITS })
      : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = options.cn ?? options.names[0] ?? 'unnamed';
  const issuer = options.selfSigned === true ? { name, ...keys } : ca;
  const certPem = certificate(issuer, {
    name,
    publicKey: keys.publicKey,
    ...validity(options),
    extensions: [
      extension(EXTENSION.basicConstraints, true, sequence()),
      extension(EXTENSION.keyUsage, true, bits(Buffer.from([0x80]), 7)), // digitalSignature
      extension(EXTENSION.extendedKeyUsage, false, sequence(purposeOf(options))),
      ...keyIds(keys.publicKey, issuer.publicKey),
      ...(options.cnOnly === true ? [] : [altName(options.names)]),
      ...(options.mustStaple === true ? [extension(EXTENSION.tlsFeature, false, MUST_STAPLE)] : []),
    ],
  });
  return { certPem: options.selfSigned === true ? certPem : certPem + chainPem, keyPem: pemKey(keys.privateKey) };
}

function purposeOf({ clientAuth, ocspSigning }: IssueOptions): Buffer {
  if (ocspSigning === true) return OCSP_SIGNING;
  return clientAuth === true ? CLIENT_AUTH : SERVER_AUTH;
}

function validity(options: { readonly notBefore?: Date; readonly notAfter?: Date }) {
  return {
    notBefore: options.notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: options.notAfter ?? new Date(Date.now() + 30 * DAY_MS),
  };
}

function certificate(issuer: Issuer, subject: Subject): string {
  const tbs = sequence(
    tagged(0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([0x40]), randomBytes(15)])),
    ECDSA_WITH_SHA256,
    distinguishedName(issuer.name),
    sequence(time(subject.notBefore), time(subject.notAfter)),
    distinguishedName(subject.name),
    subject.publicKey.export({ format: 'der', type: 'spki' }),
    tagged(3, sequence(...subject.extensions)),
  );
  const signature = sign('sha256', tbs, issuer.privateKey);
  return pem('CERTIFICATE', sequence(tbs, ECDSA_WITH_SHA256, bits(signature)));
}

function distinguishedName(name: string): Buffer {
  return name === '' ? sequence() : sequence(set(sequence(COMMON_NAME, utf8(name.slice(0, 64)))));
}

function extension(id: Buffer, critical: boolean, value: Buffer): Buffer {
  return sequence(id, ...(critical ? [boolean(true)] : []), octets(value));
}

function keyIds(subject: KeyObject, issuer: KeyObject): Buffer[] {
  return [
    extension(EXTENSION.subjectKeyId, false, octets(keyId(subject))),
    extension(EXTENSION.authorityKeyId, false, sequence(der(0x80, keyId(issuer)))),
  ];
}

function keyId(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ format: 'der', type: 'spki' }))
    .digest();
}

function altName(names: readonly string[]): Buffer {
  const entries = names.map((name) => (isIP(name) ? der(0x87, addressBytes(name)) : der(0x82, Buffer.from(name))));
  return extension(EXTENSION.altName, false, sequence(...entries));
}

/** The 4 or 16 bytes of an IP address in network order. */
export function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  // The URL parser writes an IPv4 tail as two groups.
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const words = (text: string) => (text === '' ? [] : text.split(':').map((word) => Number.parseInt(word, 16)));
  const left = words(head);
  const right = tail === undefined ? [] : words(tail);
  const all = [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 0xff]));
}

function pem(label: string, body: Buffer): string {
  const lines = body.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function pemKey(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }) as string;
}
