/**
 * The signer: the one process that has the CA key. It signs leaves for hosts that the rules could intercept and for nothing
 * else (row 34), once per host for all workers (S011-FR-005, FR-006), and hands out leaves, never the key (row 35).
 *
 * What stopping clears: the leaves and the KeyObject are let go and collected, and OpenSSL overwrites a private key's numbers
 * when it frees them, so that /proc/PID/mem no longer has them (a test looks). What nothing in JavaScript can promise: a
 * process that is killed outright clears nothing; its pages go to the kernel, which wipes them before anyone else sees them.
 */
import { setImmediate } from 'node:timers/promises';
import { type Clock, systemClock } from '../domain/clock.ts';
import { FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import { type CaInfo, loadCaCertificate } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import { loadCaKey } from './ca-key.ts';
import { issuerOf } from './certificate.ts';
import type { Leaf } from './leaf.ts';
import { LeafCache } from './leaf-cache.ts';
import { LeafMinter, type Minted } from './leaf-minter.ts';
import { serveLeaves } from './leaf-server.ts';
import type { Port } from './port.ts';
import {
  type LeafGenerated,
  readMessage,
  type SignerFailed,
  type SignerReady,
  type SignerStopped,
  type StatusReply,
} from './signer-protocol.ts';

export interface SignerConfig {
  readonly certPath: string;
  readonly keyPath: string;
  /** S011-IF-003; the daemon checks the range. */
  readonly leafTtlSecs: number;
  /** Whether some rule in force could intercept this host. Asked for each request, cached leaf or not. */
  mayMint(host: Host): boolean;
  readonly clock?: Clock;
}

/** One CA in use: any number of ports are served from one cache. */
export class Signer {
  readonly ca: CaInfo;
  readonly #mayMint: (host: Host) => boolean;
  readonly #minter: LeafMinter;
  readonly #cache: LeafCache;

  /**
   * Loads the CA and makes the leaves' key. Rejects with CaError, message for the operator, when the CA cannot be used.
   * `onLeafGenerated` is called once per leaf signed.
   */
  static async start(config: SignerConfig, onLeafGenerated: (event: LeafGenerated) => void): Promise<Signer> {
    const clock = config.clock ?? systemClock;
    const { certificate, info } = loadCaCertificate(config.certPath, clock.now());
    // Nothing but the minter may refer to the key, or it could not be collected.
    const minter = await LeafMinter.create(issuerOf(certificate, loadCaKey(config.keyPath, certificate)), {
      ttlSecs: config.leafTtlSecs,
      clock,
      onMinted: (minted) => onLeafGenerated(leafGenerated(minted)),
    });
    return new Signer(info, minter, new LeafCache(minter, { clock }), (host) => config.mayMint(host));
  }

  private constructor(ca: CaInfo, minter: LeafMinter, cache: LeafCache, mayMint: (host: Host) => boolean) {
    this.ca = ca;
    this.#minter = minter;
    this.#cache = cache;
    this.#mayMint = mayMint;
  }

  /** Answers the leaf requests that come over this port, for hosts that may be minted for. */
  serve(port: Port): void {
    serveLeaves(port, async (host): Promise<Leaf> => {
      if (!this.#mayMint(host)) throw new FlowFailure('cert_gen_failed', { detail: `no rule intercepts ${host}` });
      return this.#cache.leafFor(host);
    });
  }

  get leafCacheSize(): number {
    return this.#cache.size;
  }

  get leafCacheMax(): number {
    return this.#cache.max;
  }

  /** Signs nothing more, lets go of leaves and key, and resolves when they are collected (with --expose-gc). */
  async stop(): Promise<void> {
    this.#cache.clear();
    await this.#minter.drop();
    await collect();
  }
}

/**
 * A signer for one port: says signer_ready or signer_failed, serves, tells of each leaf, and stops on signer_stop or when the
 * port closes. Resolves `failed` when the CA cannot be used, `stopped` when the key has been let go of.
 */
export async function runSigner(port: Port, config: SignerConfig): Promise<'failed' | 'stopped'> {
  const stopAsked = new Promise<void>((resolve) => {
    port.onMessage((message) => readMessage('signer_stop', message) && resolve());
    port.onClose(resolve);
  });
  let signer: Signer;
  try {
    signer = await Signer.start(config, (event) => port.send(event));
  } catch (error) {
    if (!(error instanceof CaError)) throw error;
    port.send({ type: 'signer_failed', message: error.message } satisfies SignerFailed);
    return 'failed';
  }
  signer.serve(port);
  port.onMessage((message) => answerStatus(port, signer, message));
  port.send({ type: 'signer_ready', ca: signer.ca } satisfies SignerReady);
  await stopAsked;
  await signer.stop();
  port.send({ type: 'signer_stopped' } satisfies SignerStopped);
  return 'stopped';
}

function answerStatus(port: Port, signer: Signer, message: unknown): void {
  const request = readMessage('signer_status_request', message);
  if (request === undefined) return;
  const { leafCacheSize: leaf_cache_size, leafCacheMax: leaf_cache_max } = signer;
  port.send({ type: 'signer_status', id: request.id, leaf_cache_size, leaf_cache_max } satisfies StatusReply);
}

function leafGenerated(minted: Minted): LeafGenerated {
  return {
    type: 'leaf_generated',
    host: minted.host,
    serial: minted.serial,
    not_after: new Date(minted.notAfter).toISOString(),
    duration_ms: minted.durationMs,
  };
}

/** Two rounds: the first finds the objects dead, OpenSSL's memory goes in the callbacks that follow it. Needs --expose-gc. */
async function collect(): Promise<void> {
  for (let round = 0; round < 2; round++) {
    globalThis.gc?.();
    await setImmediate();
  }
}
