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
    this.take(bytes);
  }

  uint8(): number {
    return this.take(1)[0] ?? 0;
  }

  uint16(): number {
    const bytes = this.take(2);
    return ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);
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
    const end = this.#at + bytes;
    if (this.failed || end > this.#bytes.length) {
      this.failed = true;
      this.#at = this.#bytes.length;
      return this.#bytes.subarray(this.#bytes.length);
    }
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}
