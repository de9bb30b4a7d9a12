/**
 * The bearer token of the admin API on TCP: read once from a file that nobody else may read, kept as a digest alone, and
 * compared in a time that says nothing of it. Threats row 24.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/** 32 characters of hexadecimal are 128 bits, which nobody guesses over a network. */
const MIN_TOKEN_CHARS = 32;
const MAX_TOKEN_BYTES = 4_096;
const OTHERS_MAY = 0o077;
/** RFC 6750 section 2.1: b64token. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;
const MAKE_ONE = '(umask 077; openssl rand -hex 32 > FILE)';

/** The file cannot be used; the message is for the operator. */
export class TokenFailure extends Error {}

export class AdminToken {
  readonly #digest: Buffer;

  constructor(text: string) {
    this.#digest = digestOf(text);
  }

  /** `header`: the field Authorization. */
  isIn(header: string | undefined): boolean {
    const text = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1] ?? '';
    return timingSafeEqual(digestOf(text), this.#digest);
  }
}

/** Throws TokenFailure for a file that others may read, a link, and a text that is short or no token. */
export function readToken(path: string): AdminToken {
  const text = readText(path).replace(/\r?\n$/, '');
  if (!TOKEN.test(text)) throw failure(path, 'does not hold one line of letters, digits and -._~+/', MAKE_ONE);
  if (text.length < MIN_TOKEN_CHARS) {
    throw failure(path, `holds ${text.length} characters, and a token has at least ${MIN_TOKEN_CHARS}`, MAKE_ONE);
  }
  return new AdminToken(text);
}

function readText(path: string): string {
  const fd = open(path);
  try {
    const { mode, size } = fstatSync(fd);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw failure(path, 'is no regular file', MAKE_ONE);
    if ((mode & OTHERS_MAY) !== 0) {
      const shown = (mode & 0o7777).toString(8).padStart(4, '0');
      throw failure(path, `has mode ${shown}, so others may read it`, `chmod 0600 ${path}`);
    }
    if (size > MAX_TOKEN_BYTES) throw failure(path, `is larger than ${MAX_TOKEN_BYTES} bytes`, MAKE_ONE);
    return readFileSync(fd, 'latin1');
  } finally {
    closeSync(fd);
  }
}

function open(path: string): number {
  try {
    // O_NONBLOCK: opening a FIFO must not wait for a writer.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw failure(path, `cannot be read (${code === 'ELOOP' ? 'a symbolic link' : code})`, MAKE_ONE);
  }
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function failure(path: string, wrong: string, write: string): TokenFailure {
  return new TokenFailure(`--admin-token-file: ${path} ${wrong}; ${write}`);
}
