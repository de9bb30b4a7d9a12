/**
 * The audit record of each DNS query: host is the name, method the record type. A name that is no host is written as
 * asked, in the escapes that readName gives it; nothing else of the message is.
 */
import { randomBytes } from 'node:crypto';
import type { FlowCounts } from '../audit/flow-counts.ts';
import { type Clock, timestamp } from '../domain/clock.ts';
import type { AgentFacts } from '../domain/facts.ts';
import type { FailureReason } from '../domain/failure.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { Allow, Block } from '../domain/verdict.ts';

/** What was asked, as far as it could be read. */
export interface Asked {
  readonly agent: AgentFacts;
  /** As WireName.text. */
  readonly name: string | null;
  readonly type: string | null;
  readonly bytes: number;
  /** Milliseconds. */
  readonly startedAt: number;
  readonly generation: number;
}

/** How it ended: by a verdict, or without one. */
export type Ended =
  | { readonly verdict: Allow | Block; readonly detail: string | null }
  | { readonly failure: FailureReason; readonly rule: string | null; readonly detail: string }
  /** What no rule can open: blocked by default. */
  | { readonly refusal: string };

const FLOW_PREFIX_BYTES = 4;

export class QueryLog {
  readonly #audit: { write(record: AuditRecord): void };
  readonly #counts: FlowCounts;
  readonly #clock: Clock;
  readonly #flowPrefix = `${randomBytes(FLOW_PREFIX_BYTES).toString('hex')}-`;
  #queries = 0;

  constructor(audit: { write(record: AuditRecord): void }, counts: FlowCounts, clock: Clock) {
    this.#audit = audit;
    this.#clock = clock;
    this.#counts = counts;
  }

  /** Counts the query, and writes one record unless the rule that decided says `log: false`. */
  write(asked: Asked, ended: Ended, answerBytes: number): void {
    const { verdict, rule, mode, reason, detail } = outcomeOf(ended);
    const record: AuditRecord = {
      subsystem: 'dns',
      event: 'query',
      flow: this.#flowPrefix + (++this.#queries).toString(36),
      agent: asked.agent.name,
      agent_ip: asked.agent.ip,
      verdict,
      rule,
      mode,
      would_block:
        'verdict' in ended && ended.verdict.action === 'allow' ? (ended.verdict.wouldBlock?.ruleId ?? null) : null,
      taken: 'none',
      reason,
      detail,
      host: asked.name,
      port: null,
      scheme: null,
      method: asked.type,
      path: null,
      http_version: null,
      status: null,
      body_size: 0,
      bytes_up: asked.bytes,
      bytes_down: answerBytes,
      upstream: null,
      started_at: timestamp(asked.startedAt),
      duration_ms: this.#clock.now() - asked.startedAt,
      generation: asked.generation,
    };
    this.#counts.count(asked.agent.name, record);
    if (!('verdict' in ended) || ended.verdict.log) this.#audit.write(record);
  }
}

function outcomeOf(ended: Ended): Pick<AuditRecord, 'verdict' | 'rule' | 'mode' | 'reason' | 'detail'> {
  if ('failure' in ended) {
    return { verdict: 'failed', rule: ended.rule, mode: null, reason: ended.failure, detail: ended.detail };
  }
  if ('refusal' in ended) {
    return { verdict: 'block', rule: 'default', mode: null, reason: 'default', detail: ended.refusal };
  }
  const { verdict, detail } = ended;
  if (verdict.action === 'allow') {
    return { verdict: 'allow', rule: verdict.ruleId, mode: verdict.grant.mode, reason: null, detail };
  }
  const { ruleId: rule, cause: reason } = verdict;
  return { verdict: 'block', rule, mode: null, reason, detail: detail ?? verdict.reason };
}
