/**
 * The product's own signer in this process, with a fresh ECDSA CA on disk, talking over a pair of ports that copy each
 * message as a process boundary does.
 */

import { readFileSync } from 'node:fs';
import type { Host } from '../../src/domain/hostname.ts';
import { initCa } from '../../src/pki/ca-files.ts';
import type { LeafSource } from '../../src/pki/leaf.ts';
import { LeafCache } from '../../src/pki/leaf-cache.ts';
import type { Port } from '../../src/pki/port.ts';
import { runSigner } from '../../src/pki/signer.ts';
import { onLeafGenerated, SignerClient, signerReady } from '../../src/pki/signer-client.ts';
import { Seen } from './seen.ts';
import { TempFolder } from './temp.ts';

const LEAF_TTL_SECS = 86_400;

export interface SignerOptions {
  readonly algorithm?: 'rsa' | 'ecdsa';
  mayMint(host: Host): boolean;
}

export class TestSigner implements AsyncDisposable {
  /** What agents have to trust. */
  readonly caPem: string;
  /** As a worker sees it: cached. */
  readonly leaves: LeafSource;
  /** Hosts that leaves were signed for, in order. */
  readonly minted = new Seen<string>('leaf');
  readonly #folder: TempFolder;
  readonly #end: () => void;
  readonly #over: Promise<unknown>;

  constructor(folder: TempFolder, caPem: string, ours: PairedPort, over: Promise<unknown>) {
    this.#folder = folder;
    this.caPem = caPem;
    this.leaves = new LeafCache(new SignerClient(ours));
    this.#end = () => ours.close();
    this.#over = over;
    onLeafGenerated(ours, (event) => this.minted.push(event.host));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    await this.#over;
    this.#folder[Symbol.dispose]();
  }
}

export async function startSigner(options: SignerOptions): Promise<TestSigner> {
  const folder = new TempFolder();
  const { paths } = await initCa(folder.path, {
    algorithm: options.algorithm ?? 'ecdsa',
    force: false,
    now: Date.now(),
  });
  const [ours, theirs] = portPair();
  const ready = signerReady(ours);
  const over = runSigner(theirs, {
    certPath: paths.cert,
    keyPath: paths.key,
    leafTtlSecs: LEAF_TTL_SECS,
    mayMint: options.mayMint,
  });
  await ready;
  return new TestSigner(folder, readFileSync(paths.cert, 'utf8'), ours, over);
}

/** One end of a pair; what goes in is copied and comes out at the other in a later turn. */
class PairedPort implements Port {
  other: PairedPort | undefined;
  #closed = false;
  readonly #onMessage: ((message: unknown) => void)[] = [];
  readonly #onClose: (() => void)[] = [];

  send(message: unknown): void {
    if (this.#closed) return;
    const copy: unknown = JSON.parse(JSON.stringify(message));
    setImmediate(() => this.other?.receive(copy));
  }

  onMessage(handler: (message: unknown) => void): void {
    this.#onMessage.push(handler);
  }

  onClose(handler: () => void): void {
    if (this.#closed) handler();
    else this.#onClose.push(handler);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const handler of this.#onClose) handler();
    this.other?.close();
  }

  receive(message: unknown): void {
    if (!this.#closed) for (const handler of this.#onMessage) handler(message);
  }
}

function portPair(): [PairedPort, PairedPort] {
  const [one, two] = [new PairedPort(), new PairedPort()];
  one.other = two;
  two.other = one;
  return [one, two];
}
