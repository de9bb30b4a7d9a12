/**
 * The little of tar that the engine's archive API needs: an archive of a few small files, and the first file of one
 * (POSIX.1-1988 ustar). Entries of other kinds are skipped; nothing is ever written to a path that an archive names.
 */

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const REGULAR = '0';
const FOLDER = '5';

export interface FileEntry {
  /** Relative to the folder that the archive is unpacked in. A folder ends with a slash. */
  readonly name: string;
  readonly content: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Throws RangeError for a name that has no place in a header. */
export function packTar(entries: readonly FileEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => [header(entry), entry.content, padding(entry.content.length)]);
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK_BYTES)]);
}

/** The first regular file; undefined where there is none, or the archive is cut short. */
export function firstFile(archive: Buffer): FileEntry | undefined {
  let at = 0;
  while (at + BLOCK_BYTES <= archive.length && archive[at] !== 0) {
    const size = octal(archive, at + 124, 12);
    const start = at + BLOCK_BYTES;
    const type = archive.toString('latin1', at + 156, at + 157);
    if (type === REGULAR || type === '\0') {
      if (start + size > archive.length) return undefined;
      return {
        name: text(archive, at, NAME_BYTES),
        content: archive.subarray(start, start + size),
        mode: octal(archive, at + 100, 8),
        uid: octal(archive, at + 108, 8),
        gid: octal(archive, at + 116, 8),
      };
    }
    at = start + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  }
  return undefined;
}

function header({ name, content, mode, uid, gid }: FileEntry): Buffer {
  if (Buffer.byteLength(name) > NAME_BYTES || name.includes('\0')) throw new RangeError(`no tar header for ${name}`);
  const block = Buffer.alloc(BLOCK_BYTES);
  block.write(name, 0);
  writeOctal(block, mode & 0o7777, 100, 8);
  writeOctal(block, uid, 108, 8);
  writeOctal(block, gid, 116, 8);
  writeOctal(block, content.length, 124, 12);
  writeOctal(block, Math.floor(Date.now() / 1000), 136, 12);
  block.write(' '.repeat(8), 148); // the checksum counts as blanks while it is made
  block.write(name.endsWith('/') ? FOLDER : REGULAR, 156);
  block.write('ustar\x0000', 257);
  writeOctal(
    block,
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  );
  return block;
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
}

function writeOctal(block: Buffer, value: number, at: number, width: number): void {
  block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, at, 'latin1');
}

function octal(block: Buffer, at: number, width: number): number {
  return Number.parseInt(text(block, at, width).trim() || '0', 8);
}

function text(block: Buffer, at: number, width: number): string {
  const end = block.indexOf(0, at);
  return block.toString('utf8', at, end === -1 || end > at + width ? at + width : end);
}
