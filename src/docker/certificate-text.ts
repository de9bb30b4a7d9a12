/** Certificates in text: is this one in that file, and what is its fingerprint. Pure. */
import { X509Certificate } from 'node:crypto';

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----([\s\S]*?)-----END CERTIFICATE-----/g;

/** One CA that containers trust, and what it is called in their stores, where others come and go beside it. */
export interface NamedCertificate {
  readonly pem: string;
  /** `outcall-` and the first eight digits of its fingerprint. */
  readonly alias: string;
}

/** True where all certificates of `pem` are in `text`, however their lines are broken. */
export function holdsCertificate(text: string, pem: string): boolean {
  const [there, wanted] = [new Set(bodiesOf(text)), bodiesOf(pem)];
  return wanted.length > 0 && wanted.every((body) => there.has(body));
}

export function namedCertificates(pem: string): readonly NamedCertificate[] {
  return [...pem.matchAll(PEM_BLOCK)].map(([block]) => ({
    pem: `${block}\n`,
    alias: `outcall-${fingerprintOf(block).replaceAll(':', '').slice(0, 8).toLowerCase()}`,
  }));
}

/** `AB:CD:...`, as keytool prints it. */
export function fingerprintOf(pem: string): string {
  return new X509Certificate(pem).fingerprint256;
}

function bodiesOf(text: string): readonly string[] {
  return [...text.matchAll(PEM_BLOCK)].map(([, body]) => (body as string).replaceAll(/\s/g, ''));
}
