/**
 * The way out: resolve, judge, pin, dial, verify, and keep for the next exchange (threats 3, 4, 18, 24, 34, 38).
 *   1. resolve: all addresses of the name, those left that may be dialled
 *   2. dial: TCP to one of them
 *   3. dialTls: the origin verified, its protocol learnt, its session kept for the next handshake
 *   4. take / release: connections that rest between exchanges
 * Does not decide what an agent may reach: the verdict's grant is given to it.
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../domain/clock.ts';
import { FlowFailure } from '../domain/failure.ts';
import { Histogram } from '../domain/histogram.ts';
import { AddressGuard, type AddressGuardOptions, admitAddresses } from './address-guard.ts';
import { type CertificateAnswer, CertificateProbe, type CertificateQuestion } from './certificate-probe.ts';
import { type DialOptions, dialTcp } from './dial.ts';
import { ExpiringMap } from './expiring-map.ts';
import { connectionKey, type OriginRequest, originKey } from './origin.ts';
import { IdlePool, type PooledConnection } from './pool.ts';
import { NameResolver } from './resolve.ts';
import { chosenProtocol, type HttpProtocol, handshake } from './tls.ts';
import { TrustStore } from './trust.ts';

export interface UpstreamOptions extends AddressGuardOptions {
  /** `address:port` each; empty for the system's way. */
  readonly dnsServers: readonly string[];
  /** PEM texts added to the system's roots (--upstream-ca). */
  readonly upstreamCaPem: readonly string[];
  /** For the TCP connection, and again for the TLS handshake. */
  readonly connectTimeoutMs: number;
  /** How long a connection may rest; nginx and Apache behind load balancers close at 60 to 75 s, so stay below that. */
  readonly idleTimeoutMs: number;
  /** Per agent and origin; 0 keeps none. */
  readonly maxIdlePerOrigin: number;
  readonly clock: Clock;
}

/** A plain connection, for HTTP without TLS. */
export interface UpstreamTcp extends PooledConnection {
  /** The pinned address that answered. */
  readonly address: string;
}

/** A verified connection. */
export interface UpstreamTls extends PooledConnection {
  readonly socket: TLSSocket;
  readonly alpn: HttpProtocol;
  readonly address: string;
}

/** What it took, and how often a connection was at hand. */
class UpstreamCounts {
  readonly resolve = new Histogram();
  readonly connect = new Histogram();
  readonly handshake = new Histogram();
  reused = 0;
  missed = 0;
}

/** As long as resolv.conf(5) gives one server by default. */
const LOOKUP_TIMEOUT_MS = 5_000;
/** All origins of all agents together, in one worker. */
const MAX_IDLE_CONNECTIONS = 1_024;
/** An origin that changes what it speaks is asked afresh after this long. */
const KNOWN_ALPN_TTL_MS = 10 * 60_000;
const MAX_KNOWN_ORIGINS = 8_192;
/** A resumed session skips the certificate, so this bounds how long an expired one is taken. RFC 8446 allows 7 days. */
const SESSION_TTL_MS = 3_600_000;
/** A session is some 2 to 5 KiB, since it holds the origin's chain. */
const MAX_SESSIONS = 2_048;

export class Upstream {
  readonly counts = new UpstreamCounts();
  readonly #options: UpstreamOptions;
  readonly #guard: AddressGuard;
  readonly #names: NameResolver;
  readonly #trust: TrustStore;
  readonly #knownAlpn: ExpiringMap<HttpProtocol>;
  readonly #sessions: ExpiringMap<Buffer>;
  readonly #probe: CertificateProbe;
  readonly #idleTls: IdlePool<UpstreamTls>;
  readonly #idleTcp: IdlePool<UpstreamTcp>;

  /** Reads the system's roots, which takes some 10 ms. */
  constructor(options: UpstreamOptions) {
    const { clock } = options;
    const limits = {
      maxIdlePerKey: options.maxIdlePerOrigin,
      maxIdle: MAX_IDLE_CONNECTIONS,
      idleTimeoutMs: options.idleTimeoutMs,
    };
    this.#options = options;
    this.#guard = new AddressGuard(options);
    this.#names = new NameResolver({ ...options, timeoutMs: LOOKUP_TIMEOUT_MS });
    this.#trust = new TrustStore(options.upstreamCaPem, clock);
    this.#knownAlpn = new ExpiringMap(MAX_KNOWN_ORIGINS, clock);
    this.#sessions = new ExpiringMap(MAX_SESSIONS, clock);
    this.#probe = new CertificateProbe({
      dial: (origin, address) => this.dial(origin, [address]),
      trust: this.#trust,
      timeoutMs: options.connectTimeoutMs,
      clock,
    });
    this.#idleTls = new IdlePool(limits, clock);
    this.#idleTcp = new IdlePool(limits, clock);
  }

  /**
   * The addresses of the origin that its grant lets us dial, canonical, in the order of the answer; at least one.
   * Throws FlowFailure `dns_failed`, `dns_timeout`, or `address_refused` with the class and address as its detail.
   */
  async resolve(origin: OriginRequest): Promise<readonly string[]> {
    const startedAt = performance.now();
    const found = await this.#names.resolve(origin.host);
    this.counts.resolve.since(startedAt);
    return this.#admit(found, origin);
  }

  /**
   * A raw connection, for tunnels. `addresses` (from an earlier resolve of this flow) saves resolving twice; they are
   * judged again all the same. Throws as resolve does, and `connect_failed` or `connect_timeout`.
   */
  async dial(origin: OriginRequest, addresses?: readonly string[], options: DialOptions = {}): Promise<Socket> {
    const admitted = addresses === undefined ? await this.resolve(origin) : this.#admit(addresses, origin);
    const { connectTimeoutMs } = this.#options;
    const startedAt = performance.now();
    const socket = await dialTcp({ addresses: admitted, port: origin.port, timeoutMs: connectTimeoutMs }, options);
    this.counts.connect.since(startedAt);
    return socket;
  }

  /** Throws `address_refused` where this grant does not let us dial an address that another one did. */
  readmit(address: string, origin: OriginRequest): void {
    this.#admit([address], origin);
  }

  /** A raw connection that may be released to the pool, for HTTP without TLS. Throws as dial does. */
  async dialPlain(origin: OriginRequest, options: Pick<DialOptions, 'signal'> = {}): Promise<UpstreamTcp> {
    const socket = await this.dial(origin, undefined, options);
    return { socket, raw: socket, address: addressOf(socket), reused: false, key: connectionKey(origin) };
  }

  /**
   * A connection whose origin is verified for `origin.host`. `offer` are the protocols that the client could take.
   * Throws as dial does, and `upstream_handshake_failed` (detail: TlsFailureDetail) or `alpn_mismatch`.
   */
  async dialTls(
    origin: OriginRequest,
    offer: readonly HttpProtocol[],
    options: Pick<DialOptions, 'signal'> = {},
  ): Promise<UpstreamTls> {
    const raw = await this.dial(origin, undefined, options);
    const address = addressOf(raw);
    const key = connectionKey(origin);
    const startedAt = performance.now();
    const socket = await this.#handshake(raw, origin, key, offer, options);
    this.counts.handshake.since(startedAt);
    const alpn = chosenProtocol(socket);
    // Without h2 on offer, an answer of http/1.1 says nothing about what the origin would rather speak.
    if (offer.includes('h2')) this.#knownAlpn.set(originKey(origin), alpn, KNOWN_ALPN_TTL_MS);
    if (offer.includes(alpn)) return { socket, raw, alpn, address, reused: false, key };
    socket.destroy();
    throw new FlowFailure('alpn_mismatch', { detail: `the origin speaks ${alpn}` });
  }

  /**
   * The certificate of the origin at the address of a tunnel, verified by a handshake of our own; see CertificateProbe.
   * Throws as dial does, `upstream_handshake_failed` where no certificate could be had, and `certificate_changed`.
   */
  certificateOf(question: CertificateQuestion): Promise<CertificateAnswer> {
    return this.#probe.ask(question);
  }

  /**
   * What the origin chose within the last minutes, in a verified handshake, when h2 was on offer; undefined where that
   * is not known. An origin known for h2 may speak HTTP/1.1 too.
   */
  knownAlpn(origin: OriginRequest): HttpProtocol | undefined {
    return this.#knownAlpn.get(originKey(origin));
  }

  /** A resting verified connection of this agent to this origin, under a grant that allows and trusts the same. */
  take(origin: OriginRequest): UpstreamTls | undefined {
    return this.#looked(this.#idleTls.take(connectionKey(origin)));
  }

  /** What a verified connection speaks that rests and could be taken, for who wants no connection yet. */
  restingAlpn(origin: OriginRequest): HttpProtocol | undefined {
    return this.#idleTls.find(connectionKey(origin))?.alpn;
  }

  /** Whether no connection rests that could be taken in the place of this one. */
  lacks(connection: UpstreamTls): boolean {
    return this.#idleTls.find(connection.key) === undefined;
  }

  /** Gives a connection back after a complete HTTP/1.1 exchange; the caller's listeners must be off the socket. */
  release(connection: UpstreamTls): void {
    this.#idleTls.release(connection);
  }

  /** As take, lacks and release, for plain HTTP. */
  takePlain(origin: OriginRequest): UpstreamTcp | undefined {
    return this.#looked(this.#idleTcp.take(connectionKey(origin)));
  }

  lacksPlain(connection: UpstreamTcp): boolean {
    return this.#idleTcp.find(connection.key) === undefined;
  }

  releasePlain(connection: UpstreamTcp): void {
    this.#idleTcp.release(connection);
  }

  /** Connections that rest. */
  get idle(): number {
    return this.#idleTls.size + this.#idleTcp.size;
  }

  /** Closes what rests; connections in use or being dialled are for their owners to end. */
  close(): void {
    this.#idleTls.close();
    this.#idleTcp.close();
  }

  #looked<T>(found: T | undefined): T | undefined {
    if (found === undefined) this.counts.missed++;
    else this.counts.reused++;
    return found;
  }

  #admit(found: readonly string[], origin: OriginRequest): readonly string[] {
    const { admitted, refusals } = admitAddresses(this.#guard, found, origin.port, origin.grant);
    if (admitted.length === 0) throw new FlowFailure('address_refused', { detail: refusals.join(', ') });
    return admitted;
  }

  async #handshake(
    raw: Socket,
    origin: OriginRequest,
    key: string,
    offer: readonly HttpProtocol[],
    options: Pick<DialOptions, 'signal'>,
  ): Promise<TLSSocket> {
    try {
      return await handshake(raw, {
        host: origin.host,
        context: this.#trust.contextFor(origin.grant.trustAnchors),
        offer,
        timeoutMs: this.#options.connectTimeoutMs,
        session: this.#sessions.get(key),
        onSession: (session) => this.#sessions.set(key, session, SESSION_TTL_MS),
        signal: options.signal,
      });
    } catch (error) {
      raw.destroy();
      // What was learnt may be what fails now; the next flow has to find out before its client is answered.
      this.#knownAlpn.delete(originKey(origin));
      this.#sessions.delete(key);
      throw error;
    }
  }
}

function addressOf(socket: Socket): string {
  return socket.remoteAddress ?? '';
}
