/**
 * Reads a TCP connection into buffers that are used again, instead of a new one for each read: into one that all
 * connections share while little comes, into a wide one of its own while much does. Passes on what was read, and reads
 * on when that has left.
 */
import type { OnReadOpts, Socket } from 'node:net';

/** As much as node reads at once. Nothing in it outlives the read. */
const SHARED = Buffer.allocUnsafeSlow(64 * 1024);
/** From 64 KiB to here gains a quarter of the throughput, from here to 1 MiB as much again for four times the memory. */
const WIDE_BYTES = 256 * 1024;
/** Wide buffers kept for the next transfer. */
const MAX_SPARE = 8;
const spare: Buffer[] = [];

export class WideReader {
  /** For the options of net.connect. */
  readonly onread: OnReadOpts = {
    buffer: () => this.#wide ?? SHARED,
    callback: (bytes) => this.#take(bytes),
  };
  #wide: Buffer | undefined;
  #source: Socket | undefined;
  #sink: Socket | undefined;
  #onBytes: ((bytes: number) => void) | undefined;
  #look: ((chunk: Buffer) => boolean) | undefined;

  /** `look` is shown what is read, until it says true; nothing of that is its own to keep. */
  constructor(look?: (chunk: Buffer) => boolean) {
    this.#look = look;
  }

  /** What `source` says goes to `sink` from now on; must be called in the turn in which the connection is there. */
  start(source: Socket, sink: Socket, onBytes: (bytes: number) => void): void {
    this.#source = source;
    this.#sink = sink;
    this.#onBytes = onBytes;
  }

  /** False stops the reading. */
  #take(bytes: number): boolean {
    const sink = this.#sink;
    // Cannot be: nothing is read before the turn in which start() is called is over.
    if (sink === undefined) return false;
    this.#onBytes?.(bytes);
    const wide = this.#wide;
    // A write may keep what it was given until later, and the next read of any connection fills SHARED again.
    sink.write(wide === undefined ? Buffer.from(SHARED.subarray(0, bytes)) : wide.subarray(0, bytes), this.#written);
    if (this.#look?.((wide ?? SHARED).subarray(0, bytes))) this.#look = undefined;
    const written = sink.writableLength === 0;
    if (wide === undefined && bytes === SHARED.length) this.#wide = spare.pop() ?? Buffer.allocUnsafeSlow(WIDE_BYTES);
    else if (wide !== undefined && bytes < SHARED.length) this.#narrow(wide, written);
    return written;
  }

  readonly #written = (): void => {
    if (this.#sink?.writableLength === 0) this.#source?.resume();
  };

  #narrow(wide: Buffer, written: boolean): void {
    this.#wide = undefined;
    if (written && spare.length < MAX_SPARE) spare.push(wide);
  }
}
