/**
 * What rules see of a server's certificate. Says nothing of whether it verifies.
 */
import type { X509Certificate } from 'node:crypto';
import type { CertificateFacts } from '../domain/facts.ts';
import type { CertificateFields } from '../wire/certificate.ts';

export type SeenFacts = Omit<CertificateFacts, 'validUnder'>;

/** `fields`: of the same certificate. */
export function certificateFacts(certificate: X509Certificate, { san }: CertificateFields): SeenFacts {
  const { subject, issuer } = certificate.toLegacyObject();
  return {
    subjectCn: commonName(subject),
    san,
    issuerCn: commonName(issuer),
    fingerprintSha256: fingerprintOf(certificate),
    notAfter: certificate.validToDate.getTime(),
  };
}

/** 64 lower-case hex digits. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** Of several common names, none: which one a verifier would take is not certain. */
function commonName(name: { readonly CN?: string | readonly string[] } | undefined): string {
  return typeof name?.CN === 'string' ? name.CN : '';
}
