/**
 * The little of DER (X.690) that certificates and OCSP responses are read with. Strict: definite lengths in their shortest
 * form, and no tag numbers above 30. Never throws, copies nothing; what does not fit is undefined.
 */

export interface DerValue {
  /** Class, constructed bit and number in one byte. */
  readonly tag: number;
  readonly body: Buffer;
  /** With tag and length. */
  readonly whole: Buffer;
}

export const DER = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  enumerated: 0x0a,
  generalizedTime: 0x18,
  sequence: 0x30,
} as const;

/** The tag of a constructed context-specific value, as in `[0] EXPLICIT`. */
export const context = (number: number): number => 0xa0 | number;

/** A certificate has some 60 values on its widest level; a staple, one for each certificate that it is about. */
const MAX_VALUES = 1_024;
const HIGH_TAG = 0x1f;
const LONG_LENGTH = 0x80;
/** Four bytes of length are more than any message that holds a certificate. */
const MAX_LENGTH_BYTES = 4;

/** The one value that `input` is, of that tag; undefined where it is another, or not all of the input. */
export function derOf(input: Buffer, tag: number): DerValue | undefined {
  const value = valueAt(input, 0);
  return value?.tag === tag && value.whole.length === input.length ? value : undefined;
}

/** The values inside a constructed one, in order; undefined where they do not fill it. */
export function derList(body: Buffer): readonly DerValue[] | undefined {
  const values: DerValue[] = [];
  for (let at = 0; at < body.length; ) {
    const value = valueAt(body, at);
    if (value === undefined || values.length === MAX_VALUES) return undefined;
    values.push(value);
    at += value.whole.length;
  }
  return values;
}

/** The values inside a SEQUENCE; undefined where it is something else, as derList. */
export function derChildren(value: DerValue | undefined): readonly DerValue[] | undefined {
  return value?.tag === DER.sequence ? derList(value.body) : undefined;
}

/** The bytes of a bit string without unused bits. */
export function bitsOf(value: DerValue | undefined): Buffer | undefined {
  return value?.tag === DER.bitString && value.body[0] === 0 ? value.body.subarray(1) : undefined;
}

/** A GeneralizedTime in the form that RFC 5280 section 4.1.2.5.2 leaves: milliseconds since 1970, or undefined. */
export function timeOf(value: DerValue | undefined): number | undefined {
  if (value?.tag !== DER.generalizedTime) return undefined;
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(value.body.toString('latin1'));
  if (parts === null) return undefined;
  const [, year, month, day, hour, minute, second] = parts;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(time) ? undefined : time;
}

function valueAt(input: Buffer, at: number): DerValue | undefined {
  const tag = input[at];
  const first = input[at + 1];
  if (tag === undefined || first === undefined || (tag & HIGH_TAG) === HIGH_TAG) return undefined;
  let start = at + 2;
  let length = first;
  if (first >= LONG_LENGTH) {
    const bytes = first - LONG_LENGTH;
    if (bytes === 0 || bytes > MAX_LENGTH_BYTES || start + bytes > input.length) return undefined;
    length = input.readUIntBE(start, bytes);
    const shortest = length >= LONG_LENGTH && (bytes === 1 || length >= 2 ** (8 * (bytes - 1)));
    if (!shortest) return undefined;
    start += bytes;
  }
  const end = start + length;
  if (end > input.length) return undefined;
  return { tag, body: input.subarray(start, end), whole: input.subarray(at, end) };
}
