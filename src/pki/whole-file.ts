/** A file that is written whole or not at all: nobody ever reads half of it, whenever the machine stops. */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** What a write that was cut short may leave beside the file. */
export const LEFT_BEHIND = /\.[0-9a-f]{12}\.tmp$/;

/**
 * New name, then the right mode, then the bytes, then the disk, and only then the real name. Throws the system's error;
 * EEXIST where the file is there and `replace` is not set.
 */
export function writeWhole(path: string, content: string | Buffer, mode: number, replace: boolean): void {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const fd = openSync(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    try {
      fchmodSync(fd, mode);
      writeFileSync(fd, content);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (replace) renameSync(temporary, path);
    else giveNewName(temporary, path);
  } catch (error) {
    unlinkSync(temporary);
    throw error;
  }
  syncFolder(dirname(path));
}

/** What was renamed or removed in the folder stays so. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** link(2) fails where rename(2) would overwrite a file that appeared meanwhile. */
function giveNewName(temporary: string, path: string): void {
  linkSync(temporary, path);
  unlinkSync(temporary);
}
