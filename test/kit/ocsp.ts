/**
 * OCSP responses as a CA's responder makes them and a server staples them (RFC 6960). Does not share code with src/.
 */
import { createHash, createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { bits, der, integer, octets, oid, sequence, tagged } from './der.ts';
import type { KeyPair } from './pki.ts';

const HOUR_MS = 3_600_000;
const BASIC = oid('1.3.6.1.5.5.7.48.1.1');
const SHA1 = sequence(oid('1.3.14.3.2.26'), der(0x05));
const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

export interface StapleOptions {
  /** Whose response it is. */
  readonly issuer: KeyPair;
  /** The certificate that it is about, PEM; the first where there are several. */
  readonly certPem: string;
  readonly status?: 'good' | 'revoked' | 'unknown';
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  /** Signs in the place of the issuer, and comes along. */
  readonly signer?: KeyPair;
}

/** Good for an hour from now unless it says otherwise. */
export function ocspStaple(options: StapleOptions): Buffer {
  const { issuer, signer } = options;
  const data = sequence(
    tagged(2, octets(sha1(keyBits(signer ?? issuer)))),
    generalizedTime(new Date()),
    sequence(single(options)),
  );
  const signature = sign('sha256', data, createPrivateKey((signer ?? issuer).keyPem));
  const basic = sequence(
    data,
    ECDSA_WITH_SHA256,
    bits(signature),
    ...(signer === undefined ? [] : [tagged(0, sequence(new X509Certificate(signer.certPem).raw))]),
  );
  return sequence(der(0x0a, Buffer.from([0])), tagged(0, sequence(BASIC, octets(basic))));
}

/** A responder that has no answer just now (responseStatus tryLater). */
export const TRY_LATER = sequence(der(0x0a, Buffer.from([3])));

function single({ issuer, certPem, status = 'good', thisUpdate, nextUpdate }: StapleOptions): Buffer {
  const leaf = new X509Certificate(certPem);
  const certId = sequence(
    SHA1,
    octets(sha1(nameOf(issuer))),
    octets(sha1(keyBits(issuer))),
    integer(Buffer.from(leaf.serialNumber, 'hex')),
  );
  const from = thisUpdate ?? new Date(Date.now() - HOUR_MS);
  return sequence(
    certId,
    statusOf(status, from),
    generalizedTime(from),
    tagged(0, generalizedTime(nextUpdate ?? new Date(Date.now() + HOUR_MS))),
  );
}

function statusOf(status: 'good' | 'revoked' | 'unknown', since: Date): Buffer {
  if (status === 'revoked') return tagged(1, generalizedTime(since));
  return der(status === 'good' ? 0x80 : 0x82);
}

function generalizedTime(date: Date): Buffer {
  return der(0x18, Buffer.from(date.toISOString().replaceAll(/[-:T]|\.\d+/g, '')));
}

function sha1(data: Buffer): Buffer {
  return createHash('sha1').update(data).digest();
}

/** The uncompressed point of a P-256 key: the last 65 bytes of its SubjectPublicKeyInfo. */
function keyBits({ certPem }: KeyPair): Buffer {
  return new X509Certificate(certPem).publicKey.export({ format: 'der', type: 'spki' }).subarray(-65);
}

/** The subject of a test CA: one CN. */
function nameOf({ certPem }: KeyPair): Buffer {
  const name = new X509Certificate(certPem).subject.slice('CN='.length);
  return sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(name)))));
}
