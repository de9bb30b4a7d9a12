/**
 * One header block in the making: HEADERS and the CONTINUATION frames behind it (RFC 9113 sections 4.3, 6.10). Bounded in
 * bytes and in frames, since nothing can be done with a block before its end (threat 37).
 */
import { H2_CODE, type H2Fault } from './http2-frames.ts';

/** A block of 64 KiB fits into four; whose frames are small may send some more of them. */
const MAX_CONTINUATIONS = 32;

export class HeaderBlock {
  /** The stream whose block is open; 0 where none is. */
  stream = 0;
  /** Of the HEADERS frame. */
  endStream = false;
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** HEADERS that do not end their block. */
  begin(stream: number, endStream: boolean, bytes: Buffer, start: number, end: number): void {
    this.stream = stream;
    this.endStream = endStream;
    this.#parts = [Buffer.from(bytes.subarray(start, end))];
    this.#bytes = end - start;
  }

  /** CONTINUATION. The answer is to end the connection: a block that is not read to its end leaves HPACK out of step. */
  add(bytes: Buffer, start: number, end: number): H2Fault | undefined {
    this.#bytes += end - start;
    if (start === end) return tooMuch('an empty CONTINUATION');
    if (this.#parts.length > MAX_CONTINUATIONS) return tooMuch('too many CONTINUATION frames');
    if (this.#bytes > this.#maxBytes) return tooMuch('a header block that is too large');
    this.#parts.push(Buffer.from(bytes.subarray(start, end)));
    return undefined;
  }

  /** The whole block; none is open after that. */
  end(): Buffer {
    const whole = Buffer.concat(this.#parts);
    this.#parts = [];
    this.stream = 0;
    return whole;
  }
}

function tooMuch(detail: string): H2Fault {
  return { code: H2_CODE.enhanceYourCalm, detail };
}
