/** A whole audit record for tests, with what a test cares about put in. */
import type { AuditRecord } from '../../../src/domain/record.ts';

export function aRecord(fields: Partial<AuditRecord> = {}): AuditRecord {
  return {
    subsystem: 'proxy_intercept',
    event: 'request',
    flow: 'f1',
    agent: 'web-1',
    agent_ip: '10.203.0.7',
    verdict: 'allow',
    rule: 'messages-only',
    mode: 'intercept',
    would_block: null,
    taken: 'intercept',
    reason: null,
    detail: null,
    host: 'api.example.com',
    port: 443,
    scheme: 'https',
    method: 'POST',
    path: '/v1/messages?beta=[redacted]',
    http_version: '1.1',
    status: 200,
    body_size: 12,
    bytes_up: 100,
    bytes_down: 200,
    upstream: '192.0.2.1',
    started_at: '2026-11-05T12:00:01.000Z',
    duration_ms: 12.4,
    generation: 3,
    ...fields,
  };
}
