/**
 * One client connection: who it belongs to, when it must have moved on, and what was recorded of it.
 * State lives here, never on a socket. Deadlines are checked by the server's one sweep, so that ten thousand idle
 * tunnels cost no timer each.
 */
import type { Socket } from 'node:net';
import type { Counted } from '../audit/flow-counts.ts';
import { timestamp } from '../domain/clock.ts';
import type { AgentFacts } from '../domain/facts.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { ProxyDeps } from './deps.ts';

/** Why we end a flow that its agent did not end. */
export type AbortReason = 'draining' | 'rules_changed';

/** What the server may ask of whatever serves the flow at present. */
export interface FlowHandler {
  /** The deadline of the present phase has passed. */
  onTimeout(): void;
  /** Close as soon as nothing is under way. */
  onDrain(): void;
  /** Nothing has passed for a while: give back what can be had again. Once in each pause. */
  onRest?(): void;
  /** A new rule set is in force; true when the flow may live on under it. */
  permittedBy(rules: RuleSet): boolean;
  /** Close now, in both directions, by reset. */
  abort(why: AbortReason): void;
}

type RecordFields = Omit<
  AuditRecord,
  'flow' | 'agent' | 'agent_ip' | 'started_at' | 'duration_ms' | 'subsystem' | 'event'
> & { readonly startedAt: number; readonly event: AuditRecord['event'] };

/** A pause of this length is one in which an agent thinks, not one between two requests of a page. */
const REST_AFTER_MS = 1_000;

export class Flow {
  readonly id: string;
  readonly deps: ProxyDeps;
  readonly raw: Socket;
  readonly agent: AgentFacts;
  readonly startedAt: number;
  handler: FlowHandler | undefined;
  /** Audit records written for this flow, or left out by `log: false`. */
  records = 0;
  draining = false;
  /** Resolves when what outlives the client's socket has been recorded: a relay ends when its other side has closed too. */
  recorded: Promise<void> = Promise.resolve();
  #deadlineAt = Number.POSITIVE_INFINITY;
  #idleMs = 0;
  #resting = false;
  readonly #now: () => number;

  /** `now` is the server's coarse clock: milliseconds, moved on by the sweep. */
  constructor(deps: ProxyDeps, id: string, raw: Socket, agent: AgentFacts, now: () => number) {
    this.deps = deps;
    this.id = id;
    this.raw = raw;
    this.agent = agent;
    this.startedAt = deps.clock.now();
    this.#now = now;
  }

  /** From here on, the phase must end within `ms`, whatever the peer sends meanwhile. */
  expectWithin(ms: number): void {
    this.#idleMs = 0;
    this.#deadlineAt = this.#now() + ms;
  }

  /** From here on, some byte must pass every `ms`. */
  allowIdle(ms: number): void {
    this.#idleMs = ms;
    this.#deadlineAt = this.#now() + ms;
  }

  /** A byte passed. */
  touch(): void {
    this.#resting = false;
    if (this.#idleMs !== 0) this.#deadlineAt = this.#now() + this.#idleMs;
  }

  /** The sweep calls this: tells the handler of a pause, once. */
  noticeRest(now: number): void {
    if (this.#resting || this.#idleMs === 0 || now < this.#deadlineAt - this.#idleMs + REST_AFTER_MS) return;
    this.#resting = true;
    this.handler?.onRest?.();
  }

  expired(now: number): boolean {
    return now >= this.#deadlineAt;
  }

  /** The sweep calls this once per deadline. */
  timeOut(): void {
    this.#deadlineAt = Number.POSITIVE_INFINITY;
    this.handler?.onTimeout();
  }

  /** What `log: false` says of a record: it is counted, and no more. */
  leaveOut(fields: Counted): void {
    this.records++;
    this.deps.counts.count(this.agent.name, fields);
  }

  /** Writes one audit record; `startedAt` is in milliseconds. */
  record(fields: RecordFields): void {
    this.leaveOut(fields);
    // Field by field: spreading this many costs a microsecond on every request.
    this.deps.audit.write({
      subsystem: fields.taken === 'intercept' ? 'proxy_intercept' : 'proxy',
      event: fields.event,
      flow: this.id,
      agent: this.agent.name,
      agent_ip: this.agent.ip,
      verdict: fields.verdict,
      rule: fields.rule,
      mode: fields.mode,
      would_block: fields.would_block,
      taken: fields.taken,
      reason: fields.reason,
      detail: fields.detail,
      host: fields.host,
      port: fields.port,
      scheme: fields.scheme,
      method: fields.method,
      path: fields.path,
      http_version: fields.http_version,
      status: fields.status,
      body_size: fields.body_size,
      bytes_up: fields.bytes_up,
      bytes_down: fields.bytes_down,
      upstream: fields.upstream,
      started_at: timestamp(fields.startedAt),
      duration_ms: this.deps.clock.now() - fields.startedAt,
      generation: fields.generation,
    });
  }
}
