/**
 * Signs leaves with the CA key that it was given, all for one P-256 key made at its start: a key per host would cost a key
 * generation per host and protect nothing more, since all of them live in the same workers.
 * Does not ask whether a host may have a leaf: see signer.ts.
 */
import { generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock } from '../domain/clock.ts';
import { FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import { type IssuedLeaf, type Issuer, issueLeaf, type SubjectKey, subjectKey } from './certificate.ts';
import type { Leaf, LeafSource } from './leaf.ts';

/** Signing runs at about 300 per second and core with RSA-4096: more than this many waiting would outlast their clients. */
const MAX_PENDING = 512;

export interface Minted {
  readonly host: Host;
  readonly serial: string;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
  readonly durationMs: number;
}

export class LeafMinter implements LeafSource {
  #issuer: Issuer | undefined;
  readonly #subjectKey: SubjectKey;
  readonly #keyPem: string;
  readonly #options: { ttlSecs: number; clock: Clock; onMinted: (minted: Minted) => void };
  readonly #pending = new Set<Promise<IssuedLeaf>>();

  static async create(
    issuer: Issuer | undefined,
    options: { ttlSecs: number; clock: Clock; onMinted: (minted: Minted) => void },
  ): Promise<LeafMinter> {
    const { publicKey, privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'prime256v1' });
    const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    return new LeafMinter(issuer, subjectKey(publicKey), keyPem, options);
  }

  private constructor(
    issuer: Issuer | undefined,
    key: SubjectKey,
    keyPem: string,
    options: { ttlSecs: number; clock: Clock; onMinted: (minted: Minted) => void },
  ) {
    this.#issuer = issuer;
    this.#subjectKey = key;
    this.#keyPem = keyPem;
    this.#options = options;
  }

  async leafFor(host: Host): Promise<Leaf> {
    if (this.#issuer === undefined) throw new FlowFailure('cert_gen_failed', { detail: 'the signer has no CA' });
    if (this.#pending.size >= MAX_PENDING) throw new FlowFailure('cert_gen_failed', { detail: 'the signer is busy' });
    const started = performance.now();
    const issued = await this.#issue(this.#issuer, host);
    const durationMs = Math.round((performance.now() - started) * 1000) / 1000;
    this.#options.onMinted({ host, serial: issued.serial, notAfter: issued.notAfter, durationMs });
    return { host, chainPem: issued.pem, keyPem: this.#keyPem, expiresAt: issued.notAfter };
  }

  /** Signs with this CA from now on; signatures under way are still of the one before. */
  use(issuer: Issuer): void {
    this.#issuer = issuer;
  }

  /** Lets go of the CA key, when the signatures under way are done. Nothing is signed after this. */
  async drop(): Promise<void> {
    this.#issuer = undefined;
    await Promise.allSettled(this.#pending);
  }

  async #issue(issuer: Issuer, host: Host): Promise<IssuedLeaf> {
    const { ttlSecs, clock } = this.#options;
    const issuing = issueLeaf(issuer, { host, subjectKey: this.#subjectKey, ttlSecs, now: clock.now() });
    this.#pending.add(issuing);
    try {
      return await issuing;
    } catch (cause) {
      throw new FlowFailure('cert_gen_failed', { detail: (cause as Error).message, cause });
    } finally {
      this.#pending.delete(issuing);
    }
  }
}
