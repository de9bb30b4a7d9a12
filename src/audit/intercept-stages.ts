/** How far an intercepted flow had come when it failed, by the reason. */
import type { FailureReason } from '../domain/failure.ts';

type Stage =
  | 'hello'
  | 'leaf'
  | 'client_handshake'
  | 'upstream_connect'
  | 'upstream_handshake'
  | 'request'
  | 'response'
  | 'ended';

export const STAGES = {
  bad_request: 'request',
  ambiguous_request: 'request',
  invalid_host: 'request',
  header_too_large: 'request',
  header_timeout: 'request',
  method_refused: 'request',
  upgrade_refused: 'request',
  misdirected_request: 'request',
  sni_mismatch: 'hello',
  sni_missing: 'hello',
  ech_unverifiable: 'hello',
  client_hello_malformed: 'hello',
  client_hello_timeout: 'hello',
  not_tls: 'hello',
  client_handshake_failed: 'client_handshake',
  client_closed: 'ended',
  agent_limit: 'hello',
  body_decode_failed: 'request',
  dns_failed: 'upstream_connect',
  dns_timeout: 'upstream_connect',
  address_refused: 'upstream_connect',
  connect_failed: 'upstream_connect',
  connect_timeout: 'upstream_connect',
  upstream_handshake_failed: 'upstream_handshake',
  certificate_unverified: 'upstream_handshake',
  certificate_changed: 'upstream_handshake',
  alpn_mismatch: 'upstream_handshake',
  origin_malformed: 'response',
  origin_closed: 'response',
  origin_timeout: 'response',
  idle_timeout: 'ended',
  cert_gen_failed: 'leaf',
  audit_unavailable: 'request',
  draining: 'ended',
  rules_changed: 'ended',
  internal_error: 'ended',
} as const satisfies Readonly<Record<FailureReason, Stage>>;
