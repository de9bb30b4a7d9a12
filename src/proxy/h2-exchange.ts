/**
 * One HTTP/2 stream and its counterpart at the origin (threats 2, 8, 10, 11, 29).
 *   1. the header section is checked (RFC 9113 sections 8.2, 8.3); :authority must be the connection's host
 *   2. decide; a rule with match_body has the body held back first, up to the cap
 *   3. a stream on the origin's session; bodies, interim responses and trailers pass unbuffered, resets too
 *   4. one audit record
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { fieldValue, type HeaderList } from '../domain/facts.ts';
import { asFailure, type FailureReason, FlowFailure } from '../domain/failure.ts';
import type { Allow, Block, Verdict } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import { h2TrailerProblem } from '../wire/http2-headers.ts';
import { blockRefusal, failureRefusal, type Refusal } from '../wire/refusal.ts';
import { BodyGate, type GateOwner } from './body-gate.ts';
import { ExchangeRecord } from './exchange-record.ts';
import type { H2Connection } from './h2-connection.ts';
import { H2Relay, type RelayOwner } from './h2-relay.ts';
import { forwardedH2Headers, h2ResponseFacts, type ReadH2Request, readH2Request } from './h2-request.ts';
import { type OriginSession, sessionFailure } from './h2-upstream.ts';

const NO_FRAMING = { kind: 'none' } as const;

type Phase = 'deciding' | 'connecting' | 'relaying' | 'over';

export class H2Exchange implements GateOwner, RelayOwner {
  readonly #connection: H2Connection;
  readonly #stream: ServerHttp2Stream;
  readonly #gate: BodyGate;
  readonly #record: ExchangeRecord;
  #phase: Phase = 'deciding';
  #read: ReadH2Request | undefined;
  #requestDone = false;
  #relay: H2Relay | undefined;
  #sentAgain = false;
  #trailers: HeaderList = [];
  /** Of the answer that was passed on, as it came. */
  #head: HeaderList | undefined;

  constructor(connection: H2Connection, stream: ServerHttp2Stream) {
    const { flow } = connection;
    this.#connection = connection;
    this.#stream = stream;
    const rules = flow.deps.rules();
    this.#gate = new BodyGate(flow, rules, this);
    this.#record = new ExchangeRecord(flow, { taken: 'intercept', scheme: 'https' }, rules.generation);
    this.#record.httpVersion = '2';
  }

  begin(raw: readonly string[], endStream: boolean): void {
    const stream = this.#stream;
    this.#requestDone = endStream;
    stream.on('error', () => undefined);
    stream.once('close', () => this.#onAgentClosed());
    const read = readH2Request(this.#connection.flow, this.#connection.site, raw);
    if (read instanceof FlowFailure) {
      const method = raw[raw.indexOf(':method') + 1] ?? '';
      this.#record.unread(method, raw[raw.indexOf(':authority') + 1], raw[raw.indexOf(':path') + 1] ?? '');
      this.fail(read);
      return;
    }
    this.#read = read;
    this.#record.facts(read.facts);
    this.#gate.decide(read.facts, {
      framing: NO_FRAMING,
      declaredBytes: read.facts.bodySize,
      done: endStream,
      expectsContinue: fieldValue(read.facts.headers, 'expect') !== undefined,
    });
    if (this.#is('over') || this.#requestDone) return;
    stream.on('data', (chunk: Buffer) => this.#onBody(chunk));
    stream.once('trailers', (_headers: unknown, _flags: number, raw?: string[]) => this.#onTrailers(raw ?? []));
    stream.once('end', () => this.#onRequestEnd());
  }

  onTimeout(): void {
    this.fail(new FlowFailure(this.#requestDone ? 'origin_timeout' : 'idle_timeout'));
  }

  /** The agent's connection is gone. */
  onAborted(why: FailureReason): void {
    if (this.#is('over')) return;
    this.#agentGone(constants.NGHTTP2_CANCEL, why, undefined);
  }

  onVerdict(verdict: Verdict): void {
    // The body may have been decoded after the stream was closed.
    if (this.#is('over')) return;
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
    this.#head = raw;
    if (!this.#gate.checksResponse) return true;
    const block = this.#gate.refusalOf(h2ResponseFacts(this.#read as ReadH2Request, raw), this.#record);
    if (block !== undefined) this.#block(block);
    return block === undefined;
  }

  sendContinue(): void {
    if (!this.#stream.closed) this.#stream.additionalHeaders({ ':status': 100 });
  }

  #block(block: Block): void {
    const refusal = blockRefusal(block, this.#accept());
    this.#phase = 'over';
    this.#relay?.cancel(constants.NGHTTP2_CANCEL);
    this.#record.status = refusal.status;
    this.#record.blocked(block);
    this.#refuse(refusal);
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
    const origin = { agentIp: flow.agent.ip, host: read.facts.host, port: read.facts.port, grant: verdict.grant };
    void this.#connect(origin, read);
  }

  async #connect(origin: OriginRequest, read: ReadH2Request): Promise<void> {
    try {
      const found = await this.#connection.sessionFor(origin);
      this.#record.upstream = found.address;
      this.#send(found, read);
    } catch (error) {
      this.fail(asFailure(error));
    }
  }

  #send({ session }: OriginSession, read: ReadH2Request): void {
    if (!this.#is('connecting')) return;
    if (session.destroyed || session.closed) {
      this.fail(sessionFailure(undefined));
      return;
    }
    this.#phase = 'relaying';
    const endStream = this.#requestDone && this.#gate.heldBytes === 0 && this.#trailers.length === 0;
    const headers = forwardedH2Headers(read, this.#gate.answeredExpect);
    this.#relay = new H2Relay(this.#stream, session.request(headers, { endStream, waitForTrailers: !endStream }), this);
    this.#stream.resume();
    for (const chunk of this.#gate.release()) this.#relay.write(chunk);
    if (this.#requestDone) this.#relay.endRequest(this.#trailers);
  }

  #onBody(chunk: Buffer): void {
    this.#connection.flow.touch();
    if (this.#is('over')) return;
    this.#record.bodySize += chunk.length;
    if (this.#relay !== undefined) {
      this.#relay.write(chunk);
      return;
    }
    this.#gate.keep(chunk, this.#record.bodySize);
    if (this.#is('connecting')) this.#stream.pause();
  }

  #onTrailers(raw: readonly string[]): void {
    const problem = h2TrailerProblem(raw, 'request');
    if (problem === undefined) this.#trailers = raw;
    else this.fail(new FlowFailure('bad_request', { detail: problem }));
  }

  #onRequestEnd(): void {
    // A stream that was reset, even with NO_ERROR, ends too; what it carried is not a whole request.
    if (this.#stream.closed) return;
    this.#requestDone = true;
    if (this.#gate.holding) this.#gate.end(this.#record.bodySize);
    else this.#relay?.endRequest(this.#trailers);
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
    this.#phase = 'over';
    this.#record.allowed();
    this.#connection.finished(this);
  }

  onOriginLost(code: number): void {
    if (this.#is('over')) return;
    if (code === constants.NGHTTP2_REFUSED_STREAM && !this.#stream.headersSent && this.#sendAgain()) return;
    const detail = `stream reset with code ${code}`;
    if (!this.#stream.headersSent) {
      this.fail(new FlowFailure('origin_closed', { detail }));
      return;
    }
    this.#phase = 'over';
    this.#record.failed('origin_closed', detail);
    this.#connection.finished(this);
    this.#stream.close(code === constants.NGHTTP2_NO_ERROR ? constants.NGHTTP2_INTERNAL_ERROR : code);
  }

  /**
   * The origin has not looked at this request (RFC 9113 section 8.7), as happens when its GOAWAY crosses it. Without a body
   * it goes once more, on the session that is current by then.
   */
  #sendAgain(): boolean {
    const { verdict } = this.#record;
    if (this.#sentAgain || verdict === undefined || !this.#requestDone || this.#record.bodySize > 0) return false;
    this.#sentAgain = true;
    this.#relay = undefined;
    this.#allow(verdict);
    return true;
  }

  #onAgentClosed(): void {
    this.#connection.finished(this);
    if (this.#is('over')) return;
    const code = this.#stream.rstCode;
    const passedOn = code === constants.NGHTTP2_NO_ERROR ? constants.NGHTTP2_CANCEL : code;
    this.#agentGone(passedOn, 'client_closed', `stream reset with code ${code}`);
  }

  /** Agents that have what Content-Length promised go before END_STREAM reaches them; they have been served. */
  #agentGone(code: number, why: FailureReason, detail: string | undefined): void {
    this.#phase = 'over';
    this.#relay?.cancel(code);
    if (this.#relay?.delivered === true) this.#record.allowed();
    else this.#record.failed(why, detail);
  }

  fail(failure: FlowFailure): void {
    if (this.#is('over')) return;
    this.#phase = 'over';
    const { flow } = this.#connection;
    if (failure.reason === 'internal_error')
      flow.deps.log.error({ err: failure.cause, flow: flow.id }, 'exchange failed');
    this.#relay?.cancel(constants.NGHTTP2_CANCEL);
    const refusal = failureRefusal(failure.reason, this.#accept());
    if (!this.#stream.headersSent) this.#record.status = refusal.status;
    this.#record.failed(failure.reason, failure.detail);
    if (this.#stream.headersSent) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    else this.#refuse(refusal);
  }

  /** Answers on this stream alone, and stops what the agent is still sending (RFC 9113 section 8.1). */
  #refuse(refusal: Refusal): void {
    const stream = this.#stream;
    this.#connection.finished(this);
    if (stream.closed || stream.destroyed) return;
    const fields = refusal.headers.map((text, i) => (i % 2 === 0 ? text.toLowerCase() : text));
    stream.respond([':status', String(refusal.status), ...fields] as never);
    stream.end(this.#read?.facts.method === 'HEAD' ? undefined : refusal.body, () => {
      if (!this.#requestDone) stream.close(constants.NGHTTP2_NO_ERROR);
    });
    stream.resume();
  }

  #accept(): string | undefined {
    return this.#read === undefined ? undefined : fieldValue(this.#read.request.headers, 'accept');
  }

  #is(phase: Phase): boolean {
    return this.#phase === phase;
  }
}
