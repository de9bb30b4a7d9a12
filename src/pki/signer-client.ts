/**
 * The side of the port that asks for leaves: in a worker through the supervisor, in the supervisor of the signer itself.
 * What the signer cannot serve fails; nothing is retried or kept here (see leaf-cache.ts), and no key of the CA passes.
 */
import { FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import type { CaInfo } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import type { Leaf, LeafSource } from './leaf.ts';
import type { Port } from './port.ts';
import { type LeafGenerated, type LeafRequest, readMessage, type StatusRequest } from './signer-protocol.ts';

/** As long as the client waits for the handshake: design.md, connect 10 s. */
export const LEAF_TIMEOUT_MS = 10_000;
/** RSA-4096 self-checks and key generation take well under a second; a machine may be slow. */
const READY_TIMEOUT_MS = 30_000;
/** Signatures under way take milliseconds. */
const STOP_TIMEOUT_MS = 5_000;

interface Waiting {
  readonly resolve: (message: unknown) => void;
  readonly reject: (error: FlowFailure) => void;
  readonly timer: NodeJS.Timeout;
}

export interface SignerStatus {
  readonly leaf_cache_size: number;
  readonly leaf_cache_max: number;
}

export class SignerClient implements LeafSource {
  readonly #port: Port;
  readonly #timeoutMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #closed = false;

  constructor(port: Port, options: { timeoutMs?: number } = {}) {
    this.#port = port;
    this.#timeoutMs = options.timeoutMs ?? LEAF_TIMEOUT_MS;
    port.onMessage((message) => this.#receive(message));
    port.onClose(() => this.#close());
  }

  /** Rejects with FlowFailure('cert_gen_failed'): refused, no answer in time, or the signer is gone. */
  async leafFor(host: Host): Promise<Leaf> {
    const answer = await this.#ask((id): LeafRequest => ({ type: 'leaf_request', id, host }));
    const refused = readMessage('leaf_refused', answer);
    if (refused !== undefined) throw failure(refused.detail);
    const leaf = readMessage('leaf_reply', answer)?.leaf;
    if (leaf?.host !== host) throw failure('the signer answered for another host');
    return Object.freeze(leaf);
  }

  /** For `ca status`. Rejects as leafFor() does. */
  async status(): Promise<SignerStatus> {
    const answer = await this.#ask((id): StatusRequest => ({ type: 'signer_status_request', id }));
    const status = readMessage('signer_status', answer);
    if (status === undefined) throw failure('the signer gave no status');
    return { leaf_cache_size: status.leaf_cache_size, leaf_cache_max: status.leaf_cache_max };
  }

  #ask(request: (id: number) => LeafRequest | StatusRequest): Promise<unknown> {
    if (this.#closed) return Promise.reject(failure('the signer is not running'));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(failure(`the signer did not answer in ${this.#timeoutMs} ms`));
      }, this.#timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#port.send(request(id));
    });
  }

  #receive(message: unknown): void {
    const answer =
      readMessage('leaf_reply', message) ??
      readMessage('leaf_refused', message) ??
      readMessage('signer_status', message);
    const waiting = answer && this.#waiting.get(answer.id);
    if (answer === undefined || waiting === undefined) return;
    this.#waiting.delete(answer.id);
    clearTimeout(waiting.timer);
    waiting.resolve(answer);
  }

  #close(): void {
    this.#closed = true;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(failure('the signer is gone'));
    }
    this.#waiting.clear();
  }
}

/**
 * For the supervisor, called as soon as the signer's process is forked: what the signer says about the CA.
 * Rejects with CaError, message for the operator, when the CA cannot be used or the process dies or hangs over it.
 */
export function signerReady(port: Port): Promise<CaInfo> {
  return new Promise((resolve, reject) => {
    const fail = (message: string) => reject(new CaError('unfit', message));
    const timer = setTimeout(() => fail('the signer did not start in time'), READY_TIMEOUT_MS);
    const settle = () => clearTimeout(timer);
    port.onMessage((message) => {
      const ready = readMessage('signer_ready', message);
      const failed = readMessage('signer_failed', message);
      if (ready !== undefined || failed !== undefined) settle();
      if (ready !== undefined) resolve(ready.ca);
      if (failed !== undefined) fail(failed.message);
    });
    port.onClose(() => {
      settle();
      fail('the signer ended before it was ready');
    });
  });
}

/** Calls the handler once per leaf that the signer signs. */
export function onLeafGenerated(port: Port, handler: (event: LeafGenerated) => void): void {
  port.onMessage((message) => {
    const event = readMessage('leaf_generated', message);
    if (event !== undefined) handler(event);
  });
}

/** Asks the signer to let go of leaves and key. Resolves true when it said so, false when it did not in time. */
export function stopSigner(port: Port): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), STOP_TIMEOUT_MS);
    const settle = (stopped: boolean) => {
      clearTimeout(timer);
      resolve(stopped);
    };
    port.onMessage((message) => readMessage('signer_stopped', message) && settle(true));
    port.onClose(() => settle(false));
    port.send({ type: 'signer_stop' });
  });
}

function failure(detail: string): FlowFailure {
  return new FlowFailure('cert_gen_failed', { detail });
}
