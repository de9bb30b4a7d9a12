/** Certificates in text: is this one in that file, and what is its fingerprint. Pure. */
import { X509Certificate } from 'node:crypto';

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----([\s\S]*?)-----END CERTIFICATE-----/g;

/** True where a certificate of `text` is the one in `pem`, however its lines are broken. */
export function holdsCertificate(text: string, pem: string): boolean {
  const [wanted] = bodiesOf(pem);
  return wanted !== undefined && bodiesOf(text).includes(wanted);
}

/** `AB:CD:...`, as keytool prints it. */
export function fingerprintOf(pem: string): string {
  return new X509Certificate(pem).fingerprint256;
}

function bodiesOf(text: string): readonly string[] {
  return [...text.matchAll(PEM_BLOCK)].map(([, body]) => (body as string).replaceAll(/\s/g, ''));
}
