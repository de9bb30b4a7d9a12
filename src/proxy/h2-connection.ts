/**
 * One decrypted HTTP/2 connection from an agent: a verdict for each stream; a refusal on one leaves the others be.
 * Frames are H2Session's on both sides (design decision 41); header rules are wire/http2-headers.
 */
import type { TLSSocket } from 'node:tls';
import type { HeaderList, TlsFacts } from '../domain/facts.ts';
import type { FlowFailure } from '../domain/failure.ts';
import type { Grant } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { type OriginRequest, originKey } from '../upstream/origin.ts';
import { resetConnection } from '../upstream/reset.ts';
import { SETTING } from '../wire/http2-settings.ts';
import type { AbortReason, Flow } from './flow.ts';
import { H2Exchange } from './h2-exchange.ts';
import { MAX_STREAMS } from './h2-receiver.ts';
import { type ReadH2Request, readH2Request } from './h2-request.ts';
import { H2Session, type SessionOwner } from './h2-session.ts';
import type { H2Stream, NeverIndexed } from './h2-stream.ts';
import type { H2Origins, OriginSession, SessionUser } from './h2-upstream.ts';
import { failedFlow, type OutcomeFields } from './outcome.ts';

/** How long an agent that was timed out, or broke the protocol, may take to read so, as for HTTP/1.1. */
const LINGER_MS = 2_000;

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

export class H2Connection implements SessionOwner, SessionUser {
  readonly flow: Flow;
  readonly site: H2Site;
  /** The agent was offered extended CONNECT. */
  readonly offersExtendedConnect: boolean;
  readonly #stream: TLSSocket;
  readonly #session: H2Session;
  readonly #permittedBy: (rules: RuleSet) => boolean;
  /** By origin and what the rule grants: those that are being made, and those that are there. */
  readonly #sessions = new Map<string, Promise<OriginSession>>();
  readonly #ready = new Map<string, OriginSession>();
  /** Those that are there, and those that take no more requests and have some under way. */
  readonly #open = new Set<OriginSession>();
  /** These again by the grant itself, of the rule set in force. */
  readonly #atHand = new Map<Grant, OriginSession>();
  readonly #exchanges = new Set<H2Exchange>();
  /** Sessions whose peer does not read what it makes us say. */
  readonly #clogged = new Set<OriginSession | H2Connection>();
  /** The list that was read last, since many requests have the same one. */
  #list: HeaderList | undefined;
  #read: ReadH2Request | FlowFailure | undefined;
  /** A request has come, be it recorded or not. */
  #asked = false;
  /** The agent broke the protocol: framing, limits, floods. */
  #broken: string | undefined;
  #over = false;

  constructor(flow: Flow, stream: TLSSocket, site: H2Site, permittedBy: (rules: RuleSet) => boolean) {
    this.flow = flow;
    this.site = site;
    this.offersExtendedConnect = site.origins.offersExtendedConnect(site.origin) === true;
    this.#stream = stream;
    this.#permittedBy = permittedBy;
    const { clock, options } = flow.deps;
    const limits = { maxListBytes: options.maxHeadBytes, maxFields: options.maxHeaders, now: () => clock.now() };
    this.#session = new H2Session('server', stream, limits, this);
  }

  start(): void {
    const { flow, site } = this;
    if (site.session !== undefined) void this.#keep(originKey(site.origin), Promise.resolve(site.session));
    flow.handler = {
      onTimeout: () => this.#close(),
      onDrain: () => this.#session.close(),
      permittedBy: (rules) => this.#underRules(rules),
      abort: (why) => this.abort(why),
    };
    flow.allowIdle(flow.deps.options.idleTimeoutMs);
    this.#session.start([
      [SETTING.maxStreams, MAX_STREAMS],
      [SETTING.maxListBytes, flow.deps.options.maxHeadBytes],
      ...(this.offersExtendedConnect ? [[SETTING.connectProtocol, 1] as const] : []),
    ]);
    if (flow.draining) this.#session.close();
  }

  /** The session for this origin where it is at hand. */
  sessionAtHand({ grant }: OriginRequest): OriginSession | undefined {
    const session = this.#atHand.get(grant);
    return session?.usable === true ? session : undefined;
  }

  /** The session for this origin under this grant: one that is there, or made now. */
  async sessionFor(origin: OriginRequest): Promise<OriginSession> {
    const key = originKey(origin);
    const made = this.#sessions.get(key) ?? this.#keep(key, this.site.origins.dial(this.flow.deps.upstream, origin));
    const session = await made;
    if (session.usable && this.#ready.has(key)) this.#atHand.set(origin.grant, session);
    return session;
  }

  read(list: HeaderList): ReadH2Request | FlowFailure {
    if (this.#read === undefined || this.#list !== list) {
      this.#list = list;
      this.#read = readH2Request(this.flow, this.site, list);
    }
    return this.#read;
  }

  finished(exchange: H2Exchange): void {
    this.#exchanges.delete(exchange);
  }

  abort(why: AbortReason): void {
    for (const exchange of this.#exchanges) exchange.onAborted(why);
    this.#endSessions();
    resetConnection(this.flow.raw, this.#stream);
  }

  onStream(stream: H2Stream, list: HeaderList | undefined, neverIndexed: NeverIndexed, endStream: boolean): void {
    this.#asked = true;
    this.flow.touch();
    const exchange = new H2Exchange(this, stream);
    this.#exchanges.add(exchange);
    exchange.begin(list, neverIndexed, endStream);
  }

  onReady(): void {}

  onRoom(): void {}

  /** The agent opens no more streams. */
  onLeaving(): void {}

  onOriginLeaving(session: OriginSession): void {
    for (const [grant, kept] of this.#atHand) if (kept === session) this.#atHand.delete(grant);
    for (const [key, kept] of this.#ready) if (kept === session) this.#drop(key);
  }

  onOriginClosed(session: OriginSession): void {
    this.#open.delete(session);
    this.onOriginClogged(session, false);
  }

  onClogged(clogged: boolean): void {
    this.#noteClogged(this, clogged);
  }

  onOriginClogged(session: OriginSession, clogged: boolean): void {
    this.#noteClogged(session, clogged);
  }

  onBroken(detail: string): void {
    this.#broken = detail;
    this.#linger();
  }

  onClosed(): void {
    for (const exchange of this.#exchanges) exchange.onAborted('client_closed');
    this.#exchanges.clear();
    this.#endSessions();
    if (this.#over || (this.#asked && this.#broken === undefined)) return;
    this.#over = true;
    const failure =
      this.#broken === undefined
        ? ({ reason: 'client_closed', detail: 'closed_before_request' } as const)
        : ({ reason: 'bad_request', detail: this.#broken } as const);
    failedFlow(this.flow, failure, { ...this.site.fields, http_version: '2' });
  }

  /** A new rule set is in force; the connection may live on although some of its streams do not. */
  #underRules(rules: RuleSet): boolean {
    if (!this.#permittedBy(rules)) return false;
    this.#atHand.clear();
    for (const exchange of this.#exchanges) exchange.onRules(rules);
    return true;
  }

  #keep(key: string, made: Promise<OriginSession>): Promise<OriginSession> {
    this.#sessions.set(key, made);
    made.then(
      (session) => {
        this.#ready.set(key, session);
        this.#open.add(session);
        session.pause(this.#clogged.size > 0);
        session.serve(this);
      },
      () => this.#drop(key),
    );
    return made;
  }

  #drop(key: string): void {
    this.#sessions.delete(key);
    this.#ready.delete(key);
  }

  /** While one of them does not read what it makes us say, none is read: whatever came would add to it. */
  #noteClogged(who: OriginSession | H2Connection, clogged: boolean): void {
    if (clogged) this.#clogged.add(who);
    else if (!this.#clogged.delete(who)) return;
    const paused = this.#clogged.size > 0;
    this.#session.pause(paused);
    for (const session of this.#open) session.pause(paused);
  }

  /** No byte for the idle timeout, or a first stream that never came: GOAWAY, once the agent has read why. */
  #close(): void {
    for (const exchange of this.#exchanges) exchange.onTimeout();
    this.#session.close();
    this.#linger();
  }

  #linger(): void {
    if (this.#stream.destroyed || this.flow.handler === undefined) return;
    this.flow.handler = { ...this.flow.handler, onTimeout: () => this.#stream.destroy() };
    this.flow.expectWithin(LINGER_MS);
  }

  #endSessions(): void {
    for (const made of this.#sessions.values()) made.then((session) => session.destroy()).catch(() => undefined);
    this.#sessions.clear();
    this.#ready.clear();
    this.#atHand.clear();
  }
}
