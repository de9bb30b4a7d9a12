/**
 * Where the body of an HTTP/1.1 message ends in a byte stream, so that its bytes can be relayed as they came.
 * Chunked syntax is held to the letter (RFC 9112 section 7.1): one reading, no overread, no smuggled second
 * message (threat 9). Never copies and never buffers; any split of the stream gives the same answer.
 */
import { escapeForLog } from './escape.ts';
import type { Framing } from './http1-head.ts';
import { COLON, CR, FIELD_VALUE, HTAB, hexDigit, LF, SP, TOKEN } from './octets.ts';
import { isForbiddenTrailer } from './trailers.ts';

export interface BodyScannerOptions {
  /** Requests: chunk extensions are refused, and trailers that carry routing or credentials. */
  readonly strictChunks: boolean;
  readonly maxTrailerBytes: number;
}

/** 13 hex digits are below 2^53, so a size is always exact. */
const MAX_SIZE_DIGITS = 13;
/** Per chunk; the signatures of aws-chunked take about 90 bytes, and little else is in use. */
const MAX_EXTENSION_BYTES = 256;
/** No trailer name that matters is longer, and nothing longer need be kept to be compared. */
const MAX_NAME_CHARS = 64;

// States of the scanner, those of a chunked body in the order in which its bytes meet them.
const DONE = 0;
const FAILED = 1;
const COUNTED = 2;
const ENDLESS = 3;
const SIZE = 4;
const EXTENSION_NAME = 5;
const EXTENSION_VALUE_START = 6;
const EXTENSION_VALUE = 7;
const EXTENSION_QUOTED = 8;
const EXTENSION_QUOTED_PAIR = 9;
const EXTENSION_END = 10;
const SIZE_LF = 11;
const DATA = 12;
const DATA_CR = 13;
const DATA_LF = 14;
const TRAILER_START = 15;
const TRAILER_NAME = 16;
const TRAILER_VALUE = 17;
const TRAILER_LF = 18;
const FINAL_LF = 19;

const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Scans one body. Make one per message; feed it until `done` or `error`. */
export class BodyScanner {
  /** Body bytes seen so far, without chunk framing. */
  payloadBytes = 0;
  /** Why the body must be refused. Nothing is accepted after it. */
  error: string | undefined = undefined;
  readonly #strictChunks: boolean;
  readonly #maxTrailerBytes: number;
  #state: number;
  /** Bytes left of a counted body or of the current chunk. */
  #left = 0;
  #sizeDigits = 0;
  #extensionBytes = 0;
  /** Characters of the current extension name or value, which must not be empty. */
  #partChars = 0;
  #trailerBytes = 0;
  #trailerName = '';

  constructor(framing: Framing, options: BodyScannerOptions) {
    this.#strictChunks = options.strictChunks;
    this.#maxTrailerBytes = options.maxTrailerBytes;
    this.#state = startState(framing);
    if (framing.kind === 'length') this.#left = framing.bytes;
  }

  /** True once the last byte of the body has been seen; at once for a body of no bytes; never for until_close. */
  get done(): boolean {
    return this.#state === DONE;
  }

  /**
   * Scans `chunk` from `start`. Returns the index just after the last byte that belongs to this body:
   * `chunk.length` while it goes on, `start` when it was over before. After an error, the offending byte's index.
   */
  feed(chunk: Buffer, start: number): number {
    const end = chunk.length;
    let at = start;
    while (at < end && this.#state > FAILED) {
      if (this.#state === DATA || this.#state === COUNTED) at = this.#countData(at, end);
      else if (this.#state === ENDLESS) {
        this.payloadBytes += end - at;
        at = end;
      } else {
        this.#state = this.#next(chunk[at] as number);
        if (this.#state !== FAILED) at++;
      }
    }
    return at;
  }

  #countData(at: number, end: number): number {
    const bytes = Math.min(this.#left, end - at);
    this.#left -= bytes;
    this.payloadBytes += bytes;
    if (this.#left === 0) this.#state = this.#state === DATA ? DATA_CR : DONE;
    return at + bytes;
  }

  /** The state after one byte of chunk framing. */
  #next(code: number): number {
    switch (this.#state) {
      case SIZE:
        return this.#size(code);
      case SIZE_LF:
        if (code !== LF) return this.#fail('bare CR in a chunk size line');
        this.#sizeDigits = 0;
        return this.#left === 0 ? TRAILER_START : DATA;
      case DATA_CR:
        return code === CR ? DATA_LF : this.#fail('chunk data longer than its size');
      case DATA_LF:
        return code === LF ? SIZE : this.#fail('chunk data longer than its size');
      case FINAL_LF:
        return code === LF ? DONE : this.#fail('bare CR at the end of a chunked body');
      case TRAILER_START:
      case TRAILER_NAME:
      case TRAILER_VALUE:
      case TRAILER_LF:
        return this.#trailer(code);
      default:
        return this.#extension(code);
    }
  }

  #size(code: number): number {
    const digit = hexDigit(code);
    if (digit >= 0) {
      if (++this.#sizeDigits > MAX_SIZE_DIGITS) return this.#fail('a chunk size of too many digits');
      this.#left = this.#left * 16 + digit;
      return SIZE;
    }
    if (this.#sizeDigits === 0) return this.#fail('a chunk size that is not a hexadecimal number');
    if (code === CR) return SIZE_LF;
    if (code !== SEMICOLON) return this.#fail('a chunk size that is not a hexadecimal number');
    if (this.#strictChunks) return this.#fail('a chunk extension');
    this.#extensionBytes = 0;
    this.#partChars = 0;
    return EXTENSION_NAME;
  }

  /** RFC 9112 section 7.1.1, without the "bad" white space that it lets a recipient remove. */
  #extension(code: number): number {
    if (++this.#extensionBytes > MAX_EXTENSION_BYTES) return this.#fail('a chunk extension of too many bytes');
    switch (this.#state) {
      case EXTENSION_QUOTED:
        if (code === QUOTE) return EXTENSION_END;
        if (FIELD_VALUE[code] !== 1) return this.#fail('a control byte in a chunk extension');
        return code === BACKSLASH ? EXTENSION_QUOTED_PAIR : EXTENSION_QUOTED;
      case EXTENSION_QUOTED_PAIR:
        return FIELD_VALUE[code] === 1 ? EXTENSION_QUOTED : this.#fail('a control byte in a chunk extension');
      case EXTENSION_END:
        return this.#afterExtensionPart(code, false);
      case EXTENSION_VALUE_START:
        return code === QUOTE ? EXTENSION_QUOTED : this.#extensionToken(code, EXTENSION_VALUE);
      default:
        return this.#extensionToken(code, this.#state);
    }
  }

  #extensionToken(code: number, state: number): number {
    if (TOKEN[code] === 1) {
      this.#partChars++;
      return state;
    }
    if (this.#partChars === 0) return this.#fail('an empty chunk extension');
    this.#partChars = 0;
    return this.#afterExtensionPart(code, state === EXTENSION_NAME);
  }

  #afterExtensionPart(code: number, wasName: boolean): number {
    if (code === CR) return SIZE_LF;
    if (code === SEMICOLON) return EXTENSION_NAME;
    return code === EQUALS && wasName ? EXTENSION_VALUE_START : this.#fail('a malformed chunk extension');
  }

  #trailer(code: number): number {
    if (this.#state === TRAILER_START && code === CR) return FINAL_LF;
    if (++this.#trailerBytes > this.#maxTrailerBytes) return this.#fail('trailers of too many bytes');
    switch (this.#state) {
      case TRAILER_VALUE:
        if (code === CR) return TRAILER_LF;
        return FIELD_VALUE[code] === 1 ? TRAILER_VALUE : this.#fail('a control byte in a trailer');
      case TRAILER_LF:
        this.#trailerName = '';
        return code === LF ? TRAILER_START : this.#fail('bare CR in a trailer');
      default:
        return this.#trailerNameByte(code);
    }
  }

  #trailerNameByte(code: number): number {
    const name = this.#trailerName;
    if (TOKEN[code] === 1) {
      if (name.length < MAX_NAME_CHARS) this.#trailerName = name + String.fromCharCode(code);
      return TRAILER_NAME;
    }
    if (code !== COLON || name.length === 0) return this.#fail(trailerNameProblem(name, code));
    if (isForbiddenTrailer(name, this.#strictChunks ? 'request' : 'response')) {
      return this.#fail(`the field ${escapeForLog(name, MAX_NAME_CHARS)} as a trailer`);
    }
    return TRAILER_VALUE;
  }

  #fail(problem: string): number {
    this.error = problem;
    return FAILED;
  }
}

/**
 * The payload of a chunked body that a BodyScanner has accepted, trailers left out.
 * `raw` is the whole body, from the first size line to the final CRLF.
 */
export function dechunk(raw: Buffer): Buffer {
  const chunks: Buffer[] = [];
  let at = 0;
  while (at < raw.length) {
    let size = 0;
    for (let digit = hexDigit(raw[at] ?? 0); digit >= 0; digit = hexDigit(raw[++at] ?? 0)) size = size * 16 + digit;
    if (size === 0) break;
    const dataAt = raw.indexOf(LF, at) + 1;
    if (dataAt === 0) break;
    chunks.push(raw.subarray(dataAt, dataAt + size));
    at = dataAt + size + 2;
  }
  return Buffer.concat(chunks);
}

function startState(framing: Framing): number {
  switch (framing.kind) {
    case 'none':
      return DONE;
    case 'length':
      return framing.bytes === 0 ? DONE : COUNTED;
    case 'chunked':
      return SIZE;
    case 'until_close':
      return ENDLESS;
  }
}

function trailerNameProblem(name: string, code: number): string {
  if (name.length === 0 && (code === SP || code === HTAB)) return 'obsolete line folding in a trailer';
  return name.length === 0 ? 'a trailer without a name' : 'a trailer name that is not a token';
}
