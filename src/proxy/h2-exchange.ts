/**
 * One HTTP/2 stream and its counterpart at the origin (threats 2, 8, 10, 11, 29).
 *   1. the header section is checked (RFC 9113 sections 8.2, 8.3); :authority must be the connection's host
 *   2. decide; a rule with match_body has the body held back first, up to the cap
 *   3. a stream on the origin's session; bodies, interim responses and trailers pass unbuffered, resets too
 *   4. one audit record
 */
import { fieldValue, type HeaderList } from '../domain/facts.ts';
import { type FailureReason, FlowFailure } from '../domain/failure.ts';
import type { Allow, Block, Verdict } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { H2_CODE } from '../wire/http2-frames.ts';
import { h2TrailerProblem } from '../wire/http2-headers.ts';
import { blockRefusal, failureRefusal, type Refusal } from '../wire/refusal.ts';
import { BodyGate, type GateOwner } from './body-gate.ts';
import { ExchangeRecord } from './exchange-record.ts';
import type { H2Connection } from './h2-connection.ts';
import { CONTINUE, H2Relay, type RelayOwner } from './h2-relay.ts';
import { h2ResponseFacts, type ReadH2Request, withoutExpect } from './h2-request.ts';
import { findSession, type RouteOwner } from './h2-route.ts';
import type { H2Stream, NeverIndexed, StreamUser } from './h2-stream.ts';
import type { OriginSession } from './h2-upstream.ts';

const NO_FRAMING = { kind: 'none' } as const;
const VIA = { taken: 'intercept', scheme: 'https' } as const;

type Phase = 'deciding' | 'connecting' | 'relaying' | 'over';

export class H2Exchange implements GateOwner, RouteOwner, RelayOwner, StreamUser {
  isExtendedConnect = false;
  readonly #connection: H2Connection;
  readonly #stream: H2Stream;
  readonly #gate: BodyGate;
  readonly #record: ExchangeRecord;
  #phase: Phase = 'deciding';
  #read: ReadH2Request | undefined;
  #neverIndexed: NeverIndexed;
  #requestDone = false;
  #relay: H2Relay | undefined;
  #sentAgain = false;
  #trailers: { readonly list: HeaderList; readonly neverIndexed: NeverIndexed } | undefined;
  /** Of the answer that was passed on, as it came. */
  #head: HeaderList | undefined;

  constructor(connection: H2Connection, stream: H2Stream) {
    const { flow } = connection;
    this.#connection = connection;
    this.#stream = stream;
    stream.user = this;
    const rules = flow.deps.rules();
    this.#gate = new BodyGate(flow, rules, this);
    this.#record = new ExchangeRecord(flow, VIA, rules.generation);
    this.#record.httpVersion = '2';
  }

  /** `raw`: flat, as it came; undefined where it was over the limits. */
  begin(raw: HeaderList | undefined, neverIndexed: NeverIndexed, endStream: boolean): void {
    this.#requestDone = endStream;
    this.#neverIndexed = neverIndexed;
    const read = raw === undefined ? new FlowFailure('header_too_large') : this.#connection.read(raw);
    if (read instanceof FlowFailure) {
      const said = (name: string): string | undefined => fieldValue(raw ?? [], name);
      this.#record.unread(said(':method') ?? '', said(':authority'), said(':path') ?? '');
      this.fail(read);
      return;
    }
    const { facts, request, length } = read;
    this.#read = read;
    this.#record.facts(facts);
    this.#stream.owed = length;
    this.isExtendedConnect = request.protocol !== undefined;
    const forbidden = this.isExtendedConnect && !this.#connection.offersExtendedConnect;
    if (forbidden || (endStream && length > 0)) {
      this.#malformed(forbidden ? 'extended CONNECT that was not offered' : 'a content-length, and no body');
      return;
    }
    this.#gate.decide(facts, {
      framing: NO_FRAMING,
      declaredBytes: facts.bodySize,
      done: endStream,
      expectsContinue: read.expectsContinue,
    });
  }

  onTimeout(): void {
    this.fail(new FlowFailure(this.#requestDone ? 'origin_timeout' : 'idle_timeout'));
  }

  /** The agent's connection is gone. */
  onAborted(why: FailureReason): void {
    if (this.#is('over')) return;
    this.#agentGone(H2_CODE.cancel, why, undefined);
  }

  onVerdict(verdict: Verdict): void {
    this.#record.generation = this.#gate.rules.generation;
    if (verdict.action === 'block') this.#block(verdict);
    else this.#allow(verdict);
  }

  /** A new rule set is in force: a stream that it would refuse is ended, and leaves the others be (threat 33). */
  onRules(rules: RuleSet): void {
    const head = this.#head && h2ResponseFacts(this.#read as ReadH2Request, this.#head);
    if (!this.#is('over') && !this.#gate.admittedBy(rules, head)) this.fail(new FlowFailure('rules_changed'));
  }

  get checksResponse(): boolean {
    return this.#gate.checksResponse;
  }

  admits(raw: HeaderList): boolean {
    const response = this.#gate.checksResponse && h2ResponseFacts(this.#read as ReadH2Request, raw);
    const block = response === false ? undefined : this.#gate.refusalOf(response, this.#record);
    if (block === undefined) this.#head = raw;
    else this.#block(block);
    return block === undefined;
  }

  sendContinue(): void {
    this.#stream.sendHead(CONTINUE, undefined, false);
  }

  #block(block: Block): void {
    this.#end();
    this.#relay?.cancel(H2_CODE.cancel);
    this.#refuse(blockRefusal(block, this.#accept()));
    this.#record.blocked(block);
  }

  #allow(verdict: Allow): void {
    const { flow, site } = this.#connection;
    const read = this.#read as ReadH2Request;
    this.#record.verdict = verdict;
    const failure = flow.deps.audit.blocked ? new FlowFailure('audit_unavailable') : site.unreachable;
    if (failure !== undefined) {
      this.fail(failure);
      return;
    }
    this.#phase = 'connecting';
    const { host, port } = read.facts;
    findSession(this.#connection, { agentIp: flow.agent.ip, host, port, grant: verdict.grant }, this);
  }

  get awaitsSession(): boolean {
    return this.#is('connecting');
  }

  onSession(session: OriginSession): void {
    const read = this.#read as ReadH2Request;
    this.#phase = 'relaying';
    this.#record.upstream = session.address;
    const endStream = this.#requestDone && this.#gate.heldBytes === 0 && this.#trailers === undefined;
    this.#relay = new H2Relay(this.#stream, session, this, read.request.method);
    const section = this.#gate.answeredExpect ? withoutExpect(read.section) : read.section;
    this.#relay.start(section, this.#neverIndexed, endStream);
    const held = this.#gate.release();
    if (held !== undefined) this.#relay.write(held, 0, held.length, false);
    if (this.#requestDone && !endStream) this.#endRequest();
  }

  /** A request has one head, with which its stream began. */
  onHead(): void {}

  onData(bytes: Buffer, start: number, end: number, last: boolean): void {
    this.#connection.flow.touch();
    // The window is not given back: nobody wants more of this.
    if (this.#is('over')) return;
    this.#record.bodySize += end - start;
    if (last) this.#requestDone = true;
    if (this.#relay !== undefined) this.#relay.write(bytes, start, end, last);
    else this.#keep(bytes, start, end, last);
  }

  /** While its verdict waits for a body, that is bounded by the cap; while there is no session, by the stream's window. */
  #keep(bytes: Buffer, start: number, end: number, last: boolean): void {
    const { holding } = this.#gate;
    if (end > start) this.#gate.keep(bytes.subarray(start, end), this.#record.bodySize);
    if (holding) this.#stream.giveBack(end - start);
    if (last) this.#onRequestEnd();
  }

  onTrailers(list: HeaderList, neverIndexed: NeverIndexed): void {
    this.#connection.flow.touch();
    if (this.#is('over')) return;
    const problem = h2TrailerProblem(list, 'request');
    if (problem !== undefined) {
      this.fail(new FlowFailure('bad_request', { detail: problem }));
      return;
    }
    this.#trailers = { list, neverIndexed };
    this.#requestDone = true;
    this.#onRequestEnd();
  }

  #onRequestEnd(): void {
    if (this.#gate.holding) this.#gate.end(this.#record.bodySize);
    else this.#endRequest();
  }

  #endRequest(): void {
    this.#relay?.endRequest(this.#trailers?.list, this.#trailers?.neverIndexed);
  }

  onSent(bytes: number): void {
    this.#connection.flow.touch();
    this.#relay?.onDelivered(bytes);
  }

  onStatus(status: number): void {
    this.#connection.flow.touch();
    this.#record.status = status;
  }

  onBytes(up: number, down: number): void {
    this.#connection.flow.touch();
    this.#record.bytesUp += up;
    this.#record.bytesDown += down;
  }

  onResponded(): void {
    this.#end();
    this.#record.allowed();
  }

  onOriginLost(code: number, why: string): void {
    if (this.#is('over') || (code === H2_CODE.refusedStream && this.#sendAgain())) return;
    this.#fail(new FlowFailure('origin_closed', { detail: why }), code || H2_CODE.internalError);
  }

  /**
   * The origin has not looked at this request (RFC 9113 section 8.7), as happens when its GOAWAY crosses it. Without a body
   * it goes once more, on the session that is current by then.
   */
  #sendAgain(): boolean {
    // Of the rules in force by now.
    const verdict = this.#gate.allow;
    if (this.#sentAgain || verdict === undefined || this.#head !== undefined) return false;
    if (!this.#requestDone || this.#record.bodySize > 0) return false;
    this.#sentAgain = true;
    this.#relay = undefined;
    this.onVerdict(verdict);
    return true;
  }

  onReset(code: number, fault: string | undefined): void {
    if (this.#is('over')) return;
    const passedOn = code || H2_CODE.cancel;
    if (fault === undefined) this.#agentGone(passedOn, 'client_closed', `stream reset with code ${code}`);
    else this.#agentGone(passedOn, 'bad_request', fault);
  }

  onLost(): void {
    this.onAborted('client_closed');
  }

  /** Agents that have what Content-Length promised go before END_STREAM reaches them; they have been served. */
  #agentGone(code: number, why: FailureReason, detail: string | undefined): void {
    this.#end();
    this.#relay?.cancel(code);
    if (this.#relay?.delivered === true) this.#record.allowed();
    else this.#record.failed(why, detail);
  }

  fail(failure: FlowFailure): void {
    if (!this.#is('over')) this.#fail(failure, H2_CODE.internalError);
  }

  /** Answered where no answer has begun; after that only a reset, with `code`, is truthful. */
  #fail(failure: FlowFailure, code: number): void {
    this.#end();
    const { flow } = this.#connection;
    if (failure.reason === 'internal_error')
      flow.deps.log.error({ err: failure.cause, flow: flow.id }, 'exchange failed');
    this.#relay?.cancel(H2_CODE.cancel);
    if (this.#head === undefined) this.#refuse(failureRefusal(failure.reason, this.#accept()));
    else this.#stream.reset(code);
    this.#record.failed(failure.reason, failure.detail);
  }

  /** What HTTP/2 forbids is not answered (RFC 9113 section 8.1.1). */
  #malformed(detail: string): void {
    this.#end();
    this.#record.failed('bad_request', detail);
    this.#stream.resetForFault(H2_CODE.protocolError);
  }

  /** On this stream alone; where the agent still sends, it is told that this is not wanted. */
  #refuse({ status, headers, body }: Refusal): void {
    this.#record.status = status;
    const fields = headers.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text));
    const bodyless = this.#read?.facts.method === 'HEAD';
    this.#stream.sendHead([':status', String(status), ...fields], undefined, bodyless);
    if (!bodyless) this.#stream.sendData(body, 0, body.length, true);
  }

  #end(): void {
    this.#phase = 'over';
    this.#gate.drop();
    this.#connection.finished(this);
  }

  #accept(): string | undefined {
    return this.#read === undefined ? undefined : fieldValue(this.#read.request.headers, 'accept');
  }

  #is(phase: Phase): boolean {
    return this.#phase === phase;
  }
}
