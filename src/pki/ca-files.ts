/**
 * `ca init`: a new CA on disk. Each file is written whole or not at all, and none is overwritten unasked.
 * Does not load one: see ca-certificate.ts and ca-key.ts.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type CaInfo, loadCaCertificate } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import { type CaAlgorithm, issueCa } from './certificate.ts';

export interface CaPaths {
  readonly cert: string;
  readonly key: string;
}

/** The key's own mode guards the key; the folder stays passable because the certificate is for everyone. */
const FOLDER_MODE = 0o755;
const KEY_MODE = 0o600;
const CERT_MODE = 0o644;

/** Where `ca init` puts its files in a folder, and where everyone else looks for them. */
export function caPaths(folder: string): CaPaths {
  return { cert: join(folder, 'ca.crt'), key: join(folder, 'ca.key') };
}

/**
 * Makes a CA in `folder` (made if absent): ca.key with mode 0600, ca.crt with mode 0644 (S011-FR-002, AS-009, SC-005).
 * Throws CaError, kind `exists`, when either file is there and `force` is not set; kind `unfit` when the folder cannot be written.
 */
export async function initCa(
  folder: string,
  options: { algorithm: CaAlgorithm; force: boolean; now: number },
): Promise<{ paths: CaPaths; info: CaInfo }> {
  const paths = caPaths(folder);
  try {
    if (!options.force) refuseToOverwrite(paths);
    const { pem, key } = await issueCa(options.algorithm, options.now);
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    // A crash between the two leaves a pair that does not match, which every start refuses.
    writeWhole(paths.key, key.export({ type: 'pkcs8', format: 'pem' }) as string, KEY_MODE, options.force);
    writeWhole(paths.cert, pem, CERT_MODE, options.force);
  } catch (cause) {
    if (cause instanceof CaError) throw cause;
    throw new CaError('unfit', `cannot write the CA in ${folder}: ${(cause as NodeJS.ErrnoException).code}`, { cause });
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

/** New name, then the right mode, then the bytes, then the disk, and only then the real name. */
function writeWhole(path: string, text: string, mode: number, force: boolean): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const fd = openSync(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    try {
      fchmodSync(fd, mode);
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (force) renameSync(temporary, path);
    else giveNewName(temporary, path);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
  syncFolder(dirname(path));
}

/** link(2) fails where rename(2) would overwrite a file that appeared meanwhile. */
function giveNewName(temporary: string, path: string): void {
  try {
    linkSync(temporary, path);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? existsError(path) : error;
  }
  unlinkSync(temporary);
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
