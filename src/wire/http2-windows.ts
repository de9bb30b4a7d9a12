/**
 * Flow control of HTTP/2 (RFC 9113 sections 5.2, 6.9): what may be sent, and what may come. Counts, and sends nothing.
 */

/** RFC 9113 section 6.9.2. */
export const DEFAULT_WINDOW_BYTES = 65_535;
/** RFC 9113 section 6.9.1. */
export const MAX_WINDOW_BYTES = 0x7fffffff;

/** What we may still send. Below zero after the peer has made its initial window smaller (RFC 9113 section 6.9.2). */
export class SendWindow {
  left: number;

  constructor(left: number) {
    this.left = left;
  }

  /** `by` may be negative. False where the window would be wider than any may be. */
  widen(by: number): boolean {
    this.left += by;
    return this.left <= MAX_WINDOW_BYTES;
  }
}

/** What the peer may still send, and what of that we hold. Given back in large pieces, so that few frames say so. */
export class ReceiveWindow {
  readonly #size: number;
  #left: number;
  /** Gone on, and the peer has not been told. */
  #back = 0;

  constructor(size: number) {
    this.#size = size;
    this.#left = size;
  }

  /** So many bytes came. False where the peer was not free to send them. */
  take(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }

  /** So many of them went on, of those that are held at most. Returns by how much to tell the peer that it may go on; 0: not yet. */
  giveBack(bytes: number): number {
    const held = this.#size - this.#left - this.#back;
    this.#back += Math.min(bytes, held);
    if (this.#back * 2 < this.#size) return 0;
    const increment = this.#back;
    this.#back = 0;
    this.#left += increment;
    return increment;
  }
}
