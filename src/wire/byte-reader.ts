/** Reads on to the end and no further: past it everything is empty and `failed` is set. Never throws. */
export class ByteReader {
  failed = false;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  skip(bytes: number): void {
    this.#step(bytes);
  }

  uint8(): number {
    const at = this.#step(1);
    return this.#bytes[at] ?? 0;
  }

  uint16(): number {
    const at = this.#step(2);
    return ((this.#bytes[at] ?? 0) << 8) | (this.#bytes[at + 1] ?? 0);
  }

  /** A vector behind a length of one byte. */
  vector8(): Buffer {
    return this.take(this.uint8());
  }

  /** A vector behind a length of two bytes. */
  vector16(): Buffer {
    return this.take(this.uint16());
  }

  /** A vector behind a length of three bytes. */
  vector24(): Buffer {
    return this.take(this.uint8() * 65_536 + this.uint16());
  }

  take(bytes: number): Buffer {
    const at = this.#step(bytes);
    return this.#bytes.subarray(at, this.#at);
  }

  /** Where the next `bytes` begin; where there are not so many, the end. No view is made: most of a hello is stepped over. */
  #step(bytes: number): number {
    const at = this.#at;
    const end = at + bytes;
    if (this.failed || end > this.#bytes.length) {
      this.failed = true;
      this.#at = this.#bytes.length;
      return this.#at;
    }
    this.#at = end;
    return at;
  }
}
