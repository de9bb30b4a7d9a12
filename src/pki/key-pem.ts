/**
 * A private key as PEM without a JavaScript string, which could not be wiped: what is made here, its reader can wipe.
 * Upholds row 35.
 */
import type { KeyObject } from 'node:crypto';

const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PAD = 0x3d;
const NEWLINE = 0x0a;
/** RFC 7468 section 2. */
const LINE_CHARS = 64;

/** PKCS#8, unencrypted. The bytes are the caller's to wipe. */
export function keyPem(key: KeyObject): Buffer {
  const der = key.export({ type: 'pkcs8', format: 'der' });
  const body = base64Lines(der);
  der.fill(0);
  const [head, tail] = [Buffer.from('-----BEGIN PRIVATE KEY-----\n'), Buffer.from('-----END PRIVATE KEY-----\n')];
  const pem = Buffer.allocUnsafeSlow(head.length + body.length + tail.length);
  head.copy(pem);
  body.copy(pem, head.length);
  tail.copy(pem, head.length + body.length);
  body.fill(0);
  return pem;
}

/** RFC 4648 section 4, in lines of 64. */
function base64Lines(bytes: Buffer): Buffer {
  const chars = Math.ceil(bytes.length / 3) * 4;
  const text = Buffer.allocUnsafeSlow(chars + Math.ceil(chars / LINE_CHARS));
  let at = 0;
  let column = 0;
  const put = (char: number): void => {
    text[at++] = char;
    if (++column < LINE_CHARS) return;
    text[at++] = NEWLINE;
    column = 0;
  };
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b, c] = [bytes[i], bytes[i + 1], bytes[i + 2]];
    const bits = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
    put(ALPHABET[(bits >> 18) & 63] as number);
    put(ALPHABET[(bits >> 12) & 63] as number);
    put(b === undefined ? PAD : (ALPHABET[(bits >> 6) & 63] as number));
    put(c === undefined ? PAD : (ALPHABET[bits & 63] as number));
  }
  if (column > 0) text[at] = NEWLINE;
  return text;
}
