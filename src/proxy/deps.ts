/**
 * What a proxy door is given by the daemon. Everything that a test wants to watch or replace comes in here.
 */
import type { FlowCounts } from '../audit/flow-counts.ts';
import type { Clock } from '../domain/clock.ts';
import type { AgentFacts } from '../domain/facts.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Interception } from './interception.ts';

export interface ProxyOptions {
  /** Bytes of one request or response head (LLM agents send long ones; Outcall's own default was 8 KiB). */
  readonly maxHeadBytes: number;
  readonly maxHeaders: number;
  /** Absolute: a head must be whole this long after its first byte. */
  readonly headTimeoutMs: number;
  /** Absolute, for the ClientHello and again for the client's TLS handshake. */
  readonly helloTimeoutMs: number;
  /** A flow without a byte in either direction for this long is closed. */
  readonly idleTimeoutMs: number;
  readonly maxConnectionsPerAgent: number;
  /** Largest request body that a rule with match_body may see; 0 to 16 MiB. */
  readonly bodyCapBytes: number;
  /** Write query values to the audit record as they are. */
  readonly logQueryValues: boolean;
  /** 48 random bytes shared by all workers, so that a TLS session can be resumed on any of them. */
  readonly ticketKeys: Buffer;
}

export interface AuditSink {
  write(record: AuditRecord): void;
  /** True while records cannot be written: nothing new may be let through. */
  readonly blocked: boolean;
}

export interface Diagnostics {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
}

export interface ProxyDeps {
  readonly options: ProxyOptions;
  /** The rule set in force now. */
  rules(): RuleSet;
  readonly upstream: Upstream;
  /** Present only where a CA is loaded; its module is imported only then (S011-FR-022). */
  readonly interception: Interception | undefined;
  /** What agents are to trust, in PEM, the CA that signs first; undefined without a CA. */
  caBundle(): string | undefined;
  readonly audit: AuditSink;
  readonly counts: FlowCounts;
  readonly agents: { factsOf(ip: string): AgentFacts };
  readonly clock: Clock;
  readonly log: Diagnostics;
}
