/**
 * The fields of an X.509 certificate (RFC 5280) that node:crypto does not tell, or tells only as text: alternative names,
 * what an OCSP response is matched by, and the must-staple extension. Verifies nothing: OpenSSL does.
 */
import { canonicalIp } from '../domain/ip.ts';
import { bitsOf, context, DER, type DerValue, derChildren, derOf } from './der.ts';

export interface CertificateFields {
  /** The content of the INTEGER. */
  readonly serial: Buffer;
  /** The whole Name of the issuer, DER. */
  readonly issuer: Buffer;
  /** The bits of the public key. */
  readonly publicKey: Buffer;
  /** DNS names in lower case, and addresses in canonical form; names of other kinds are left out. */
  readonly san: readonly string[];
  /** RFC 7633: the server has to staple an OCSP response. */
  readonly mustStaple: boolean;
}

/** As in an ASN.1 tag: `version [0]`, `extensions [3]`, `dNSName [2]`, `iPAddress [7]`. */
const VERSION = context(0);
const EXTENSIONS = context(3);
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/** Bodies of the object identifiers. */
const SUBJECT_ALT_NAME = Buffer.from('551d11', 'hex'); // 2.5.29.17
const TLS_FEATURE = Buffer.from('2b06010505070118', 'hex'); // 1.3.6.1.5.5.7.1.24
/** The value of TLS feature `status_request`, alone in its list. */
const STATUS_REQUEST = Buffer.from('3003020105', 'hex');

/** Undefined where `der` is not one certificate, whole. Never throws. */
export function readCertificate(der: Buffer): CertificateFields | undefined {
  const tbs = derChildren(derChildren(derOf(der, DER.sequence))?.[0]);
  if (tbs === undefined) return undefined;
  const [serial, , issuer, , , keyInfo, ...rest] = tbs[0]?.tag === VERSION ? tbs.slice(1) : tbs;
  const publicKey = bitsOf(derChildren(keyInfo)?.[1]);
  if (serial?.tag !== DER.integer || issuer?.tag !== DER.sequence || publicKey === undefined) return undefined;
  const wrapped = rest.find(({ tag }) => tag === EXTENSIONS);
  const extensions = wrapped === undefined ? [] : derChildren(derOf(wrapped.body, DER.sequence));
  const values = extensions === undefined ? undefined : extensionValues(extensions);
  const san = values === undefined ? undefined : alternativeNames(values.get(SUBJECT_ALT_NAME.toString('hex')));
  if (values === undefined || san === undefined) return undefined;
  const features = values.get(TLS_FEATURE.toString('hex'));
  // Any other list of features is taken for the strict one: none is in use.
  const mustStaple = features !== undefined && (features.equals(STATUS_REQUEST) || features.length > 2);
  return { serial: serial.body, issuer: issuer.whole, publicKey, san, mustStaple };
}

/** By the object identifier in hex; undefined where one is malformed or there twice (RFC 5280 section 4.2). */
function extensionValues(extensions: readonly DerValue[]): ReadonlyMap<string, Buffer> | undefined {
  const values = new Map<string, Buffer>();
  for (const extension of extensions) {
    const parts = derChildren(extension);
    const id = parts?.[0];
    const value = parts?.at(-1);
    if (id?.tag !== DER.objectId || value?.tag !== DER.octetString) return undefined;
    const key = id.body.toString('hex');
    if (values.has(key)) return undefined;
    values.set(key, value.body);
  }
  return values;
}

function alternativeNames(value: Buffer | undefined): readonly string[] | undefined {
  if (value === undefined) return [];
  const list = derChildren(derOf(value, DER.sequence));
  if (list === undefined) return undefined;
  const names: string[] = [];
  for (const { tag, body } of list) {
    if (tag === DNS_NAME) names.push(body.toString('latin1').toLowerCase());
    if (tag === IP_ADDRESS) names.push(addressOf(body));
  }
  return names;
}

/** RFC 5280 section 4.2.1.6: 4 or 16 bytes in network order. What has another length is no address that one could ask for. */
function addressOf(bytes: Buffer): string {
  const text = bytes.length === 16 ? (bytes.toString('hex').match(/.{4}/g) ?? []).join(':') : bytes.join('.');
  return canonicalIp(text) ?? '';
}
