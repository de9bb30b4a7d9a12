/**
 * What flows came to, as plain numbers: counted where a record is written, or left out by `log: false`. A count is a few
 * additions on objects that were found once; no text is made before somebody asks.
 * Series are bounded: the first agents and rules have their own, who comes later counts as `other`, and agents that nobody
 * told of are `unknown`. So no series is ever taken back, and no forged address makes one.
 */
import { FAILURE_REASONS, FAILURES, type FailureReason } from '../domain/failure.ts';
import { Histogram } from '../domain/histogram.ts';
import type { AuditRecord } from '../domain/record.ts';
import { STAGES } from './intercept-stages.ts';
import type { Samples } from './metrics.ts';

/** Agents with series of their own; compose files name a few. */
const MAX_AGENTS = 100;
/** Pairs of agent and rule with series of their own. */
const MAX_PAIRS = 1_000;
const OTHER = 'other';
const UNKNOWN = 'unknown';

const EVENTS = ['flow', 'request', 'query'] as const;
const VERDICTS = ['allow', 'block', 'failed'] as const;
const VERSIONS = ['1.0', '1.1', '2'] as const;

/** What of a record is counted. */
export type Counted = Pick<
  AuditRecord,
  | 'event'
  | 'verdict'
  | 'rule'
  | 'mode'
  | 'would_block'
  | 'taken'
  | 'reason'
  | 'http_version'
  | 'bytes_up'
  | 'bytes_down'
>;

interface AgentCounts {
  readonly name: string;
  bytesUp: number;
  bytesDown: number;
  queriesDropped: number;
  readonly byRule: Map<string | null, number[]>;
  readonly wouldBlock: Map<string, number>;
}

export class FlowCounts {
  readonly clientHandshake = new Histogram();
  /** Exchanges that have begun, and those of them that have ended. */
  begun = 0;
  ended = 0;
  readonly #agents = new Map<string, AgentCounts>();
  #pairs = 0;
  /** By VERSIONS, and then what was cut off before its version was known. */
  readonly #intercepted = [0, 0, 0, 0];
  readonly #forwarded = [0, 0, 0, 0];
  readonly #failed = new Map<FailureReason, number>();
  readonly #interceptFailed = new Map<FailureReason, number>();
  #ruleErrors = 0;

  /** `agent`: its name, empty for one that nobody told of. */
  count(agent: string, done: Counted): void {
    const mine = this.#agents.get(agent) ?? this.#meet(agent);
    if (done.event !== 'query') {
      mine.bytesUp += done.bytes_up;
      mine.bytesDown += done.bytes_down;
    }
    const verdicts = mine.byRule.get(done.rule) ?? this.#pair(mine, done.rule);
    const index = 3 * (done.event === 'request' ? 1 : done.event === 'flow' ? 0 : 2) + verdictIndex(done.verdict);
    verdicts[index] = (verdicts[index] ?? 0) + 1;
    if (done.event === 'request') this.#countRequest(done);
    if (done.reason !== null) this.#countFault(done);
    if (done.would_block !== null) this.#countWouldBlock(mine, done.would_block);
  }

  /** A DNS query that got no answer; the record of it may stand for many. */
  dropQuery(agent: string): void {
    (this.#agents.get(agent) ?? this.#meet(agent)).queriesDropped++;
  }

  /** What is in these numbers, added to `samples`. */
  collect(samples: Samples): void {
    for (const mine of this.#agents.values()) collectAgent(samples, mine);
    collectRequests(samples, 'intercept', this.#intercepted);
    collectRequests(samples, 'forward', this.#forwarded);
    // All reasons from the start, so that the first fault is a step that an alert can see.
    for (const reason of FAILURE_REASONS) {
      samples.add('outcall_fail_closed_total', this.#failed.get(reason) ?? 0, {
        reason,
        blame: FAILURES[reason].blame,
      });
    }
    samples.add('outcall_fail_closed_total', this.#ruleErrors, { reason: 'rule_error', blame: 'operator' });
    for (const [reason, count] of this.#interceptFailed) {
      samples.add('outcall_intercept_errors_total', count, { stage: STAGES[reason], reason });
    }
    samples.add('outcall_requests_inflight', this.begun - this.ended);
    samples.histogram('outcall_client_handshake_seconds', this.clientHandshake);
  }

  #countRequest({ taken, http_version }: Counted): void {
    const counts = taken === 'intercept' ? this.#intercepted : this.#forwarded;
    const index = http_version === '1.1' ? 1 : http_version === '2' ? 2 : http_version === '1.0' ? 0 : 3;
    counts[index] = (counts[index] ?? 0) + 1;
  }

  #countFault({ verdict, reason, mode, taken }: Counted): void {
    if (reason === 'error') this.#ruleErrors++;
    if (verdict === 'block' || !isFailure(reason)) return;
    this.#failed.set(reason, (this.#failed.get(reason) ?? 0) + 1);
    if (mode !== 'intercept' && taken !== 'intercept') return;
    this.#interceptFailed.set(reason, (this.#interceptFailed.get(reason) ?? 0) + 1);
  }

  #countWouldBlock(mine: AgentCounts, rule: string): void {
    const key = mine.wouldBlock.has(rule) || this.#pairs < MAX_PAIRS ? rule : OTHER;
    if (!mine.wouldBlock.has(key)) this.#pairs++;
    mine.wouldBlock.set(key, (mine.wouldBlock.get(key) ?? 0) + 1);
  }

  #meet(agent: string): AgentCounts {
    const name = agent === '' ? UNKNOWN : this.#agents.size < MAX_AGENTS ? agent : OTHER;
    const key = name === agent || agent === '' ? agent : OTHER;
    const known = this.#agents.get(key);
    if (known !== undefined) return known;
    const mine = { name, bytesUp: 0, bytesDown: 0, queriesDropped: 0, byRule: new Map(), wouldBlock: new Map() };
    this.#agents.set(key, mine);
    return mine;
  }

  #pair(mine: AgentCounts, rule: string | null): number[] {
    const key = rule === null || this.#pairs < MAX_PAIRS ? rule : OTHER;
    const known = mine.byRule.get(key);
    if (known !== undefined) return known;
    const verdicts = new Array<number>(EVENTS.length * VERDICTS.length).fill(0);
    mine.byRule.set(key, verdicts);
    this.#pairs++;
    return verdicts;
  }
}

function verdictIndex(verdict: Counted['verdict']): number {
  return verdict === 'allow' ? 0 : verdict === 'block' ? 1 : 2;
}

function isFailure(reason: Counted['reason']): reason is FailureReason {
  return reason !== null && reason !== 'rule' && reason !== 'error' && reason !== 'default';
}

function collectAgent(samples: Samples, mine: AgentCounts): void {
  const { name, bytesUp, bytesDown, byRule, wouldBlock, queriesDropped } = mine;
  samples.add('outcall_bytes_total', bytesUp, { direction: 'up', agent: name });
  samples.add('outcall_bytes_total', bytesDown, { direction: 'down', agent: name });
  if (queriesDropped > 0) samples.add('outcall_dns_dropped_total', queriesDropped, { agent: name });
  for (const [rule, counts] of byRule) {
    for (const [i, count] of counts.entries()) {
      if (count === 0) continue;
      const event = EVENTS[Math.floor(i / VERDICTS.length)] ?? OTHER;
      const verdict = VERDICTS[i % VERDICTS.length] ?? OTHER;
      samples.add('outcall_verdicts_total', count, { event, verdict, agent: name, rule: rule ?? '' });
    }
  }
  for (const [rule, count] of wouldBlock) samples.add('outcall_would_block_total', count, { agent: name, rule });
}

function collectRequests(samples: Samples, taken: string, counts: readonly number[]): void {
  for (const [i, count] of counts.entries()) {
    const version = VERSIONS[i] ?? UNKNOWN;
    if (count > 0 || i === 1) samples.add('outcall_requests_total', count, { taken, http_version: version });
  }
}
