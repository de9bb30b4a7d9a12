/**
 * An OCSP response (RFC 6960) as a server staples it: what it says of which certificates, and what is signed by whom.
 * Reads basic responses alone and verifies nothing. Never throws.
 */
import { bitsOf, context, DER, type DerValue, derChildren, derList, derOf, timeOf } from './der.ts';

export type OcspStatus = 'good' | 'revoked' | 'unknown';

export interface SingleResponse {
  /** Of the hash that made the two that follow: the body of its object identifier. */
  readonly hashId: Buffer;
  readonly issuerNameHash: Buffer;
  readonly issuerKeyHash: Buffer;
  readonly serial: Buffer;
  readonly status: OcspStatus;
  /** Milliseconds since 1970; nextUpdate may be missing. */
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
}

export interface OcspResponse {
  readonly responses: readonly SingleResponse[];
  readonly signed: Buffer;
  /** The body of the object identifier. */
  readonly algorithm: Buffer;
  readonly signature: Buffer;
  /** DER certificates that came along. */
  readonly certificates: readonly Buffer[];
}

const SUCCESSFUL = 0;
const EXPLICIT_0 = context(0);
/** CertStatus: good is primitive [0], revoked constructed [1], unknown primitive [2]. */
const STATUS_TAGS: ReadonlyMap<number, OcspStatus> = new Map([
  [0x80, 'good'],
  [0xa1, 'revoked'],
  [0x82, 'unknown'],
]);
const BASIC_RESPONSE = Buffer.from('2b0601050507300101', 'hex'); // 1.3.6.1.5.5.7.48.1.1

/** `unavailable`: the responder said that it has no answer; undefined: not an OCSP response. */
export function readOcspResponse(der: Buffer): OcspResponse | 'unavailable' | undefined {
  const [state, wrapped] = derChildren(derOf(der, DER.sequence)) ?? [];
  if (state?.tag !== DER.enumerated || state.body.length !== 1) return undefined;
  if (state.body[0] !== SUCCESSFUL) return 'unavailable';
  if (wrapped?.tag !== EXPLICIT_0) return undefined;
  const [kind, bytes] = derChildren(derOf(wrapped.body, DER.sequence)) ?? [];
  if (kind?.tag !== DER.objectId || !kind.body.equals(BASIC_RESPONSE)) return undefined;
  return bytes?.tag === DER.octetString ? readBasic(bytes.body) : undefined;
}

function readBasic(der: Buffer): OcspResponse | undefined {
  const [data, algorithm, signature, wrapped] = derChildren(derOf(der, DER.sequence)) ?? [];
  const id = derChildren(algorithm)?.[0];
  const bits = bitsOf(signature);
  const certificates =
    wrapped?.tag === EXPLICIT_0
      ? derChildren(derOf(wrapped.body, DER.sequence))
      : wrapped === undefined
        ? []
        : undefined;
  const parts = derChildren(data);
  // version [0], responderID [1] or [2], producedAt, responses, extensions [1]
  const list = parts?.find(({ tag }) => tag === DER.sequence);
  const responses = derChildren(list)?.map(readSingle);
  if (data === undefined || id?.tag !== DER.objectId || bits === undefined) return undefined;
  if (certificates === undefined || responses === undefined || !responses.every((one) => one !== undefined)) {
    return undefined;
  }
  return {
    responses,
    signed: data.whole,
    algorithm: id.body,
    signature: bits,
    certificates: certificates.map(({ whole }) => whole),
  };
}

function readSingle(value: DerValue): SingleResponse | undefined {
  const [certId, state, thisUpdateAt, next] = derChildren(value) ?? [];
  const [hash, nameHash, keyHash, serial] = derChildren(certId) ?? [];
  const hashId = derChildren(hash)?.[0];
  const status = state === undefined ? undefined : STATUS_TAGS.get(state.tag);
  const thisUpdate = timeOf(thisUpdateAt);
  if (hashId?.tag !== DER.objectId || nameHash?.tag !== DER.octetString || keyHash?.tag !== DER.octetString) {
    return undefined;
  }
  if (serial?.tag !== DER.integer || status === undefined || thisUpdate === undefined) return undefined;
  const nextUpdate = next?.tag === EXPLICIT_0 ? timeOf(derList(next.body)?.[0]) : undefined;
  if (next?.tag === EXPLICIT_0 && nextUpdate === undefined) return undefined;
  return {
    hashId: hashId.body,
    issuerNameHash: nameHash.body,
    issuerKeyHash: keyHash.body,
    serial: serial.body,
    status,
    thisUpdate,
    nextUpdate,
  };
}
