/**
 * A leaf: the certificate and key that an intercepted client sees for one host. Plain and immutable, so that whoever holds
 * one keeps it whole when a cache lets go of it (S011-EC-008).
 */
import type { Host } from '../domain/hostname.ts';

export interface Leaf {
  readonly host: Host;
  /** PEM of what is sent in the handshake: the leaf alone, since clients hold the root. */
  readonly chainPem: string;
  /** PEM of the key that all leaves of one signer share; never the CA's. */
  readonly keyPem: string;
  /** The certificate's notAfter, milliseconds since the epoch. */
  readonly expiresAt: number;
}

export interface LeafSource {
  /** Rejects with FlowFailure('cert_gen_failed'). */
  leafFor(host: Host): Promise<Leaf>;
}
