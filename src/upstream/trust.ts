/**
 * Which roots an origin's certificate may stand on: the system's, those of --upstream-ca, and the rule's trust
 * anchors. A context is made once per set of anchors. Verification has no off switch.
 */
import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { Clock } from '../domain/clock.ts';
import { ExpiringMap } from './expiring-map.ts';
import { anchorsFingerprint } from './origin.ts';
import { systemRoots } from './system-roots.ts';

/** A handshake held to TLS 1.2 and to certificates with such a key. */
export type OldHandshake = 'aRSA' | 'aECDSA';

/** Each holds its own store of some 150 roots; a rule set seldom has more than a few sets of anchors. */
const MAX_CONTEXTS = 64;
/** For the bound alone: the same PEM gives the same context. */
const CONTEXT_TTL_MS = 24 * 3_600_000;

export class TrustStore {
  readonly #roots: readonly string[];
  readonly #contexts: ExpiringMap<SecureContext>;

  /** `extraRoots`: PEM texts added to the system's roots for every origin. */
  constructor(extraRoots: readonly string[], clock: Clock, roots = systemRoots()) {
    this.#roots = [...roots, ...extraRoots];
    this.#contexts = new ExpiringMap(MAX_CONTEXTS, clock);
  }

  /** `anchors`: PEM texts of the rule. Throws where one of them is not a certificate; rules are checked at load. */
  contextFor(anchors: readonly string[]): SecureContext {
    return this.#context(anchorsFingerprint(anchors), { ca: [...this.#roots, ...anchors] });
  }

  /**
   * For certificates that must lead to one of `anchors`, whatever else is trusted; to the roots for every origin where
   * there are none. An anchor need not be a root. Throws as contextFor.
   */
  contextUnder(anchors: readonly string[], held: OldHandshake | undefined): SecureContext {
    const trust = anchors.length === 0 ? { ca: [...this.#roots] } : { ca: [...anchors], allowPartialTrustChain: true };
    const limits = held === undefined ? {} : ({ maxVersion: 'TLSv1.2', ciphers: `HIGH+${held}:!kPSK` } as const);
    return this.#context(`under|${held ?? ''}|${anchorsFingerprint(anchors)}`, { ...trust, ...limits });
  }

  #context(key: string, options: SecureContextOptions): SecureContext {
    const known = this.#contexts.get(key);
    if (known !== undefined) return known;
    const context = createSecureContext({
      ...options,
      // RFC 8996: TLS 1.0 and 1.1 must not be used.
      minVersion: 'TLSv1.2',
      // Groups stay OpenSSL's: they lead with X25519MLKEM768, and an agent must not lose post-quantum secrecy by us.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    });
    this.#contexts.set(key, context, CONTEXT_TTL_MS);
    return context;
  }
}
