/**
 * The certificate of an origin, verified by a handshake of our own with the very address that a tunnel goes to, under the
 * name that its client asked for (threats 3, 34). OpenSSL verifies chain, dates and purpose, Node the name, staple.ts what
 * was stapled. No application byte is sent. What was seen is kept for a minute, and asked for once by all who wait.
 */
import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { checkServerIdentity, connect, type SecureContext, type TLSSocket } from 'node:tls';
import type { Clock } from '../domain/clock.ts';
import type { CertificateFacts } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import { type Host, isAddress } from '../domain/hostname.ts';
import type { TrustSet } from '../domain/verdict.ts';
import { readCertificate } from '../wire/certificate.ts';
import { certificateFacts, fingerprintOf, type SeenFacts } from './certificate-facts.ts';
import { ExpiringMap } from './expiring-map.ts';
import { anchorsFingerprint, type OriginRequest } from './origin.ts';
import { stapleProblem } from './staple.ts';
import { type TlsFailureDetail, tlsFailure, tlsTimeout } from './tls-failure.ts';
import type { OldHandshake, TrustStore } from './trust.ts';

export interface CertificateQuestion {
  /** Whose grant the address was dialled by. */
  readonly origin: OriginRequest;
  /** The one address that the tunnel is connected to. */
  readonly address: string;
  /** What the client asked for: its SNI, or the host where there is none. */
  readonly name: Host;
  readonly trustSets: readonly TrustSet[];
  /** The certificate that the server showed the client in TLS 1.2, DER; undefined where that was encrypted. */
  readonly shown: Buffer | undefined;
}

export interface CertificateAnswer {
  readonly facts: CertificateFacts;
  /** Why it is valid under none of the trust sets; undefined where it is under one. */
  readonly problem: TlsFailureDetail | undefined;
}

interface Seen {
  readonly facts: SeenFacts;
  readonly problem: TlsFailureDetail | undefined;
}

interface Means {
  /** TCP to that address, if the grant admits it. */
  readonly dial: (origin: OriginRequest, address: string) => Promise<Socket>;
  readonly trust: TrustStore;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** In TLS 1.3 a certificate that changes goes unnoticed for this long at most; a client opens a few connections at once. */
const SEEN_TTL_MS = 60_000;
const MAX_SEEN = 4_096;
/** A balancer may send the second handshake to another server with another certificate. */
const MAX_TRIES = 2;
/** What is wrong with the certificate, and not with the connection. */
const CERTIFICATE_PROBLEMS: ReadonlySet<string> = new Set<TlsFailureDetail>([
  'expired',
  'not_yet_valid',
  'wrong_name',
  'unknown_ca',
  'self_signed',
  'revoked',
  'invalid_certificate',
]);

export class CertificateProbe {
  readonly #means: Means;
  readonly #seen: ExpiringMap<Seen>;
  readonly #underWay = new Map<string, Promise<Seen>>();

  constructor(means: Means) {
    this.#means = means;
    this.#seen = new ExpiringMap(MAX_SEEN, means.clock);
  }

  /**
   * Throws FlowFailure as a dial does, `upstream_handshake_failed` where no certificate could be had, and
   * `certificate_changed` where our own handshakes are shown another than `shown`.
   */
  async ask(question: CertificateQuestion): Promise<CertificateAnswer> {
    const shown = question.shown === undefined ? undefined : parsed(question.shown);
    const answers: { readonly id: string; readonly seen: Seen }[] = [];
    for (const trust of question.trustSets)
      answers.push({ id: trust.id, seen: await this.#look(question, trust, shown) });
    const facts = answers[0]?.seen.facts;
    if (facts === undefined) throw new TypeError('a question without a trust set');
    const same = answers.filter(({ seen }) => seen.facts.fingerprintSha256 === facts.fingerprintSha256);
    const validUnder = same.filter(({ seen }) => seen.problem === undefined).map(({ id }) => id);
    return {
      facts: { ...facts, validUnder },
      problem: validUnder.length > 0 ? undefined : answers[0]?.seen.problem,
    };
  }

  async #look(question: CertificateQuestion, trust: TrustSet, shown: X509Certificate | undefined): Promise<Seen> {
    const wanted = shown === undefined ? undefined : fingerprintOf(shown);
    const { origin, address, name } = question;
    const key = [address, origin.port, name, anchorsFingerprint(trust.anchors), wanted ?? ''].join('|');
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const seen = this.#seen.get(key) ?? (await this.#once(key, question, trust, shown));
      if (wanted === undefined || seen.facts.fingerprintSha256 === wanted) return seen;
    }
    throw new FlowFailure('certificate_changed', { detail: `sha256 ${wanted}` });
  }

  #once(
    key: string,
    question: CertificateQuestion,
    trust: TrustSet,
    shown: X509Certificate | undefined,
  ): Promise<Seen> {
    const underWay = this.#underWay.get(key);
    if (underWay !== undefined) return underWay;
    const handshake = this.#handshake(question, trust, shown)
      .then((seen) => {
        const fits = shown === undefined || seen.facts.fingerprintSha256 === fingerprintOf(shown);
        const ttlMs = Math.min(SEEN_TTL_MS, seen.facts.notAfter - this.#means.clock.now());
        if (fits && seen.problem === undefined) this.#seen.set(key, seen, ttlMs);
        return seen;
      })
      .finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, handshake);
    return handshake;
  }

  async #handshake(
    { origin, address, name }: CertificateQuestion,
    { anchors }: TrustSet,
    shown: X509Certificate | undefined,
  ): Promise<Seen> {
    const { dial, trust, timeoutMs, clock } = this.#means;
    const raw = await dial(origin, address);
    const context = trust.contextUnder(anchors, shown === undefined ? undefined : oldHandshakeFor(shown));
    return new Handshake(raw, name, context, clock).seen(timeoutMs);
  }
}

/** What is known once the server has proven that it has the key. */
interface Shown {
  readonly facts: SeenFacts;
  readonly staple: TlsFailureDetail | undefined;
  /** What Node will say of the chain and the name; undefined: nothing. */
  readonly error: TlsFailureDetail | 'other' | undefined;
}

class Handshake {
  readonly #name: Host;
  readonly #clock: Clock;
  readonly #socket: TLSSocket;
  readonly #seen = Promise.withResolvers<Seen>();
  #shown: Shown | undefined;

  constructor(raw: Socket, name: Host, secureContext: SecureContext, clock: Clock) {
    this.#name = name;
    this.#clock = clock;
    this.#socket = connect({
      socket: raw,
      host: name,
      secureContext,
      requestOCSP: true,
      rejectUnauthorized: true,
      checkServerIdentity: (_name, certificate) => checkServerIdentity(name, certificate),
      // RFC 6066 section 3: no addresses in SNI.
      ...(isAddress(name) ? {} : { servername: name }),
    });
    // Told in every handshake, with null for no staple, once the server has proven that it has the key.
    this.#socket.once('OCSPResponse', (staple: Buffer | null) => this.#onCertificate(staple ?? undefined));
    this.#socket.once('secureConnect', () => this.#onVerified());
    this.#socket.on('error', (error) => this.#onError(error));
    this.#socket.once('close', () => this.#seen.reject(tlsFailure({ code: 'ECONNRESET' }, { certificateSeen: false })));
  }

  async seen(timeoutMs: number): Promise<Seen> {
    const timer = setTimeout(() => this.#seen.reject(tlsTimeout()), timeoutMs);
    try {
      const seen = await this.#seen.promise;
      // The origin gets the end of the handshake and of the connection, not half of one.
      this.#socket.destroySoon();
      return seen;
    } catch (error) {
      this.#socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #onCertificate(staple: Buffer | undefined): void {
    // Not getPeerX509Certificate: in Node 24 that takes the certificate out of the handshake, and the name check finds none.
    const peer = this.#socket.getPeerCertificate(true);
    const leaf = peer.raw === undefined ? undefined : readCertificate(peer.raw);
    if (leaf === undefined) return;
    const certificate = new X509Certificate(peer.raw);
    const issuerRaw = peer.issuerCertificate?.raw as Buffer | undefined;
    const issuer = issuerRaw === undefined ? undefined : new X509Certificate(issuerRaw);

    const error = verifyError(this.#socket) ?? checkServerIdentity(this.#name, peer);
    this.#shown = {
      facts: certificateFacts(certificate, leaf),
      staple: stapleProblem({ staple, leaf, issuer, now: this.#clock.now() }),
      error: error === undefined ? undefined : certificateProblem(error),
    };
  }

  #onVerified(): void {
    if (this.#shown === undefined) this.#seen.reject(failed('invalid_certificate'));
    else this.#seen.resolve({ facts: this.#shown.facts, problem: this.#shown.staple });
  }

  #onError(error: unknown): void {
    const failure = tlsFailure(error, { certificateSeen: this.#shown !== undefined });
    if (this.#shown === undefined) {
      this.#seen.reject(failure);
      return;
    }
    const { facts, staple } = this.#shown;
    // It wants to know who we are; who it is we know by then.
    const problem = failure.detail === 'client_certificate_required' ? this.#shown.error : certificateProblem(error);
    if (problem === 'other') this.#seen.reject(failure);
    else this.#seen.resolve({ facts, problem: problem ?? staple });
  }
}

/** What is wrong with the certificate; `other` where the error is about something else. */
function certificateProblem(error: unknown): TlsFailureDetail | 'other' {
  const detail = tlsFailure(error, { certificateSeen: true }).detail as TlsFailureDetail;
  return CERTIFICATE_PROBLEMS.has(detail) ? detail : 'other';
}

/** OpenSSL's verdict before Node tells it, for which there is no public name: null is a good one. */
function verifyError(socket: TLSSocket): unknown {
  const { _handle: handle } = socket as unknown as { _handle?: { verifyError?(): unknown } };
  return handle?.verifyError === undefined ? new Error('not known') : handle.verifyError();
}

/** In TLS 1.2 the cipher suite says which kind of key the certificate has. */
function oldHandshakeFor(certificate: X509Certificate): OldHandshake {
  return certificate.publicKey.asymmetricKeyType?.startsWith('rsa') === true ? 'aRSA' : 'aECDSA';
}

function parsed(der: Buffer): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw failed('invalid_certificate', cause);
  }
}

function failed(detail: TlsFailureDetail, cause?: unknown): FlowFailure {
  return new FlowFailure('upstream_handshake_failed', { detail, cause });
}
