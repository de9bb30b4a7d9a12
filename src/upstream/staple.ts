/**
 * Judges the OCSP response that a server stapled to its handshake (RFC 6960, RFC 6066 section 8). One that says `revoked`
 * is believed whoever signed it; one that says `good` counts only where the certificate demands it (RFC 7633), and then its
 * signature and its dates must hold. Asks no responder: nothing goes out for this.
 */
import { createHash, verify, X509Certificate } from 'node:crypto';
import type { CertificateFields } from '../wire/certificate.ts';
import { readCertificate } from '../wire/certificate.ts';
import { type OcspResponse, readOcspResponse, type SingleResponse } from '../wire/ocsp-response.ts';

export type StapleProblem = 'revoked' | 'staple_missing' | 'staple_malformed';

export interface StapleQuestion {
  /** As it came; undefined for none. */
  readonly staple: Buffer | undefined;
  /** The certificate that it should be about. */
  readonly leaf: CertificateFields;
  /** Who issued that; undefined where it is not known. */
  readonly issuer: X509Certificate | undefined;
  readonly now: number;
}

/** Bodies of object identifiers, in hex. */
const HASHES: ReadonlyMap<string, string> = new Map([
  ['2b0e03021a', 'sha1'],
  ['608648016503040201', 'sha256'],
]);
const SIGNATURES: ReadonlyMap<string, string> = new Map([
  ['2a864886f70d01010b', 'sha256'], // sha256WithRSAEncryption
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
  ['2a8648ce3d040302', 'sha256'], // ecdsa-with-SHA256
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
]);
const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
/** Clocks of responders and ours differ; what NSS allows for. */
const CLOCK_SKEW_MS = 24 * 3_600_000;

/** Why the certificate is not to be trusted, or undefined. */
export function stapleProblem(question: StapleQuestion): StapleProblem | undefined {
  const { staple, leaf } = question;
  const without = leaf.mustStaple ? 'staple_missing' : undefined;
  if (staple === undefined || staple.length === 0) return without;
  const response = readOcspResponse(staple);
  if (response === undefined) return 'staple_malformed';
  if (response === 'unavailable') return without;
  const about = response.responses.filter((one) => isAbout(one, question));
  if (about.some(({ status }) => status === 'revoked')) return 'revoked';
  return about.some((one) => isGoodNow(one, question.now)) && isSigned(response, question) ? undefined : without;
}

function isAbout(one: SingleResponse, { leaf, issuer }: StapleQuestion): boolean {
  const hash = HASHES.get(one.hashId.toString('hex'));
  if (!one.serial.equals(leaf.serial)) return false;
  // Whose serial number it is we cannot tell then, so it is taken for ours; `good` still has to be signed by our issuer.
  if (hash === undefined) return true;
  const key = issuer === undefined ? undefined : readCertificate(issuer.raw)?.publicKey;
  const keyFits = key === undefined || createHash(hash).update(key).digest().equals(one.issuerKeyHash);
  return keyFits && createHash(hash).update(leaf.issuer).digest().equals(one.issuerNameHash);
}

function isGoodNow({ status, thisUpdate, nextUpdate }: SingleResponse, now: number): boolean {
  return status === 'good' && thisUpdate <= now + CLOCK_SKEW_MS && nextUpdate !== undefined && now <= nextUpdate;
}

/** By the issuer, or by whom the issuer certified for it (RFC 6960 section 4.2.2.2). */
function isSigned(response: OcspResponse, { issuer, now }: StapleQuestion): boolean {
  const hash = SIGNATURES.get(response.algorithm.toString('hex'));
  if (hash === undefined || issuer === undefined) return false;
  const delegates = response.certificates
    .map(certificateOf)
    .filter((one) => one !== undefined && mayAnswer(one, issuer, now));
  return [issuer, ...delegates].some((one) => one !== undefined && signatureHolds(hash, response, one));
}

function mayAnswer(delegate: X509Certificate, issuer: X509Certificate, now: number): boolean {
  return (
    delegate.checkIssued(issuer) &&
    delegate.verify(issuer.publicKey) &&
    (delegate.keyUsage ?? []).includes(OCSP_SIGNING) &&
    delegate.validFromDate.getTime() <= now &&
    now <= delegate.validToDate.getTime()
  );
}

function signatureHolds(hash: string, { signed, signature }: OcspResponse, by: X509Certificate): boolean {
  try {
    return verify(hash, signed, by.publicKey, signature);
  } catch {
    return false; // a key that cannot verify signatures at all
  }
}

function certificateOf(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}
