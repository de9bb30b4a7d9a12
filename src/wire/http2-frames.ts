/**
 * HTTP/2 frames (RFC 9113 sections 3.4, 4.1, 6): cuts what comes into whole frames, and writes the heads of those that go.
 * Knows no stream and judges no payload; what is wrong comes back as a fault, and nothing throws (threats 8, 37).
 */

/** RFC 9113 section 6. */
export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** `ack` of SETTINGS and PING, `endStream` of DATA and HEADERS. */
export const FLAG = { ack: 0x1, endStream: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** RFC 9113 section 7. */
export const H2_CODE = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  enhanceYourCalm: 11,
} as const;

/** An error of the connection: it ends with this code. `detail` is for the record. */
export interface H2Fault {
  readonly code: number;
  readonly detail: string;
}

export interface FrameSink {
  /** A whole frame; its payload is `bytes` from `start` to `end`, which is good for this call only. False stops behind it. */
  onFrame(type: number, flags: number, stream: number, bytes: Buffer, start: number, end: number): boolean;
}

export const FRAME_HEAD_BYTES = 9;
/** What SETTINGS_MAX_FRAME_SIZE begins with, and its least: we announce no more and send no more. */
export const MAX_PAYLOAD_BYTES = 16_384;
/** RFC 9113 section 3.4. */
export const CLIENT_PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const MAX_STREAM_ID = 0x7fffffff;

export class FrameReader {
  /** How much of the client's preface is still to come. */
  #prefaceLeft: number;
  /** The beginning of a frame whose end has not come: a whole head and room for its payload, or less than a head. */
  #partial: Buffer | undefined;
  #have = 0;
  #rest: Buffer | undefined;

  constructor(role: 'server' | 'client') {
    this.#prefaceLeft = role === 'server' ? CLIENT_PREFACE.length : 0;
  }

  /** Gives every whole frame to `sink`, in order, and keeps what is not whole yet. A fault is final. */
  feed(chunk: Buffer, sink: FrameSink): H2Fault | undefined {
    let at = 0;
    if (this.#prefaceLeft > 0) {
      at = this.#skipPreface(chunk);
      if (at < 0) return { code: H2_CODE.protocolError, detail: 'not the preface of HTTP/2' };
    }
    while (this.#partial !== undefined) {
      if (at === chunk.length) return undefined;
      at = this.#fill(this.#partial, chunk, at);
      const whole = this.#takeWhole();
      if (whole === 'too_long') return TOO_LONG;
      if (whole !== undefined && !give(whole, 0, whole.length, sink)) return this.#stopAt(chunk, at);
    }
    while (chunk.length - at >= FRAME_HEAD_BYTES) {
      const length = lengthAt(chunk, at);
      if (length > MAX_PAYLOAD_BYTES) return TOO_LONG;
      const end = at + FRAME_HEAD_BYTES + length;
      if (end > chunk.length) break;
      if (!give(chunk, at, end, sink)) return this.#stopAt(chunk, end);
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at);
    return undefined;
  }

  /** What of the last chunk lies behind the frame at which `sink` stopped, once; undefined where that is nothing. */
  takeRest(): Buffer | undefined {
    const rest = this.#rest;
    this.#rest = undefined;
    return rest;
  }

  #stopAt(chunk: Buffer, at: number): undefined {
    if (at < chunk.length) this.#rest = chunk.subarray(at);
  }

  /** The index behind what belongs to the preface, or -1. */
  #skipPreface(chunk: Buffer): number {
    const from = CLIENT_PREFACE.length - this.#prefaceLeft;
    const bytes = Math.min(this.#prefaceLeft, chunk.length);
    this.#prefaceLeft -= bytes;
    return chunk.compare(CLIENT_PREFACE, from, from + bytes, 0, bytes) === 0 ? bytes : -1;
  }

  #keep(chunk: Buffer, at: number): void {
    const bytes = chunk.length - at;
    const room = bytes < FRAME_HEAD_BYTES ? 0 : lengthAt(chunk, at);
    this.#partial = Buffer.allocUnsafe(FRAME_HEAD_BYTES + room);
    this.#have = chunk.copy(this.#partial, 0, at);
  }

  #fill(partial: Buffer, chunk: Buffer, at: number): number {
    const copied = chunk.copy(partial, this.#have, at, at + partial.length - this.#have);
    this.#have += copied;
    return at + copied;
  }

  /** The partial frame where it is whole by now; a head that is whole gets room for its payload. */
  #takeWhole(): Buffer | 'too_long' | undefined {
    const partial = this.#partial as Buffer;
    if (this.#have < partial.length) return undefined;
    const whole = FRAME_HEAD_BYTES + lengthAt(partial, 0);
    if (whole > FRAME_HEAD_BYTES + MAX_PAYLOAD_BYTES) return 'too_long';
    if (whole === partial.length) {
      this.#partial = undefined;
      return partial;
    }
    this.#partial = Buffer.allocUnsafe(whole);
    partial.copy(this.#partial);
    return undefined;
  }
}

const TOO_LONG: H2Fault = { code: H2_CODE.frameSizeError, detail: 'a frame of more than 16,384 bytes' };

/** Writes the head of a frame and returns the index behind it. */
export function putFrameHead(
  out: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  stream: number,
): number {
  out[at] = length >>> 16;
  out[at + 1] = length >>> 8;
  out[at + 2] = length;
  out[at + 3] = type;
  out[at + 4] = flags;
  return putUint32(out, at + 5, stream);
}

export function putUint32(out: Buffer, at: number, value: number): number {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
  return at + 4;
}

/** 31 bits: the first one is reserved wherever HTTP/2 has a number of this size that counts (RFC 9113 sections 4.1, 6.9). */
export function uint31At(bytes: Buffer, at: number): number {
  return uint32At(bytes, at) & MAX_STREAM_ID;
}

export function uint32At(bytes: Buffer, at: number): number {
  const high = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16);
  return (high | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number)) >>> 0;
}

function lengthAt(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
}

function give(bytes: Buffer, at: number, end: number, sink: FrameSink): boolean {
  const stream = uint31At(bytes, at + 5);
  return sink.onFrame(bytes[at + 3] as number, bytes[at + 4] as number, stream, bytes, at + FRAME_HEAD_BYTES, end);
}
