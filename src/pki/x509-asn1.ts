/**
 * The ASN.1 pieces that an X.509 certificate is built of, as node-forge values, and the reading of two fields of our own CA.
 * Encodes only: nothing here reads what an agent or an origin sent; those are parsed and verified by OpenSSL.
 */
import { createHash } from 'node:crypto';
import forge from 'node-forge';

export type Asn1 = forge.asn1.Asn1;

const { asn1 } = forge;
const { Class, Type } = asn1;
/** The package takes these options; its types know an older form. */
const fromDer = asn1.fromDer as unknown as (bytes: string, options: { decodeBitStrings: boolean }) => Asn1;

/** RFC 5280 section 4.1.2.5: dates through the year 2049 are UTCTime, later ones GeneralizedTime. */
const FIRST_GENERALIZED_TIME_MS = Date.UTC(2050, 0, 1);

export function sequence(...items: readonly Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, [...items]);
}

export function set(...items: readonly Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, [...items]);
}

export function oid(dotted: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes());
}

export function nullValue(): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.NULL, false, '');
}

export function boolean(value: boolean): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, value ? '\xff' : '\x00');
}

/** `bytes`: big-endian two's complement, already minimal. */
export function integer(bytes: Buffer): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, bytes.toString('latin1'));
}

export function octetString(bytes: Buffer): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes.toString('latin1'));
}

/** `unusedBits`: how many low bits of the last byte do not count (X.690 section 8.6.2.2). */
export function bitString(bytes: Buffer, unusedBits = 0): Asn1 {
  return asn1.create(
    Class.UNIVERSAL,
    Type.BITSTRING,
    false,
    String.fromCharCode(unusedBits) + bytes.toString('latin1'),
  );
}

export function utf8String(text: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.UTF8, false, Buffer.from(text, 'utf8').toString('latin1'));
}

/** [tag] EXPLICIT, around the items. */
export function tagged(tag: number, ...items: readonly Asn1[]): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, [...items]);
}

/** [tag] IMPLICIT, for a primitive value. */
export function taggedBytes(tag: number, bytes: Buffer): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, bytes.toString('latin1'));
}

/** `at`: milliseconds since the epoch; parts of a second are dropped. */
export function time(at: number): Asn1 {
  const date = new Date(at);
  return at < FIRST_GENERALIZED_TIME_MS
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

export function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const wrapped = octetString(encode(value));
  return critical ? sequence(oid(id), boolean(true), wrapped) : sequence(oid(id), wrapped);
}

export function encode(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'latin1');
}

/** Bit strings stay bytes: guessing at what is inside them would change how they are written again. */
export function decode(der: Buffer): Asn1 {
  return fromDer(der.toString('latin1'), { decodeBitStrings: false });
}

/** The key identifier of a SubjectPublicKeyInfo: the leftmost 160 bits of SHA-256 over its key bits (RFC 7093 section 2, method 1). */
export function keyIdentifier(spki: Buffer): Buffer {
  const bits = children(decode(spki))[1];
  const withUnusedBits = Buffer.from(bits?.value as string, 'latin1');
  return createHash('sha256').update(withUnusedBits.subarray(1)).digest().subarray(0, 20);
}

/** Subject name and subject key identifier (where there is one) of a certificate that OpenSSL has accepted. */
export function subjectAndKeyId(certificateDer: Buffer): { subject: Asn1; keyId: Buffer | undefined } {
  const fields = children(children(decode(certificateDer))[0]);
  // version [0], serial, signature, issuer, validity, subject, subjectPublicKeyInfo, ... extensions [3]
  const subject = fields[5];
  if (subject === undefined) throw new Error('the CA certificate has no subject');
  const extensions = fields.find((field) => field.tagClass === Class.CONTEXT_SPECIFIC && Number(field.type) === 3);
  const wanted = asn1.oidToDer('2.5.29.14').getBytes();
  const found = children(children(extensions)[0]).find((item) => children(item)[0]?.value === wanted);
  const value = children(found).at(-1)?.value;
  if (typeof value !== 'string') return { subject, keyId: undefined };
  return { subject, keyId: Buffer.from(decode(Buffer.from(value, 'latin1')).value as string, 'latin1') };
}

function children(value: Asn1 | undefined): readonly Asn1[] {
  return Array.isArray(value?.value) ? value.value : [];
}
