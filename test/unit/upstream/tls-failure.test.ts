import { describe, expect, it } from 'vitest';
import { lateHandshakeFailure, tlsFailure } from '../../../src/upstream/tls-failure.ts';

describe('tlsFailure', () => {
  it.each([
    ['CERT_HAS_EXPIRED', 'expired'],
    ['CERT_NOT_YET_VALID', 'not_yet_valid'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'wrong_name'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unknown_ca'],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'unknown_ca'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'self_signed'],
    ['SELF_SIGNED_CERT_IN_CHAIN', 'self_signed'],
    ['CERT_REVOKED', 'revoked'],
    ['INVALID_PURPOSE', 'invalid_certificate'],
    ['ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', 'protocol_version'],
    ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'protocol_version'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'not_tls'],
    ['ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE', 'handshake_refused'],
    ['ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', 'handshake_refused'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'client_certificate_required'],
    ['ECONNRESET', 'reset'],
    ['EPIPE', 'reset'],
    ['ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', 'protocol_error'],
    ['', 'protocol_error'],
  ])('calls %s %s', (code, detail) => {
    const failure = tlsFailure(Object.assign(new Error('x'), { code }), { certificateSeen: false });
    expect(failure).toMatchObject({ reason: 'upstream_handshake_failed', detail });
  });

  it('takes a refusal after the certificate for the want of a client certificate, and before it for a refusal', () => {
    const error = Object.assign(new Error('x'), { code: 'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE' });
    expect(tlsFailure(error, { certificateSeen: true }).detail).toBe('client_certificate_required');
    expect(tlsFailure(error, { certificateSeen: false }).detail).toBe('handshake_refused');
  });

  it('calls no_application_protocol alpn_mismatch', () => {
    const error = Object.assign(new Error('x'), { code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' });
    expect(tlsFailure(error, { certificateSeen: false }).reason).toBe('alpn_mismatch');
  });

  it('reads what is no error at all', () => {
    for (const thrown of [undefined, null, 'text', 7, { code: 7 }]) {
      expect(tlsFailure(thrown, { certificateSeen: false }).detail).toBe('protocol_error');
    }
  });
});

describe('lateHandshakeFailure', () => {
  it('knows the alerts about client certificates on an established connection', () => {
    for (const alert of [
      'TLSV13_ALERT_CERTIFICATE_REQUIRED',
      'SSL/TLS_ALERT_BAD_CERTIFICATE',
      'TLSV1_ALERT_ACCESS_DENIED',
    ]) {
      const failure = lateHandshakeFailure(Object.assign(new Error('x'), { code: `ERR_SSL_${alert}` }));
      expect(failure).toMatchObject({ reason: 'upstream_handshake_failed', detail: 'client_certificate_required' });
    }
  });

  it('leaves every other error alone', () => {
    for (const code of ['ECONNRESET', 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR', 'CERT_HAS_EXPIRED', '']) {
      expect(lateHandshakeFailure(Object.assign(new Error('x'), { code }))).toBeUndefined();
    }
    expect(lateHandshakeFailure(undefined)).toBeUndefined();
  });
});
