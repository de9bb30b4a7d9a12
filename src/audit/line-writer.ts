/**
 * Whole lines to a file descriptor, batched off the caller's path and written asynchronously whatever the
 * descriptor is (pipe, file, terminal). Knows nothing of what a line means.
 * Never lets memory grow without bound: past a cap it says `blocked`, past twice the cap it drops and counts.
 * Threats row 36 (full disk, reader gone).
 */
import fs from 'node:fs';

/**
 * A batch goes out at this size even before its time. Large, because each batch wakes whoever reads it, on a core that
 * has better things to do: 64 KiB cost a tenth of a busy worker.
 */
const FLUSH_BYTES = 1024 * 1024;
/** How long a line may wait for company. Short enough for a reader who follows, long enough for a batch. */
const FLUSH_AFTER_MS = 100;
/** Room to begin with; it grows to what a batch takes. */
const FIRST_ROOM_BYTES = 64 * 1024;
/** UTF-8 needs at most so many bytes for one UTF-16 code unit. */
const BYTES_PER_UNIT = 3;
/** After EAGAIN: node makes pipes and sockets of standard output non-blocking, and one takes 64 to 208 KiB at once. */
const BUSY_RETRY_MS = 2;
/** After any other error (disk full, reader gone): kept and tried again. */
const ERROR_RETRY_MS = 500;
/** 4 MiB is about 8,000 records: a second of full load for a reader that stumbles. */
const DEFAULT_CAP_BYTES = 4 * 1024 * 1024;

export interface LineWriterOptions {
  /** Bytes waiting beyond which `blocked` is true. */
  readonly capBytes?: number;
  /** How long a line may wait for company, in milliseconds. */
  readonly flushAfterMs?: number;
  /** Called once when writing starts to fail, and with undefined once it works again. */
  readonly onTrouble?: (error: NodeJS.ErrnoException | undefined) => void;
  /** Called each time a batch has gone out. */
  readonly onProgress?: () => void;
}

export class LineWriter {
  readonly #fd: number;
  readonly #capBytes: number;
  readonly #onTrouble: (error: NodeJS.ErrnoException | undefined) => void;
  readonly #onProgress: () => void;
  readonly #flushAfterMs: number;
  /** Lines not sent yet, and after them free space. */
  #batch: Buffer = Buffer.allocUnsafeSlow(FIRST_ROOM_BYTES);
  #used = 0;
  /** The batch before the last one, to be filled again. */
  #spare: Buffer | undefined;
  #inFlight: Buffer | undefined;
  #inFlightOffset = 0;
  #timer: NodeJS.Timeout | undefined;
  #error: NodeJS.ErrnoException | undefined;
  #full = false;
  #dropped = 0;
  #flushWaiters: (() => void)[] = [];

  constructor(fd: number, options: LineWriterOptions = {}) {
    this.#fd = fd;
    this.#capBytes = options.capBytes ?? DEFAULT_CAP_BYTES;
    this.#flushAfterMs = options.flushAfterMs ?? FLUSH_AFTER_MS;
    this.#onTrouble = options.onTrouble ?? (() => {});
    this.#onProgress = options.onProgress ?? (() => {});
  }

  /** Takes one line (or several) that ends with a line feed. Never throws, never waits. */
  write(lines: string | Buffer): void {
    if (this.waitingBytes > 2 * this.#capBytes) {
      this.#dropped++;
      return;
    }
    if (typeof lines === 'string') {
      this.#makeRoom(lines.length * BYTES_PER_UNIT);
      this.#used += this.#batch.write(lines, this.#used);
    } else {
      this.#makeRoom(lines.length);
      this.#used += lines.copy(this.#batch, this.#used);
    }
    if (this.waitingBytes > this.#capBytes) this.#full = true;
    this.#sendInTime();
  }

  /** Bytes not yet taken by the descriptor. */
  get waitingBytes(): number {
    const unsent = this.#inFlight === undefined ? 0 : this.#inFlight.length - this.#inFlightOffset;
    return this.#used + unsent;
  }

  /** True from the cap (or an error) until writing works and half of the cap is free again. */
  get blocked(): boolean {
    return this.#full || this.#error !== undefined;
  }

  /** Calls to write() whose lines were lost because twice the cap was waiting. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Resolves when all that was taken so far is with the descriptor; does not resolve while it stays blocked. */
  flush(): Promise<void> {
    if (this.waitingBytes === 0) return Promise.resolve();
    const flushed = new Promise<void>((resolve) => this.#flushWaiters.push(resolve));
    this.#send();
    return flushed;
  }

  /** Last resort before the process dies: one synchronous attempt at what is not in flight yet, errors ignored. */
  flushSync(): void {
    const batch = this.#takeBatch();
    if (batch === undefined) return;
    try {
      fs.writeSync(this.#fd, batch);
    } catch {
      // The process is ending and there is nobody left to tell.
    }
  }

  #makeRoom(bytes: number): void {
    if (this.#batch.length - this.#used >= bytes) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#batch.length, this.#used + bytes));
    this.#batch.copy(larger, 0, 0, this.#used);
    this.#batch = larger;
  }

  #sendInTime(): void {
    if (this.#used >= FLUSH_BYTES) this.#send();
    else this.#timer ??= setTimeout(() => this.#tick(), this.#flushAfterMs);
  }

  #tick(): void {
    this.#timer = undefined;
    this.#send();
  }

  #send(): void {
    if (this.#inFlight !== undefined) return;
    const batch = this.#takeBatch();
    if (batch === undefined) return;
    this.#inFlight = batch;
    this.#inFlightOffset = 0;
    this.#writeRest(batch);
  }

  #takeBatch(): Buffer | undefined {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#used === 0) return undefined;
    const batch = this.#batch.subarray(0, this.#used);
    const next = this.#spare ?? Buffer.allocUnsafeSlow(FIRST_ROOM_BYTES);
    this.#spare = this.#batch;
    this.#batch = next;
    this.#used = 0;
    return batch;
  }

  #writeRest(batch: Buffer): void {
    fs.write(this.#fd, batch, this.#inFlightOffset, batch.length - this.#inFlightOffset, null, (error, written) => {
      if (error !== null) return this.#retry(batch, error);
      this.#inFlightOffset += written;
      this.#recovered();
      if (this.#inFlightOffset < batch.length) return this.#writeRest(batch);
      this.#inFlight = undefined;
      this.#finishBatch();
    });
  }

  #retry(batch: Buffer, error: NodeJS.ErrnoException): void {
    const busy = error.code === 'EAGAIN';
    if (!busy && this.#error === undefined) {
      this.#error = error;
      this.#onTrouble(error);
    }
    setTimeout(() => this.#writeRest(batch), busy ? BUSY_RETRY_MS : ERROR_RETRY_MS);
  }

  #recovered(): void {
    if (this.#error === undefined) return;
    this.#error = undefined;
    this.#onTrouble(undefined);
  }

  #finishBatch(): void {
    if (this.waitingBytes < this.#capBytes / 2) this.#full = false;
    // What came meanwhile waits for company too: sent at once, it would be a batch for every few lines, without end.
    if (this.#used === 0) for (const resolve of this.#flushWaiters.splice(0)) resolve();
    else if (this.#flushWaiters.length > 0) this.#send();
    else this.#sendInTime();
    this.#onProgress();
  }
}
