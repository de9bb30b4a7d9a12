/**
 * Bytes that wait, in the order in which they came. Copied into blocks of one size: however small the pieces are that they
 * came in, and however large the buffers that those were cut from, what is held is what waits and less than two blocks.
 */

/** As one frame of HTTP/2 (RFC 9113 section 4.2). */
const BLOCK_BYTES = 16_384;
/** Blocks kept for the next queue, of all that there are. */
const MAX_SPARE = 128;
const spare: Buffer[] = [];

export class ByteQueue {
  length = 0;
  readonly #blocks: Buffer[] = [];
  /** Of the first block, what has been taken; of the last, what has been filled. */
  #taken = 0;
  #filled = BLOCK_BYTES;

  push(bytes: Buffer, start: number, end: number): void {
    this.length += end - start;
    for (let at = start; at < end; ) {
      if (this.#filled === BLOCK_BYTES) {
        this.#blocks.push(spare.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES));
        this.#filled = 0;
      }
      const last = this.#blocks[this.#blocks.length - 1] as Buffer;
      const copied = bytes.copy(last, this.#filled, at, end);
      this.#filled += copied;
      at += copied;
    }
  }

  /** Moves the first `count` bytes, which must be there, into `out`. */
  take(out: Buffer, at: number, count: number): void {
    this.length -= count;
    for (let left = count; left > 0; ) {
      const first = this.#blocks[0] as Buffer;
      const copied = first.copy(out, at + count - left, this.#taken, Math.min(BLOCK_BYTES, this.#taken + left));
      this.#taken += copied;
      left -= copied;
      if (this.#taken === BLOCK_BYTES) this.#dropFirst();
    }
    if (this.length === 0) this.clear();
  }

  /** A copy of all that waits. */
  toBuffer(): Buffer {
    const [first] = this.#blocks;
    if (first === undefined) return Buffer.alloc(0);
    if (this.#blocks.length === 1) return Buffer.from(first.subarray(this.#taken, this.#filled));
    const last = this.#blocks.length - 1;
    return Buffer.concat(
      this.#blocks.map((block, i) =>
        block.subarray(i === 0 ? this.#taken : 0, i === last ? this.#filled : BLOCK_BYTES),
      ),
    );
  }

  clear(): void {
    this.length = 0;
    while (this.#blocks.length > 0) this.#dropFirst();
    this.#filled = BLOCK_BYTES;
  }

  #dropFirst(): void {
    const block = this.#blocks.shift();
    this.#taken = 0;
    if (block !== undefined && spare.length < MAX_SPARE) spare.push(block);
  }
}
