/**
 * Whether the PEM files that rules name as trust anchors are there, and hold certificates.
 */
import { X509Certificate } from 'node:crypto';
import { nearest } from './problem.ts';

/** What is wrong with an anchor, by the name of its file; `anchors` are file names with their texts. */
export function anchorFault(
  name: string,
  anchors: ReadonlyMap<string, string>,
): { message: string; fix: string } | undefined {
  const pem = anchors.get(name);
  if (pem === undefined) {
    const near = nearest(name, anchors.keys());
    return {
      message: `there is no file ${name} beside the rules`,
      fix: near ?? `put ${name} into the folder of the rules`,
    };
  }
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const fix = `put one or more certificates into ${name}, in PEM`;
  if (blocks.length === 0) return { message: `${name} holds no PEM certificate`, fix };
  return blocks.every(isCertificate) ? undefined : { message: `${name} holds a certificate that cannot be read`, fix };
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
