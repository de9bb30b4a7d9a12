/**
 * The side of the port that asks for leaves: in a worker through the supervisor, in the supervisor of the signer itself.
 * What the signer cannot serve fails; nothing is retried or kept here (see leaf-cache.ts), and no key of the CA passes.
 */
import { FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import type { CaSet } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import type { Leaf, LeafSource } from './leaf.ts';
import type { Port } from './port.ts';
import {
  type ChangeRequest,
  type LeafGenerated,
  type LeafRequest,
  readMessage,
  type SignerChange,
  type StatusRequest,
  type UploadAnswer,
  type UploadBegin,
} from './signer-protocol.ts';

/** As long as the client waits for the handshake: design.md, connect 10 s. */
export const LEAF_TIMEOUT_MS = 10_000;
/** RSA-4096 self-checks and key generation take well under a second; a machine may be slow. */
const READY_TIMEOUT_MS = 30_000;
/** RSA-4096 takes a second or two, ten on a slow machine under load; an upload has its own deadline, which is shorter. */
const CHANGE_TIMEOUT_MS = 60_000;
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

  /** Resolves to the CAs after it. Rejects with CaError where nothing was changed, with FlowFailure as leafFor() does. */
  async change(change: SignerChange): Promise<CaSet> {
    const asked = this.#askOver(CHANGE_TIMEOUT_MS, (id) =>
      this.#port.send({ type: 'ca_change', id, change } satisfies ChangeRequest),
    );
    return changed(await asked);
  }

  /** `hand` gives the signer a socket under this id. As change(); `answer` must be called with what is written to it last. */
  async upload(hand: (id: number) => void): Promise<{ cas: CaSet | CaError; answer(this: void, text: string): void }> {
    let id = 0;
    const reply = await this.#askOver(CHANGE_TIMEOUT_MS, (given) => {
      id = given;
      hand(given);
      this.#port.send({ type: 'ca_upload_begin', id } satisfies UploadBegin);
    });
    const answer = (text: string) => this.#port.send({ type: 'ca_upload_answer', id, text } satisfies UploadAnswer);
    try {
      return { cas: changed(reply), answer };
    } catch (error) {
      if (error instanceof CaError) return { cas: error, answer };
      throw error;
    }
  }

  #ask(request: (id: number) => LeafRequest | StatusRequest): Promise<unknown> {
    return this.#askOver(this.#timeoutMs, (id) => this.#port.send(request(id)));
  }

  #askOver(timeoutMs: number, send: (id: number) => void): Promise<unknown> {
    if (this.#closed) return Promise.reject(failure('the signer is not running'));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(failure(`the signer did not answer in ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
      send(id);
    });
  }

  #receive(message: unknown): void {
    const answer =
      readMessage('leaf_reply', message) ??
      readMessage('leaf_refused', message) ??
      readMessage('signer_status', message) ??
      readMessage('ca_changed', message) ??
      readMessage('ca_refused', message);
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
 * For the supervisor, called as soon as the signer's process is forked: the CAs that the signer has.
 * Rejects with CaError, message for the operator, when the CA cannot be used or the process dies or hangs over it.
 */
export function signerReady(port: Port): Promise<CaSet> {
  return new Promise((resolve, reject) => {
    const fail = (message: string) => reject(new CaError('unfit', message));
    const timer = setTimeout(() => fail('the signer did not start in time'), READY_TIMEOUT_MS);
    const settle = () => clearTimeout(timer);
    port.onMessage((message) => {
      const ready = readMessage('signer_ready', message);
      const failed = readMessage('signer_failed', message);
      if (ready !== undefined || failed !== undefined) settle();
      if (ready !== undefined) resolve(ready.cas);
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

function changed(reply: unknown): CaSet {
  const refused = readMessage('ca_refused', reply);
  if (refused !== undefined) throw new CaError(refused.kind, refused.message);
  const cas = readMessage('ca_changed', reply)?.cas;
  if (cas === undefined) throw failure('the signer gave no answer');
  return cas;
}

function failure(detail: string): FlowFailure {
  return new FlowFailure('cert_gen_failed', { detail });
}
