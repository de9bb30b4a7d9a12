/**
 * One HTTP/1.1 request and its response (threats 2, 8, 9, 11, 12, 13, 29).
 *   1. locate: Host must be the connection's; the target is normalised, so what is evaluated is what is forwarded
 *   2. decide; a rule with match_body has the body held back first, up to the cap
 *   3. an upstream: the connection's own, one from the pool, or a new one, verified
 *   4. the request streams up as it came, the response streams down (h1-response.ts), each with backpressure
 *   5. one audit record
 */

import { fieldValue, type RequestFacts } from '../domain/facts.ts';
import { asFailure, type FailureReason, FlowFailure } from '../domain/failure.ts';
import type { Allow, Block, Verdict } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import { lateHandshakeFailure } from '../upstream/tls-failure.ts';
import { BodyScanner } from '../wire/http1-body.ts';
import { forwardRequestHead } from '../wire/http1-forward.ts';
import type { RequestHead } from '../wire/http1-head.ts';
import { blockRefusal, failureRefusal, type Refusal, refusalBytes } from '../wire/refusal.ts';
import { BodyGate, type GateOwner } from './body-gate.ts';
import { ExchangeRecord } from './exchange-record.ts';
import type { H1Connection } from './h1-connection.ts';
import { H1Response, MAX_TRAILER_BYTES } from './h1-response.ts';
import type { H1Upstream } from './h1-upstream.ts';
import { readRequest } from './request.ts';
import { isWebSocketRequest } from './upgrade.ts';

const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n');
/** Bytes of a request body held while its upstream is being dialled; past this the agent is paused. */
const HELD_BYTES_MAX = 256 * 1024;
/** RFC 9110 section 9.2.2: what may be sent again on a new connection when a kept one turns out to be dead. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

type Phase = 'deciding' | 'connecting' | 'relaying' | 'over';

export class H1Exchange implements GateOwner {
  /** The whole request has been read. */
  requestDone: boolean;
  readonly head: RequestHead;
  readonly record: ExchangeRecord;
  readonly connection: H1Connection;
  readonly #input: Buffer;
  readonly #scanner: BodyScanner;
  readonly #gate: BodyGate;
  #phase: Phase = 'deciding';
  #facts: RequestFacts | undefined;
  #hostField = '';
  #origin: OriginRequest | undefined;
  #upstream: H1Upstream | undefined;
  #response: H1Response | undefined;
  #agentFull = false;
  #retried = false;
  #upstreamReused = false;

  /** `input` begins with the head's bytes; what follows them is the body, or the next request. */
  constructor(connection: H1Connection, head: RequestHead, input: Buffer) {
    this.connection = connection;
    this.head = head;
    this.#input = input;
    const rules = connection.flow.deps.rules();
    this.#gate = new BodyGate(connection.flow, rules, this);
    this.#scanner = new BodyScanner(head.framing, { strictChunks: true, maxTrailerBytes: MAX_TRAILER_BYTES });
    this.requestDone = this.#scanner.done;
    this.record = new ExchangeRecord(connection.flow, connection.site, rules.generation);
    this.record.httpVersion = head.minor === 1 ? '1.1' : '1.0';
  }

  /** Decides and sets out. Returns how much of the input was this request's. */
  begin(): number {
    const { flow, site } = this.connection;
    const read = readRequest(flow, site, this.head);
    if (!read.ok) {
      this.record.unread(this.head.method, this.head.host, this.head.target);
      this.fail(new FlowFailure(read.reason, { detail: read.detail }));
      return this.#input.length;
    }
    this.record.facts(read.facts);
    this.#hostField = read.hostField;
    this.#facts = read.facts;
    this.#gate.decide(read.facts, {
      framing: this.head.framing,
      declaredBytes: read.facts.bodySize,
      done: this.requestDone,
      expectsContinue: this.head.expectContinue,
    });
    if (this.requestDone || this.#is('over')) return this.head.bytes;
    return this.onRequestBytes(this.#input, this.head.bytes);
  }

  /** Body bytes from the agent. Returns the index after the last one that belongs to this request. */
  onRequestBytes(chunk: Buffer, start: number): number {
    if (start === chunk.length) return start;
    const end = this.#scanner.feed(chunk, start);
    if (this.#scanner.error !== undefined) {
      this.fail(new FlowFailure('bad_request', { detail: this.#scanner.error }));
      return chunk.length;
    }
    this.record.bodySize = this.#scanner.payloadBytes;
    this.requestDone = this.#scanner.done;
    if (end > start) this.#onBody(start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end));
    if (this.requestDone) this.#gate.end(this.#scanner.payloadBytes);
    return end;
  }

  onUpstreamDrained(): void {
    if (!this.#agentFull) return;
    this.#agentFull = false;
    if (!this.requestDone) this.connection.stream.resume();
  }

  onResponseBytes(chunk: Buffer): void {
    this.connection.flow.touch();
    this.#response?.onBytes(chunk);
  }

  onUpstreamEnd(error: Error | undefined): void {
    if (this.#phase === 'over') return;
    this.#upstream = undefined;
    if (this.#response?.onEnd(error) === 'done') return;
    if (this.#mayRetry()) {
      this.#retried = true;
      this.#dial();
      return;
    }
    this.fail(
      lateHandshakeFailure(error) ??
        new FlowFailure('origin_closed', { detail: error?.message ?? 'end of stream', cause: error }),
    );
  }

  /** No byte has passed for the idle timeout. */
  onTimeout(): void {
    this.fail(new FlowFailure(this.requestDone ? 'origin_timeout' : 'idle_timeout'));
  }

  /** The agent is gone, or the connection was closed from above. */
  onAborted(why: FailureReason): void {
    if (this.#phase === 'over') return;
    this.#phase = 'over';
    this.record.failed(why, undefined);
  }

  /** Whether a new rule set would still admit this exchange (threat 33). */
  permittedBy(rules: RuleSet): boolean {
    return this.#gate.admittedBy(rules, this.#response?.head);
  }

  /** Refuses while no response has begun; after that only a reset is truthful. */
  fail(failure: FlowFailure): void {
    if (this.#phase === 'over') return;
    this.#phase = 'over';
    if (failure.reason === 'internal_error') {
      this.connection.flow.deps.log.error({ err: failure.cause, flow: this.connection.flow.id }, 'exchange failed');
    }
    const begun = this.#response?.begun === true;
    const refusal = failureRefusal(failure.reason, this.#accept());
    if (!begun) this.record.status = refusal.status;
    this.record.failed(failure.reason, failure.detail);
    if (begun) this.connection.abort();
    else this.#refuse(refusal);
  }

  /** The response has been relayed whole. */
  responded(reusable: boolean, keepAlive: boolean): void {
    this.#phase = 'over';
    const upstream = this.#upstream;
    if (upstream !== undefined) upstream.user = undefined;
    this.record.allowed();
    if (upstream !== undefined) {
      upstream.reused = true;
      if (!reusable || !this.requestDone) this.connection.discardUpstream();
    }
    this.connection.finished(keepAlive && this.requestDone);
  }

  /** The origin has switched protocols, as this request asked. */
  upgraded(head: Buffer, rest: Buffer): void {
    this.#phase = 'over';
    if (this.#upstream !== undefined) this.#upstream.user = undefined;
    this.connection.relayUpgrade(head, rest, this.record);
  }

  pauseUpstream(): void {
    this.#upstream?.connection.socket.pause();
  }

  onVerdict(verdict: Verdict): void {
    this.record.generation = this.#gate.rules.generation;
    if (verdict.action === 'block') this.block(verdict);
    else this.#allow(verdict);
  }

  sendContinue(): void {
    this.connection.stream.write(CONTINUE);
  }

  /** Refuses by a verdict on the request, or on an answer of which nothing has been passed on. */
  block(block: Block): void {
    this.#phase = 'over';
    const refusal = blockRefusal(block, this.#accept());
    this.record.status = refusal.status;
    this.record.blocked(block);
    this.#refuse(refusal);
  }

  #allow(verdict: Allow): void {
    const { flow, site } = this.connection;
    const facts = this.#facts as RequestFacts;
    this.record.verdict = verdict;
    const failure = flow.deps.audit.blocked ? new FlowFailure('audit_unavailable') : site.unreachable;
    if (failure !== undefined) {
      this.fail(failure);
      return;
    }
    this.#origin = { agentIp: flow.agent.ip, host: facts.host, port: facts.port, grant: verdict.grant };
    const upstream = this.connection.upstreamAtHand(this.#origin);
    if (upstream === undefined) this.#dial();
    else this.#send(upstream);
  }

  #onBody(bytes: Buffer): void {
    if (this.#phase === 'relaying') {
      this.#up(bytes);
      return;
    }
    this.#gate.keep(bytes, this.#scanner.payloadBytes);
    if (this.#phase === 'connecting' && this.#gate.heldBytes > HELD_BYTES_MAX) this.connection.stream.pause();
  }

  #dial(): void {
    this.#phase = 'connecting';
    const origin = this.#origin as OriginRequest;
    this.connection.site.dial(origin).then(
      (fresh) => {
        const upstream = this.connection.adopt(fresh, origin);
        if (this.#phase === 'connecting') this.#send(upstream);
        else this.connection.discardUpstream();
      },
      (error: unknown) => this.fail(asFailure(error)),
    );
  }

  #send(upstream: H1Upstream): void {
    this.#phase = 'relaying';
    this.#upstream = upstream;
    upstream.user = this;
    this.#upstreamReused = upstream.reused;
    this.record.upstream = upstream.connection.address;
    this.#response = new H1Response(this, this.#gate);
    if (!this.requestDone || this.#gate.heldBytes > 0) {
      // Head and the first of the body leave in one segment.
      upstream.connection.socket.cork();
      process.nextTick(uncork, upstream.connection.socket);
    }
    this.#up(this.#forwardedHead());
    const held = this.#gate.release();
    if (held !== undefined) this.#up(held);
    if (!this.requestDone && !this.#agentFull) this.connection.stream.resume();
  }

  #forwardedHead(): Buffer {
    const facts = this.#facts as RequestFacts;
    const raw = this.#input.subarray(0, this.head.bytes);
    return forwardRequestHead(raw, this.head, {
      target: facts.target,
      host: this.#hostField,
      upgrade: isWebSocketRequest(this.head),
      dropExpect: this.#gate.answeredExpect,
    });
  }

  #up(bytes: Buffer): void {
    const upstream = this.#upstream as H1Upstream;
    this.record.bytesUp += bytes.length;
    this.connection.flow.touch();
    if (upstream.connection.socket.write(bytes) || this.#phase !== 'relaying') return;
    this.#agentFull = true;
    if (!this.requestDone) this.connection.stream.pause();
  }

  #mayRetry(): boolean {
    return (
      !this.#retried &&
      this.#response?.begun === false &&
      this.#upstreamReused &&
      this.head.framing.kind === 'none' &&
      IDEMPOTENT.has(this.head.method)
    );
  }

  /** The phase as of now, after calls that may have changed it. */
  #is(phase: Phase): boolean {
    return this.#phase === phase;
  }

  #refuse(refusal: Refusal): void {
    this.connection.refuse(refusalBytes(refusal, { head: this.head.method === 'HEAD', close: true }));
  }

  #accept(): string | undefined {
    return fieldValue(this.head.headers, 'accept');
  }
}

function uncork(socket: { uncork(): void }): void {
  socket.uncork();
}
