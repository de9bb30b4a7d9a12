/**
 * `ca init`: a new CA on disk. Each file is written whole or not at all, and none is overwritten unasked.
 * Does not load one: see ca-certificate.ts and ca-key.ts.
 */
import { lstatSync, mkdirSync } from 'node:fs';
import { type CaInfo, loadCaCertificate } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import { type CaPaths, caPaths } from './ca-names.ts';
import { type CaAlgorithm, issueCa } from './certificate.ts';
import { keyPem } from './key-pem.ts';
import { writeWhole } from './whole-file.ts';

/** The key's own mode guards the key; the folder stays passable because the certificate is for everyone. */
const FOLDER_MODE = 0o755;
export const KEY_MODE = 0o600;
export const CERT_MODE = 0o644;

/**
 * Makes a CA in `folder` (made if absent): ca.key with mode 0600, ca.crt with mode 0644 (S011-FR-002, AS-009, SC-005).
 * Throws CaError, kind `exists`, when either file is there and `force` is not set; kind `unfit` when the folder cannot be written.
 */
export async function initCa(
  folder: string,
  options: { algorithm: CaAlgorithm; permitDomains?: readonly string[]; force: boolean; now: number },
): Promise<{ paths: CaPaths; info: CaInfo }> {
  const paths = caPaths(folder);
  try {
    if (!options.force) refuseToOverwrite(paths);
    const { pem, key } = await issueCa(options.algorithm, options.now, options.permitDomains);
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    // A crash between the two leaves a pair that does not match, which every start refuses.
    writeWhole(paths.key, keyPem(key), KEY_MODE, options.force);
    writeWhole(paths.cert, pem, CERT_MODE, options.force);
  } catch (cause) {
    if (cause instanceof CaError) throw cause;
    const { code, dest } = cause as NodeJS.ErrnoException & { dest?: string };
    if (code === 'EEXIST' && dest !== undefined) throw existsError(dest);
    throw new CaError('unfit', `cannot write the CA in ${folder}: ${code}`, { cause });
  }
  return { paths, info: loadCaCertificate(paths.cert, options.now).info };
}

function refuseToOverwrite(paths: CaPaths): void {
  for (const path of [paths.key, paths.cert]) {
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw existsError(path);
  }
}

function existsError(path: string): CaError {
  return new CaError('exists', `${path} exists; --force replaces it, and every container that trusts it must be told`);
}
