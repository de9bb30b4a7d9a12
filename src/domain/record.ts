/**
 * The audit record: one per flow (a client connection) or per exchange inside an intercepted or forwarded one.
 * An allow-list by construction: what has no field here cannot be logged. Never a header, never a body.
 */
import type { FailureReason } from './failure.ts';
import type { Mode } from './verdict.ts';

/** What the flow took: relayed unread, decrypted, forwarded as plain HTTP, relayed to a fixed address, or nothing. */
export type Taken = 'tunnel' | 'intercept' | 'forward' | 'direct' | 'none';

/** Stands in the path for the value of a query parameter, or for a parameter that has no `=`. */
export const REDACTED = '[redacted]';
/** Ends a path that was too long for a record. */
export const CUT = '[cut]';

export interface AuditRecord {
  /** `proxy_intercept` for what was seen inside TLS (S011-FR-019), `dns` for the DNS filter, `proxy` for all else. */
  readonly subsystem: 'proxy' | 'proxy_intercept' | 'dns';
  /** flow: one connection; request: one exchange inside it; query: one question to the DNS filter. */
  readonly event: 'flow' | 'request' | 'query';
  /** The same for all records of one client connection. */
  readonly flow: string;
  readonly agent: string;
  readonly agent_ip: string;
  readonly verdict: 'allow' | 'block' | 'failed';
  /** Rule id, `default`, or null when the flow failed before a rule was reached. */
  readonly rule: string | null;
  readonly mode: Mode | null;
  /** In audit: the rule that would have blocked it, or `default`; null when nothing would have. */
  readonly would_block: string | null;
  readonly taken: Taken;
  /** Why it was blocked or failed; null for what went well. */
  readonly reason: FailureReason | 'rule' | 'error' | 'default' | null;
  /** Words for the operator, control bytes escaped. */
  readonly detail: string | null;
  /** Canonical, or what was asked for, escaped, where it has no canonical form. */
  readonly host: string | null;
  readonly port: number | null;
  readonly scheme: 'http' | 'https' | null;
  /** Of a DNS query: the record type. */
  readonly method: string | null;
  /** Path and query with the query's values redacted. */
  readonly path: string | null;
  readonly http_version: '1.0' | '1.1' | '2' | null;
  /** Status that the agent received; null when none. */
  readonly status: number | null;
  /** Bytes of the request body that went upstream. */
  readonly body_size: number;
  /**
   * Bytes agent to origin and origin to agent: relayed bytes of a tunnel, head and body of an exchange; of a DNS query,
   * the message and our answer.
   */
  readonly bytes_up: number;
  readonly bytes_down: number;
  /** Address that was dialled, null when nothing was. */
  readonly upstream: string | null;
  /** RFC 3339, UTC. */
  readonly started_at: string;
  readonly duration_ms: number;
  /** Rule-set generation that decided. */
  readonly generation: number;
}
