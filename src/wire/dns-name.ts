/**
 * Names in DNS messages: read with their compression pointers, and written without. A read is bounded whatever the
 * bytes are: pointers lead strictly backwards, are few, and the whole is at most 255 octets.
 * Does not decide what is a host: see domain/hostname.ts. Upholds threat 5 (a NUL or dot inside a label is no host).
 */
import { HEADER_BYTES } from './dns-codes.ts';

/** RFC 1035 section 2.3.4: octets of a name with its length bytes, and of a label. */
const MAX_NAME_OCTETS = 255;
const MAX_LABEL_OCTETS = 63;
/** RFC 1035 section 4.1.4: the two upper bits of a pointer. */
const POINTER = 0xc0;
/** No sane message needs more than two or three in a row; each costs the reader a jump. */
const MAX_POINTERS = 16;
const DOT = 0x2e;
const BACKSLASH = 0x5c;

/** Letters, digits, hyphen, underscore: all that a name which may be a host consists of. */
const HOST_OCTET = Uint8Array.from({ length: 256 }, (_, code) =>
  /[A-Za-z0-9_-]/.test(String.fromCharCode(code)) ? 1 : 0,
);

export interface WireName {
  /** Lower-case, dots between labels, no trailing dot; other bytes escaped (RFC 1035 section 5.1). Empty for the root. */
  readonly text: string;
  /** No byte in it was other than a letter, digit, hyphen or underscore. */
  readonly plain: boolean;
  /** Index just after the name where it began. */
  readonly end: number;
}

/** Reads the name at `start`; undefined where it is cut short, too long, or its pointers lead anywhere but back. */
export function readName(message: Buffer, start: number): WireName | undefined {
  let text = '';
  let plain = true;
  let octets = 1;
  let pointers = 0;
  let floor = start;
  let end: number | undefined;
  for (let at = start; ; ) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) return { text: text.toLowerCase(), plain, end: end ?? at + 1 };
    if (length >= POINTER) {
      const low = message[at + 1];
      if (low === undefined || ++pointers > MAX_POINTERS) return undefined;
      const target = ((length & ~POINTER) << 8) | low;
      // Before the run of labels that it was found in, so no jump can come back here.
      if (target >= floor || target < HEADER_BYTES) return undefined;
      end ??= at + 2;
      floor = target;
      at = target;
      continue;
    }
    octets += length + 1;
    const next = at + 1 + length;
    if (length > MAX_LABEL_OCTETS || octets > MAX_NAME_OCTETS || next > message.length) return undefined;
    const isPlain = isPlainLabel(message, at + 1, next);
    plain &&= isPlain;
    const label = isPlain ? message.toString('latin1', at + 1, next) : escapeLabel(message, at + 1, next);
    text = text === '' ? label : `${text}.${label}`;
    at = next;
  }
}

/** Index just after an uncompressed name, or -1: what readName checks of a question, without making text of it. */
export function skipPlainName(message: Buffer, start: number): number {
  for (let at = start; ; ) {
    const length = message[at];
    if (length === undefined || length > MAX_LABEL_OCTETS) return -1;
    at += 1 + length;
    if (at - start > MAX_NAME_OCTETS) return -1;
    if (length === 0) return at;
  }
}

/** A name in wire form. Only for what canonicalHost accepted, or readName gave as plain. */
export function encodeName(name: string): Buffer {
  if (name === '') return Buffer.from([0]);
  const out = Buffer.allocUnsafe(name.length + 2);
  let lengthAt = 0;
  for (let i = 0; i <= name.length; i++) {
    const code = i === name.length ? DOT : name.charCodeAt(i);
    if (code === DOT) {
      out[lengthAt] = i - lengthAt;
      lengthAt = i + 1;
    } else {
      out[i + 1] = code;
    }
  }
  out[lengthAt] = 0;
  return out;
}

function isPlainLabel(message: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (HOST_OCTET[message[i] as number] !== 1) return false;
  return true;
}

/** Different labels stay different: what could end a label or an escape is escaped itself. */
function escapeLabel(message: Buffer, start: number, end: number): string {
  let out = '';
  for (const code of message.subarray(start, end)) {
    if (code === DOT || code === BACKSLASH) out += `\\${String.fromCharCode(code)}`;
    else if (code > 0x20 && code < 0x7f) out += String.fromCharCode(code);
    else out += `\\${String(code).padStart(3, '0')}`;
  }
  return out;
}
