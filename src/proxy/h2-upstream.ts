/**
 * HTTP/2 sessions to origins: made over a verified connection, one per agent connection and origin, never shared
 * (threat 38). Also remembers which origins take extended CONNECT, so that an agent is offered it only where it works.
 */
import type { Clock } from '../domain/clock.ts';
import type { HeaderList } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import { ExpiringMap } from '../upstream/expiring-map.ts';
import { type OriginRequest, originKey } from '../upstream/origin.ts';
import { lateHandshakeFailure } from '../upstream/tls-failure.ts';
import type { Upstream, UpstreamTls } from '../upstream/upstream.ts';
import type { Parsed } from '../wire/authority.ts';
import { type H2ResponseHead, readH2ResponseHead } from '../wire/http2-headers.ts';
import { SETTING } from '../wire/http2-settings.ts';
import { MAX_STREAMS } from './h2-receiver.ts';
import type { RouteOwner } from './h2-route.ts';
import { H2Session, type SessionOwner } from './h2-session.ts';
import type { NeverIndexed, StreamUser } from './h2-stream.ts';

/** An origin's SETTINGS come with its side of the handshake; one that keeps silent this long does not speak h2. */
const SETTINGS_TIMEOUT_MS = 10_000;
/** As long as what the origin speaks is remembered (upstream). */
const KNOWN_SETTINGS_TTL_MS = 10 * 60_000;
const MAX_KNOWN_ORIGINS = 8_192;
/** Of a response: the default limits on a request's head (--max-head-bytes, --max-headers). */
const LIMITS = { maxListBytes: 65_536, maxFields: 256 };

/** The end of an agent's connection that an origin's session is for. */
export interface SessionUser {
  /** No request may go there any more. */
  onOriginLeaving(session: OriginSession): void;
  onOriginClosed(session: OriginSession): void;
  /** It does not read what it is sent; or does by now. */
  onOriginClogged(session: OriginSession, clogged: boolean): void;
}

/** A request for which there is no room yet. */
interface Waiting {
  readonly owner: Pick<RouteOwner, 'awaitsSession'>;
  readonly onRoom: () => void;
}

export class OriginSession implements SessionOwner {
  readonly address: string;
  readonly #session: H2Session;
  readonly #ready = Promise.withResolvers<void>();
  /** Requests for which there is no room, in order. */
  #waiting: Waiting[] = [];
  /** The head that was read last, since many answers have the same one. */
  #list: HeaderList | undefined;
  #head: Parsed<H2ResponseHead> | undefined;
  #user: SessionUser | undefined;
  #broken: string | undefined;
  #closed = false;

  constructor(tls: UpstreamTls, clock: Clock) {
    this.address = tls.address;
    this.#ready.promise.catch(() => undefined);
    this.#session = new H2Session('client', tls.socket, { ...LIMITS, now: () => clock.now() }, this);
    this.#session.start([
      [SETTING.enablePush, 0],
      [SETTING.maxListBytes, LIMITS.maxListBytes],
    ]);
  }

  /** Resolves once the origin's SETTINGS are here. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  get usable(): boolean {
    return this.#session.usable;
  }

  get hasRoom(): boolean {
    return this.#session.hasRoom;
  }

  get takesExtendedConnect(): boolean {
    return this.#session.peer.connectProtocol;
  }

  /** Who is told of it from now on. */
  serve(user: SessionUser): void {
    this.#user = user;
    if (!this.usable) user.onOriginLeaving(this);
    if (this.#closed) user.onOriginClosed(this);
  }

  /** Only where `usable` and `hasRoom`. */
  request(user: StreamUser, section: HeaderList, neverIndexed: NeverIndexed, endStream: boolean) {
    return this.#session.request(user, section, neverIndexed, endStream);
  }

  /** Calls back when there may be room, or the session has become useless. */
  awaitRoom(owner: Waiting['owner'], onRoom: () => void): void {
    // An agent may reset what waits and ask again, for ever.
    if (this.#waiting.length >= MAX_STREAMS)
      this.#waiting = this.#waiting.filter((waiting) => waiting.owner.awaitsSession);
    this.#waiting.push({ owner, onRoom });
  }

  readHead(list: HeaderList): Parsed<H2ResponseHead> {
    if (this.#head === undefined || this.#list !== list) {
      this.#list = list;
      this.#head = readH2ResponseHead(list);
    }
    return this.#head;
  }

  pause(paused: boolean): void {
    this.#session.pause(paused);
  }

  destroy(): void {
    this.#session.destroy();
  }

  /** Why it did not become ready. */
  giveUp(failure: FlowFailure): void {
    this.#ready.reject(failure);
    this.destroy();
  }

  onStream(): void {}

  onReady(): void {
    this.#ready.resolve();
  }

  onRoom(): void {
    // Who was waiting may not want to go any more, and then leaves its place to the next.
    while (this.#waiting.length > 0 && this.hasRoom) this.#waiting.shift()?.onRoom();
  }

  onLeaving(): void {
    this.#user?.onOriginLeaving(this);
    for (const { onRoom } of this.#waiting.splice(0)) onRoom();
  }

  onClogged(clogged: boolean): void {
    this.#user?.onOriginClogged(this, clogged);
  }

  onBroken(detail: string): void {
    this.#broken = detail;
    this.onLeaving();
  }

  onClosed(error: Error | undefined): void {
    this.#ready.reject(sessionFailure(error, this.#broken));
    this.onLeaving();
    this.#closed = true;
    this.#user?.onOriginClosed(this);
  }
}

export class H2Origins {
  readonly #extendedConnect: ExpiringMap<boolean>;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#extendedConnect = new ExpiringMap(MAX_KNOWN_ORIGINS, clock);
  }

  /** RFC 8441 section 3: whether the origin said so when last asked; undefined when it was not. */
  offersExtendedConnect(origin: OriginRequest): boolean | undefined {
    return this.#extendedConnect.get(originKey(origin));
  }

  /** Rejects as upstream.dialTls does, and with `alpn_mismatch` where the origin no longer speaks h2. */
  async dial(upstream: Upstream, origin: OriginRequest): Promise<OriginSession> {
    return this.open(origin, await upstream.dialTls(origin, ['h2']));
  }

  /** A session over `tls`, once the origin's SETTINGS are here. */
  async open(origin: OriginRequest, tls: UpstreamTls): Promise<OriginSession> {
    const session = new OriginSession(tls, this.#clock);
    const timer = setTimeout(
      () => session.giveUp(new FlowFailure('origin_timeout', { detail: 'no SETTINGS' })),
      SETTINGS_TIMEOUT_MS,
    );
    try {
      await session.ready;
    } finally {
      clearTimeout(timer);
    }
    this.#extendedConnect.set(originKey(origin), session.takesExtendedConnect, KNOWN_SETTINGS_TTL_MS);
    return session;
  }
}

/** Why a session ended before it served: the origin may have refused us only after the handshake. */
function sessionFailure(error: Error | undefined, broken: string | undefined): FlowFailure {
  return (
    lateHandshakeFailure(error) ??
    new FlowFailure('origin_closed', { detail: broken ?? error?.message ?? 'session closed', cause: error })
  );
}
