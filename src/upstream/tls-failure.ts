/**
 * The one place that reads the errors of OpenSSL and Node about an origin's TLS. Each becomes a failure whose detail is
 * one of a fixed set of words, since the texts differ between versions.
 */
import { FlowFailure } from '../domain/failure.ts';
import { errorCode } from './errno.ts';

export type TlsFailureDetail =
  | 'expired'
  | 'not_yet_valid'
  | 'wrong_name'
  | 'unknown_ca'
  | 'self_signed'
  | 'revoked'
  | 'invalid_certificate'
  | 'staple_missing'
  | 'staple_malformed'
  | 'client_certificate_required'
  | 'protocol_version'
  | 'handshake_refused'
  | 'not_tls'
  | 'reset'
  | 'timeout'
  | 'protocol_error';

/** Results of certificate verification: names of OpenSSL's X509_V_ERR_ constants as Node gives them. */
const VERIFY_CODES: Readonly<Record<string, TlsFailureDetail>> = {
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'not_yet_valid',
  ERR_TLS_CERT_ALTNAME_INVALID: 'wrong_name',
  ERR_TLS_CERT_ALTNAME_FORMAT: 'wrong_name',
  HOSTNAME_MISMATCH: 'wrong_name',
  UNABLE_TO_GET_ISSUER_CERT: 'unknown_ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unknown_ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unknown_ca',
  CERT_UNTRUSTED: 'unknown_ca',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'self_signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'self_signed',
  CERT_REVOKED: 'revoked',
  CERT_SIGNATURE_FAILURE: 'invalid_certificate',
  CERT_CHAIN_TOO_LONG: 'invalid_certificate',
  CERT_REJECTED: 'invalid_certificate',
  ERROR_IN_CERT_NOT_BEFORE_FIELD: 'invalid_certificate',
  ERROR_IN_CERT_NOT_AFTER_FIELD: 'invalid_certificate',
  INVALID_CA: 'invalid_certificate',
  INVALID_PURPOSE: 'invalid_certificate',
  PATH_LENGTH_EXCEEDED: 'invalid_certificate',
  UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: 'invalid_certificate',
  UNSPECIFIED: 'invalid_certificate',
};

/** Parts of ERR_SSL_ codes, the telling ones first: OpenSSL renames the prefixes from version to version. */
const SSL_CODE_PARTS: readonly (readonly [string, TlsFailureDetail])[] = [
  ['CERTIFICATE_REQUIRED', 'client_certificate_required'],
  ['WRONG_VERSION_NUMBER', 'not_tls'],
  ['PACKET_LENGTH_TOO_LONG', 'not_tls'],
  ['HTTP_REQUEST', 'not_tls'],
  ['PROTOCOL_VERSION', 'protocol_version'],
  ['UNSUPPORTED_PROTOCOL', 'protocol_version'],
  ['HANDSHAKE_FAILURE', 'handshake_refused'],
  ['UNRECOGNIZED_NAME', 'handshake_refused'],
  ['INSUFFICIENT_SECURITY', 'handshake_refused'],
  ['ACCESS_DENIED', 'handshake_refused'],
];

/** RFC 8446 section 6.2: what a server may say to a client that showed no certificate, or none it likes. */
const CLIENT_CERTIFICATE_ALERT = /_ALERT_(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE|ACCESS_DENIED|UNKNOWN_CA)$/;

const RESET_CODES: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);

/**
 * The failure of a handshake with an origin: `alpn_mismatch` where it takes none of the protocols that were offered,
 * else `upstream_handshake_failed` with a TlsFailureDetail as its detail.
 * `certificateSeen`: the origin had shown its certificate before the error.
 */
export function tlsFailure(error: unknown, context: { readonly certificateSeen: boolean }): FlowFailure {
  const code = errorCode(error);
  // RFC 7301 section 3.2.
  if (code.endsWith('ALERT_NO_APPLICATION_PROTOCOL')) {
    return new FlowFailure('alpn_mismatch', { detail: 'the origin takes none of the offered protocols', cause: error });
  }
  return handshakeFailure(detailOf(code, context.certificateSeen), error);
}

/** Our own deadline passed before the handshake was complete. */
export function tlsTimeout(): FlowFailure {
  return handshakeFailure('timeout');
}

/**
 * In TLS 1.3 the client is done before the server has judged it, so an origin that wants a client certificate says so
 * on a connection that seemed complete (RFC 8446 section 4.4.2.4). Returns that failure for an error on an established
 * connection, and undefined for every other error.
 */
export function lateHandshakeFailure(error: unknown): FlowFailure | undefined {
  return CLIENT_CERTIFICATE_ALERT.test(errorCode(error))
    ? handshakeFailure('client_certificate_required', error)
    : undefined;
}

function detailOf(code: string, certificateSeen: boolean): TlsFailureDetail {
  if (RESET_CODES.has(code)) return 'reset';
  const verifyDetail = VERIFY_CODES[code];
  if (verifyDetail !== undefined) return verifyDetail;
  const sslDetail = SSL_CODE_PARTS.find(([part]) => code.includes(part))?.[1] ?? 'protocol_error';
  // RFC 5246 section 7.4.6: with TLS 1.2 a server that misses a client certificate answers with handshake_failure, as
  // it does for want of a common cipher; but it shows its certificate only once the ciphers are settled.
  const clientAlert = sslDetail === 'handshake_refused' || CLIENT_CERTIFICATE_ALERT.test(code);
  return certificateSeen && clientAlert ? 'client_certificate_required' : sslDetail;
}

function handshakeFailure(detail: TlsFailureDetail, cause?: unknown): FlowFailure {
  return new FlowFailure('upstream_handshake_failed', cause === undefined ? { detail } : { detail, cause });
}
