/**
 * HTTP/2 sessions to origins: made over a verified connection, one per agent connection and origin, never shared
 * (threat 38). Also remembers which origins take extended CONNECT, so that an agent is offered it only where it works.
 */
import { type ClientHttp2Session, connect } from 'node:http2';
import type { Clock } from '../domain/clock.ts';
import { FlowFailure } from '../domain/failure.ts';
import { hostInUrl } from '../domain/hostname.ts';
import { ExpiringMap } from '../upstream/expiring-map.ts';
import { type OriginRequest, originKey } from '../upstream/origin.ts';
import { lateHandshakeFailure } from '../upstream/tls-failure.ts';
import type { Upstream, UpstreamTls } from '../upstream/upstream.ts';

/** An origin's SETTINGS come with its side of the handshake; one that keeps silent this long does not speak h2. */
const SETTINGS_TIMEOUT_MS = 10_000;
/** As long as what the origin speaks is remembered (upstream). */
const KNOWN_SETTINGS_TTL_MS = 10 * 60_000;
const MAX_KNOWN_ORIGINS = 8_192;
/** Per stream; bounds what we hold for a slow agent. */
const STREAM_WINDOW_BYTES = 256 * 1024;
/** Of the connection; node:http2 gives it back at once, so it bounds no memory, and must not bound the speed. */
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
const SESSION_OPTIONS = {
  settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
  /** Of a response; the default limit on a request's fields (--max-headers). */
  maxHeaderListPairs: 256,
  /** Repeated fields go as they came: what is odd in them is for the origin to judge. */
  strictSingleValueFields: false,
};

export interface OriginSession {
  readonly session: ClientHttp2Session;
  readonly address: string;
}

export class H2Origins {
  readonly #extendedConnect: ExpiringMap<boolean>;

  constructor(clock: Clock) {
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
    const session = connect(`https://${hostInUrl(origin.host)}:${origin.port}`, {
      ...SESSION_OPTIONS,
      createConnection: () => tls.socket,
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new FlowFailure('origin_timeout', { detail: 'no SETTINGS' })),
      SETTINGS_TIMEOUT_MS,
    );
    let lost: Error | undefined;
    session.on('error', (error: Error) => {
      lost = error;
    });
    // An alert, such as may come in the place of SETTINGS, ends neither the socket nor the session by itself.
    tls.socket.once('error', (error: Error) => tls.socket.destroy(error));
    session.once('close', () => reject(sessionFailure(lost ?? tls.socket.errored ?? undefined)));
    session.once('remoteSettings', () => resolve());
    try {
      await promise;
    } catch (error) {
      session.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    this.#extendedConnect.set(
      originKey(origin),
      session.remoteSettings?.enableConnectProtocol === true,
      KNOWN_SETTINGS_TTL_MS,
    );
    return { session, address: tls.address };
  }
}

/** Why a session ended before it served: the origin may have refused us only after the handshake. */
export function sessionFailure(error: Error | undefined): FlowFailure {
  return (
    lateHandshakeFailure(error) ??
    new FlowFailure('origin_closed', { detail: error?.message ?? 'session closed', cause: error })
  );
}
