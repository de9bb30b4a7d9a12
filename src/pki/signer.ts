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
import { maySign } from '../domain/name-constraints.ts';
import { type CaSet, loadCaCertificate, NO_CA } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import { CaFolder, type LoadedCas } from './ca-folder.ts';
import { loadCaKey } from './ca-key.ts';
import { readCaMaterial } from './ca-material.ts';
import { UNMANAGED } from './ca-names.ts';
import { issueCa, issuerOf } from './certificate.ts';
import { keyPem } from './key-pem.ts';
import type { Leaf } from './leaf.ts';
import { LeafCache } from './leaf-cache.ts';
import { LeafMinter, type Minted } from './leaf-minter.ts';
import { serveLeaves } from './leaf-server.ts';
import type { Port } from './port.ts';
import { serveChanges } from './signer-changes.ts';
import {
  type LeafGenerated,
  readMessage,
  type SignerChange,
  type SignerFailed,
  type SignerReady,
  type SignerStopped,
  type StatusReply,
} from './signer-protocol.ts';
import { writeTrustFolder } from './trust-folder.ts';

const NEXT_WAITS = 'a next CA waits already; rotate to it, or delete it first';

/** Two files that the operator changes, or a folder that this signer keeps. */
export type CaSource =
  | { readonly certPath: string; readonly keyPath: string }
  | {
      readonly folder: string;
      /** Where agents read what to trust; undefined for nowhere. */
      readonly trustFolder?: string | undefined;
    };

export type SignerConfig = CaSource & {
  /** S011-IF-003; the daemon checks the range. */
  readonly leafTtlSecs: number;
  /** Whether some rule in force could intercept this host. Asked for each request, cached leaf or not. */
  mayMint(host: Host): boolean;
  readonly clock?: Clock;
};

/** The CAs in use: any number of ports are served from one cache. */
export class Signer {
  readonly #config: SignerConfig;
  readonly #clock: Clock;
  readonly #minter: LeafMinter;
  readonly #cache: LeafCache;
  #cas: CaSet;

  /**
   * Loads the CA and makes the leaves' key. Rejects with CaError, message for the operator, when the CA cannot be used.
   * `onLeafGenerated` is called once per leaf signed.
   */
  static async start(config: SignerConfig, onLeafGenerated: (event: LeafGenerated) => void): Promise<Signer> {
    const clock = config.clock ?? systemClock;
    if ('folder' in config) new CaFolder(config.folder).recover();
    const { cas, issuer } = loadCas(config, clock.now());
    // Nothing but the minter may refer to the key, or it could not be collected.
    const minter = await LeafMinter.create(issuer, {
      ttlSecs: config.leafTtlSecs,
      clock,
      onMinted: (minted) => onLeafGenerated(leafGenerated(minted)),
    });
    return new Signer(config, clock, minter, cas);
  }

  private constructor(config: SignerConfig, clock: Clock, minter: LeafMinter, cas: CaSet) {
    this.#config = config;
    this.#clock = clock;
    this.#minter = minter;
    this.#cache = new LeafCache(minter, { clock });
    this.#cas = cas;
    this.#tellAgents();
  }

  get cas(): CaSet {
    return this.#cas;
  }

  /** Answers the leaf requests that come over this port, for hosts that may be minted for. */
  serve(port: Port): void {
    serveLeaves(port, async (host): Promise<Leaf> => {
      if (!this.#config.mayMint(host)) throw refusal(`no rule intercepts ${host}`);
      const constraints = this.#cas.current?.constraints;
      if (constraints !== undefined && !maySign(constraints, host)) {
        throw refusal(`the CA may not sign for ${host}: its name constraints do not permit it`);
      }
      return this.#cache.leafFor(host);
    });
  }

  get leafCacheSize(): number {
    return this.#cache.size;
  }

  get leafCacheMax(): number {
    return this.#cache.max;
  }

  /** Resolves to the CAs after it; rejects with CaError where nothing was changed. One at a time. */
  async change(change: SignerChange): Promise<CaSet> {
    const folder = this.#folder();
    switch (change.kind) {
      case 'generate': {
        this.#insistOnNoNext();
        const { pem, key } = await issueCa(change.algorithm, this.#clock.now(), change.permitDomains);
        this.#bring(folder, pem, keyPem(key));
        break;
      }
      case 'rotate':
        if (this.#cas.next === undefined) throw new CaError('refused', 'there is no next CA; generate or upload one');
        folder.promote();
        break;
      case 'drop':
        folder.drop(change.which);
        break;
    }
    return this.#reload();
  }

  /** As change(), of a CA in PEM with its key; the bytes are wiped. */
  async take(material: Buffer): Promise<CaSet> {
    const folder = this.#folder();
    const { certPem, keyPem: key } = readCaMaterial(material, this.#clock.now());
    this.#insistOnNoNext();
    this.#bring(folder, certPem, key);
    return this.#reload();
  }

  /** Signs nothing more, lets go of leaves and key, and resolves when they are collected (with --expose-gc). */
  async stop(): Promise<void> {
    this.#cache.clear();
    await this.#minter.drop();
    await collect();
  }

  #folder(): CaFolder {
    if ('folder' in this.#config) return new CaFolder(this.#config.folder);
    throw new CaError('refused', UNMANAGED);
  }

  #insistOnNoNext(): void {
    if (this.#cas.next !== undefined) throw new CaError('refused', NEXT_WAITS);
  }

  /** The first CA signs at once; another waits until agents trust it. */
  #bring(folder: CaFolder, certPem: string, key: Buffer): void {
    folder.writeNext(certPem, key);
    if (this.#cas.current === undefined) folder.promote();
  }

  /** What is on disk is what is used: the leaves of another CA are forgotten, its key is let go of. */
  async #reload(): Promise<CaSet> {
    const { cas, issuer } = loadCas(this.#config, this.#clock.now());
    if (issuer === undefined) await this.#minter.drop();
    else this.#minter.use(issuer);
    if (cas.current?.fingerprint_sha256 !== this.#cas.current?.fingerprint_sha256) this.#cache.clear();
    this.#cas = cas;
    this.#tellAgents();
    await collect();
    return cas;
  }

  #tellAgents(): void {
    const config = this.#config;
    if ('folder' in config && config.trustFolder !== undefined) writeTrustFolder(config.trustFolder, this.#cas);
  }
}

function loadCas(config: SignerConfig, now: number): LoadedCas {
  if ('folder' in config) return new CaFolder(config.folder).load(now);
  const { certificate, info } = loadCaCertificate(config.certPath, now);
  const issuer = issuerOf(certificate, loadCaKey(config.keyPath, certificate));
  return { cas: { ...NO_CA, current: info }, issuer };
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
  serveChanges(port, signer);
  port.onMessage((message) => answerStatus(port, signer, message));
  port.send({ type: 'signer_ready', cas: signer.cas } satisfies SignerReady);
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

function refusal(detail: string): FlowFailure {
  return new FlowFailure('cert_gen_failed', { detail });
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
