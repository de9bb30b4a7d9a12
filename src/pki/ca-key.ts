/**
 * The CA private key: read once, by the signer process alone, from a file that nobody else may read.
 * The PEM bytes are wiped as soon as OpenSSL has them; what stays is OpenSSL's own copy behind the KeyObject, which OpenSSL
 * clears when the object is freed (signer.ts says when). Upholds row 35.
 */
import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { lstatSync, type Stats } from 'node:fs';
import { CaError } from './ca-error.ts';
import { readPemFile } from './pem-file.ts';

const LABEL = 'CA key';
const WIDEST_MODE = 0o600;
const MODE_BITS = 0o7777;

/**
 * Reads the key and checks that it belongs to the certificate. Throws CaError: unreadable (S011-EC-004), mode wider than
 * 0600, symbolic link, not a regular file, another owner, not an unencrypted PEM key, not the certificate's key.
 */
export function loadCaKey(path: string, certificate: X509Certificate): KeyObject {
  const pem = readPemFile(path, LABEL, {
    follow: false,
    check: (stat) => {
      const problem = keyFileProblem(path, stat, process.geteuid?.() ?? 0);
      if (problem !== undefined) throw new CaError('unfit', problem);
    },
  });
  return caKeyFrom(path, pem, certificate);
}

/** The key in `pem`, whose bytes are wiped; `path` is for the messages. Throws CaError as loadCaKey does of the content. */
export function caKeyFrom(path: string, pem: Buffer, certificate: X509Certificate): KeyObject {
  const key = parse(path, pem);
  if (!certificate.checkPrivateKey(key)) {
    throw new CaError('unfit', `${LABEL} ${path} does not belong to the CA certificate`);
  }
  return key;
}

/** Why a key file with this mode and owner is refused to a process with this effective uid; undefined when it is fine. */
export function keyFileProblem(path: string, stat: Pick<Stats, 'mode' | 'uid'>, euid: number): string | undefined {
  const mode = stat.mode & MODE_BITS;
  if ((mode & ~WIDEST_MODE) !== 0) {
    return `${LABEL} ${path} has mode ${mode.toString(8).padStart(4, '0')}; it must be 0600: chmod 600 ${path}`;
  }
  // Whoever owns the file can widen it; root may read anyone's, as a bind mount from the host often is.
  if (euid !== 0 && stat.uid !== euid) {
    return `${LABEL} ${path} belongs to uid ${stat.uid}; it must belong to uid ${euid}, which reads it`;
  }
  return undefined;
}

/** The same judgement on the file's metadata alone, for those who must not read the key (`ca status`). */
export function inspectKeyFile(path: string): string | undefined {
  try {
    const stat = lstatSync(path);
    if (stat.isSymbolicLink()) return `${LABEL} ${path} is a symbolic link; name the file itself`;
    if (!stat.isFile()) return `${LABEL} ${path} is not a regular file`;
    return keyFileProblem(path, stat, 0);
  } catch (error) {
    return `cannot read ${LABEL}: ${path}: ${(error as NodeJS.ErrnoException).code}`;
  }
}

function parse(path: string, pem: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: pem, format: 'pem' });
  } catch {
    // OpenSSL's reason is left out: nothing that came from the content of this file belongs into a log.
    const what = pem.includes('ENCRYPTED') ? 'is encrypted; it must be unencrypted PEM' : 'is not a private key in PEM';
    throw new CaError('unfit', `${LABEL} ${path} ${what}`);
  } finally {
    pem.fill(0);
  }
}
