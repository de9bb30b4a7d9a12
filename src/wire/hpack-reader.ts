/**
 * A cursor over one header block of HPACK: integers and strings (RFC 7541 section 5), capped and never read past the
 * block's end. Knows nothing of fields and tables. Never throws: what is broken is told by `problem`.
 */
import { decodeHuffman } from './hpack-huffman.ts';

/** Beside the prefix. RFC 7541 section 5.1 lets a reader set limits; five hold 2^31-1, as nghttp2 takes them. */
const MAX_MORE_OCTETS = 5;
const MAX_INTEGER = 2 ** 31 - 1;
const HUFFMAN_FLAG = 0x80;
const EMPTY = Buffer.alloc(0);

export class HpackReader {
  at = 0;
  end = 0;
  /** Why the last integer or string could not be read. Stays until the next block. */
  problem: string | undefined = undefined;
  #block: Buffer = EMPTY;

  open(block: Buffer, start: number, end: number): void {
    this.#block = block;
    this.at = start;
    this.end = end;
    this.problem = undefined;
  }

  /** Lets go of the block, which may be a small part of what was read from a socket. */
  close(): void {
    this.#block = EMPTY;
  }

  /** The octet at the cursor, which must be before the end. */
  peek(): number {
    return this.#block[this.at] as number;
  }

  /** Section 5.1: an integer whose prefix has the bits of `mask`; -1 with a problem. The cursor is before the end. */
  integer(mask: number): number {
    let value = (this.#block[this.at++] as number) & mask;
    if (value < mask) return value;
    for (let nth = 0; nth < MAX_MORE_OCTETS && this.at < this.end; nth++) {
      const octet = this.#block[this.at++] as number;
      value += (octet & 0x7f) * 2 ** (7 * nth);
      if (octet < 0x80) return value <= MAX_INTEGER ? value : this.#broken('an integer over 2^31-1');
    }
    return this.#broken(this.at < this.end ? 'an integer of too many octets' : 'an integer that is cut off');
  }

  /** Section 5.2: a string, one char per octet; undefined with a problem. */
  text(): string | undefined {
    if (this.at >= this.end) {
      this.problem = 'a field that is cut off';
      return undefined;
    }
    const huffman = this.peek() >= HUFFMAN_FLAG;
    const length = this.integer(0x7f);
    if (length < 0) return undefined;
    const start = this.at;
    if (length > this.end - start) {
      this.problem = 'a string that is cut off';
      return undefined;
    }
    this.at = start + length;
    if (!huffman) return this.#block.toString('latin1', start, this.at);
    const text = decodeHuffman(this.#block, start, this.at);
    if (text === undefined) this.problem = 'a string that is not in the Huffman code';
    return text;
  }

  #broken(problem: string): -1 {
    this.problem = problem;
    return -1;
  }
}
