/**
 * The folder that agents mount to know what to trust: ca.crt with our certificates alone, bundle.crt with the public roots as
 * well. Written by the signer, whose the folder is, whenever its CAs change. Never holds a key.
 */
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { bundleOf, type CaSet } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import { CERT_MODE } from './ca-files.ts';
import { writeWhole } from './whole-file.ts';

/** Each file is replaced as a whole. Throws CaError where the folder cannot be written. */
export function writeTrustFolder(folder: string, cas: CaSet): void {
  const bundle = bundleOf(cas);
  try {
    writeWhole(join(folder, 'ca.crt'), bundle, CERT_MODE, true);
    writeWhole(join(folder, 'bundle.crt'), `${rootCertificates.join('\n')}\n${bundle}`, CERT_MODE, true);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CaError('unfit', `cannot write ${folder}: ${code}; let the signer's user write there`, { cause });
  }
}
