/**
 * One decrypted HTTP/2 connection from an agent: a verdict for each stream; a refusal on one leaves the others be.
 * Framing is node:http2's on both sides (design decision 6); header rules are wire/http2-headers.
 */
import { constants, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { TlsFacts } from '../domain/facts.ts';
import type { FlowFailure } from '../domain/failure.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { type OriginRequest, originKey } from '../upstream/origin.ts';
import { resetConnection } from '../upstream/reset.ts';
import type { AbortReason, Flow } from './flow.ts';
import { H2Exchange } from './h2-exchange.ts';
import type { H2Origins, OriginSession } from './h2-upstream.ts';
import { failedFlow, type OutcomeFields } from './outcome.ts';

/** As nginx and most origins announce. */
const MAX_CONCURRENT_STREAMS = 128;
/** Per stream; bounds what we hold for a slow origin. */
const STREAM_WINDOW_BYTES = 256 * 1024;
/** How long an agent that was timed out may take to read so, as for HTTP/1.1. */
const LINGER_MS = 2_000;
/** Of session errors, those that say what the agent did. */
const BROKEN_CODES: ReadonlySet<string> = new Set(['ERR_HTTP2_ERROR', 'ERR_HTTP2_TOO_MANY_INVALID_FRAMES']);

export interface H2Site {
  readonly origin: OriginRequest;
  /** Of the ClientHello. */
  readonly tls: TlsFacts;
  readonly origins: H2Origins;
  /** A session that was made before the agent was answered. */
  readonly session: OriginSession | undefined;
  readonly unreachable: FlowFailure | undefined;
  /** What every audit record of this connection says, beside what a request adds. */
  readonly fields: OutcomeFields;
}

export class H2Connection {
  readonly flow: Flow;
  readonly site: H2Site;
  readonly #stream: TLSSocket;
  readonly #permittedBy: (rules: RuleSet) => boolean;
  readonly #sessions = new Map<string, Promise<OriginSession>>();
  readonly #exchanges = new Set<H2Exchange>();
  /** A request has come, be it recorded or not. */
  #asked = false;
  /** The agent broke the protocol: framing, limits, floods. */
  #broken: Error | undefined;
  #over = false;

  constructor(flow: Flow, stream: TLSSocket, site: H2Site, permittedBy: (rules: RuleSet) => boolean) {
    this.flow = flow;
    this.site = site;
    this.#stream = stream;
    this.#permittedBy = permittedBy;
  }

  start(): void {
    const { flow, site } = this;
    if (site.session !== undefined) void this.#keep(site.origin, Promise.resolve(site.session));
    // HTTP/2 knows no half-closed connection: an agent that sends its FIN is gone.
    this.#stream.allowHalfOpen = false;
    const session = performServerHandshake(this.#stream, {
      settings: {
        maxConcurrentStreams: MAX_CONCURRENT_STREAMS,
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxHeaderListSize: flow.deps.options.maxHeadBytes,
        enableConnectProtocol: site.origins.offersExtendedConnect(site.origin) === true,
      },
      maxHeaderListPairs: flow.deps.options.maxHeaders,
      // Repeated fields of a response go as they came.
      strictSingleValueFields: false,
    });
    flow.handler = {
      onTimeout: () => this.#close(session),
      onDrain: () => session.close(),
      permittedBy: (rules) => this.#underRules(rules),
      abort: (why) => this.abort(why),
    };
    flow.allowIdle(flow.deps.options.idleTimeoutMs);
    session.on('stream', (stream: ServerHttp2Stream, _headers, flags: number, raw?: readonly string[]) =>
      this.#serve(stream, flags, raw ?? []),
    );
    session.on('error', (error: NodeJS.ErrnoException) => {
      if (BROKEN_CODES.has(error.code ?? '')) this.#broken = error;
    });
    session.once('close', () => this.#onClose());
    // A client may close right after the handshake, before the session has listeners on the socket.
    if (this.#stream.destroyed) this.#onClose();
    else if (flow.draining) session.close();
  }

  /** The session for this origin under this grant: at hand, or made now. */
  sessionFor(origin: OriginRequest): Promise<OriginSession> {
    return (
      this.#sessions.get(originKey(origin)) ??
      this.#keep(origin, this.site.origins.dial(this.flow.deps.upstream, origin))
    );
  }

  finished(exchange: H2Exchange): void {
    this.#exchanges.delete(exchange);
  }

  abort(why: AbortReason): void {
    for (const exchange of this.#exchanges) exchange.onAborted(why);
    this.#endSessions();
    resetConnection(this.flow.raw, this.#stream);
  }

  /** A new rule set is in force; the connection may live on although some of its streams do not. */
  #underRules(rules: RuleSet): boolean {
    if (!this.#permittedBy(rules)) return false;
    for (const exchange of this.#exchanges) exchange.onRules(rules);
    return true;
  }

  #serve(stream: ServerHttp2Stream, flags: number, raw: readonly string[]): void {
    this.#asked = true;
    this.flow.touch();
    const exchange = new H2Exchange(this, stream);
    this.#exchanges.add(exchange);
    exchange.begin(raw, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0);
  }

  #keep(origin: OriginRequest, made: Promise<OriginSession>): Promise<OriginSession> {
    const key = originKey(origin);
    this.#sessions.set(key, made);
    const forget = (): void => {
      if (this.#sessions.get(key) === made) this.#sessions.delete(key);
    };
    made.then(({ session }) => {
      if (session.destroyed || session.closed) forget();
      session.once('goaway', forget);
      session.once('close', forget);
    }, forget);
    return made;
  }

  /** No byte for the idle timeout, or a first stream that never came: GOAWAY, once the agent has read why. */
  #close(session: ServerHttp2Session): void {
    for (const exchange of this.#exchanges) exchange.onTimeout();
    session.close();
    if (session.destroyed || this.flow.handler === undefined) return;
    this.flow.handler = { ...this.flow.handler, onTimeout: () => session.destroy() };
    this.flow.expectWithin(LINGER_MS);
  }

  #onClose(): void {
    for (const exchange of this.#exchanges) exchange.onAborted('client_closed');
    this.#exchanges.clear();
    this.#endSessions();
    this.#stream.destroy();
    if (this.#over || (this.#asked && this.#broken === undefined)) return;
    this.#over = true;
    const failure =
      this.#broken === undefined
        ? ({ reason: 'client_closed', detail: 'closed_before_request' } as const)
        : ({ reason: 'bad_request', detail: this.#broken.message } as const);
    failedFlow(this.flow, failure, { ...this.site.fields, http_version: '2' });
  }

  #endSessions(): void {
    for (const made of this.#sessions.values()) made.then(({ session }) => session.destroy()).catch(() => undefined);
    this.#sessions.clear();
  }
}
