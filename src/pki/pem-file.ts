/**
 * Reads one small PEM file through one descriptor, so that what is checked is what is read.
 * Does not look into it; the bytes are the caller's to wipe. Upholds row 35 (CA key: mode, symlink).
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { CaError } from './ca-error.ts';

/** Far above any certificate or key (an RSA-16384 key is 13 KB); keeps /dev/zero out. */
const MAX_PEM_BYTES = 65_536;

/**
 * Returns the bytes of a regular file. `label` is the word for it in messages (`CA key`); `check` may refuse by its metadata
 * before a byte is read. Throws CaError: `cannot read <label>: <path>: <errno>` (S011-EC-004), a symbolic link where
 * `follow` is false, anything but a regular file, over 64 KiB.
 */
export function readPemFile(
  path: string,
  label: string,
  options: { follow: boolean; check?: (stat: Stats) => void },
): Buffer {
  const fd = open(path, label, options.follow);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new CaError('unfit', `${label} ${path} is not a regular file`);
    if (stat.size > MAX_PEM_BYTES) throw new CaError('unfit', `${label} ${path} is larger than ${MAX_PEM_BYTES} bytes`);
    options.check?.(stat);
    return readAll(fd, stat.size);
  } catch (error) {
    throw error instanceof CaError ? error : unreadable(path, label, error);
  } finally {
    closeSync(fd);
  }
}

function open(path: string, label: string, follow: boolean): number {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | (follow ? 0 : constants.O_NOFOLLOW);
  try {
    return openSync(path, flags);
  } catch (error) {
    if (errnoOf(error) === 'ELOOP') {
      throw new CaError('unfit', `${label} ${path} is a symbolic link; name the file itself`, { cause: error });
    }
    throw unreadable(path, label, error);
  }
}

/** Not from Buffer's shared pool, where a copy would outlive the wipe. */
function readAll(fd: number, size: number): Buffer {
  const buffer = Buffer.allocUnsafeSlow(size);
  let filled = 0;
  while (filled < size) {
    const bytes = readSync(fd, buffer, filled, size - filled, null);
    if (bytes === 0) break;
    filled += bytes;
  }
  return buffer.subarray(0, filled);
}

function unreadable(path: string, label: string, error: unknown): CaError {
  const errno = errnoOf(error);
  return new CaError(errno === 'ENOENT' ? 'missing' : 'unfit', `cannot read ${label}: ${path}: ${errno}`, {
    cause: error,
  });
}

function errnoOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
