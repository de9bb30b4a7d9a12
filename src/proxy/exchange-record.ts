/**
 * Collects what the audit record of one exchange needs, and writes it once.
 */

import { redactPath } from '../audit/redact.ts';
import type { RequestFacts, Scheme } from '../domain/facts.ts';
import type { FailureReason } from '../domain/failure.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { Allow, Block } from '../domain/verdict.ts';
import { escapeForLog, escapeTargetForLog } from '../wire/escape.ts';
import type { Flow } from './flow.ts';

/** Longest method or unreadable Host that is written down. */
const LOGGED_CHARS = 256;

export class ExchangeRecord {
  status: number | null = null;
  verdict: Allow | undefined;
  upstream: string | null = null;
  bodySize = 0;
  bytesUp = 0;
  bytesDown = 0;
  host: string | null = null;
  port: number | null = null;
  method: string | null = null;
  httpVersion: AuditRecord['http_version'] = null;
  /** Of the rule set that decided. */
  generation: number;
  #target: string | null = null;
  readonly #flow: Flow;
  readonly #taken: 'intercept' | 'forward';
  readonly #scheme: Scheme;
  readonly #startedAt: number;

  constructor(
    flow: Flow,
    via: { readonly taken: 'intercept' | 'forward'; readonly scheme: Scheme },
    generation: number,
  ) {
    this.#flow = flow;
    this.#taken = via.taken;
    this.#scheme = via.scheme;
    this.generation = generation;
    this.#startedAt = flow.deps.clock.now();
    flow.deps.counts.begun++;
  }

  facts(facts: RequestFacts): void {
    this.host = facts.host;
    this.port = facts.port;
    this.method = facts.method;
    this.#target = facts.target;
  }

  /** A request that never became facts: what it said, escaped. */
  unread(method: string, host: string | undefined, target: string): void {
    this.method = escapeForLog(method, LOGGED_CHARS);
    this.host = host === undefined ? null : escapeTargetForLog(host, LOGGED_CHARS);
    // In origin-form the query is redacted later, parameter by parameter.
    const shown = target.startsWith('/') ? escapeForLog : escapeTargetForLog;
    this.#target = shown(target, LOGGED_CHARS);
  }

  allowed(): void {
    const rule = this.verdict?.ruleId ?? null;
    if (this.verdict?.log === false) this.#leaveOut('allow', rule, null);
    else this.#write('allow', rule, null, null);
  }

  blocked(block: Block): void {
    if (block.log) this.#write('block', block.ruleId, block.cause, block.reason);
    else this.#leaveOut('block', block.ruleId, block.cause);
  }

  failed(reason: FailureReason, detail: string | undefined): void {
    this.#write('failed', this.verdict?.ruleId ?? null, reason, detail ?? null);
  }

  #leaveOut(verdict: 'allow' | 'block', rule: string | null, reason: Block['cause'] | null): void {
    this.#flow.deps.counts.ended++;
    this.#flow.leaveOut({
      event: 'request',
      verdict,
      rule,
      reason,
      mode: this.verdict?.grant.mode ?? null,
      would_block: this.verdict?.wouldBlock?.ruleId ?? null,
      taken: this.#taken,
      http_version: this.httpVersion,
      bytes_up: this.bytesUp,
      bytes_down: this.bytesDown,
    });
  }

  #write(
    verdict: AuditRecord['verdict'],
    rule: string | null,
    reason: AuditRecord['reason'],
    detail: string | null,
  ): void {
    this.#flow.deps.counts.ended++;
    const keepQuery = this.#flow.deps.options.logQueryValues;
    this.#flow.record({
      event: 'request',
      startedAt: this.#startedAt,
      verdict,
      rule,
      mode: this.verdict?.grant.mode ?? null,
      would_block: this.verdict?.wouldBlock?.ruleId ?? null,
      taken: this.#taken,
      reason,
      detail,
      host: this.host,
      port: this.port,
      scheme: this.#scheme,
      method: this.method,
      path: this.#target === null || keepQuery ? this.#target : redactPath(this.#target),
      http_version: this.httpVersion,
      status: this.status,
      body_size: this.bodySize,
      bytes_up: this.bytesUp,
      bytes_down: this.bytesDown,
      upstream: this.upstream,
      generation: this.generation,
    });
  }
}
