/**
 * The frames that one HTTP/2 connection sends, written where they leave from (H2Output). Header lists are always encoded here
 * and anew: no block is passed on as it came. Judges neither windows nor states.
 */
import type { TLSSocket } from 'node:tls';
import type { HeaderList } from '../domain/facts.ts';
import { HpackEncoder, worstCaseBytes } from '../wire/hpack-encoder.ts';
import { FLAG, FRAME, FRAME_HEAD_BYTES, MAX_PAYLOAD_BYTES, putFrameHead, putUint32 } from '../wire/http2-frames.ts';
import { H2Output, type OutputOwner } from './h2-output.ts';
import type { NeverIndexed } from './h2-stream.ts';

const GOAWAY_BYTES = 8;

export class H2Writer {
  readonly output: H2Output;
  readonly #encoder = new HpackEncoder();
  /** The list that was sent last, and the room that it took at most. */
  #lastList: HeaderList | undefined;
  #lastRoom = 0;

  constructor(socket: TLSSocket, owner: OutputOwner) {
    this.output = new H2Output(socket, owner);
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(bytes: number): void {
    this.#encoder.limitTable(bytes);
  }

  /** HEADERS, with CONTINUATION behind where one frame is too small. */
  headers(id: number, list: HeaderList, neverIndexed: NeverIndexed, endStream: boolean): void {
    const { output } = this;
    if (this.#lastList !== list) {
      this.#lastList = list;
      this.#lastRoom = FRAME_HEAD_BYTES + worstCaseBytes(list);
    }
    output.reserve(this.#lastRoom);
    const blockAt = output.at + FRAME_HEAD_BYTES;
    const end = this.#encoder.encode(list, neverIndexed, output.buffer, blockAt);
    const flags = endStream ? FLAG.endStream : 0;
    if (end - blockAt > MAX_PAYLOAD_BYTES) {
      this.#longBlock(id, Buffer.from(output.buffer.subarray(blockAt, end)), flags);
      return;
    }
    putFrameHead(output.buffer, output.at, end - blockAt, FRAME.headers, flags | FLAG.endHeaders, id);
    output.at = end;
  }

  /** The head of DATA with so many bytes, which go where this says. */
  dataHead(id: number, bytes: number, last: boolean): number {
    const { output } = this;
    output.reserve(FRAME_HEAD_BYTES + bytes);
    const payloadAt = putFrameHead(output.buffer, output.at, bytes, FRAME.data, last ? FLAG.endStream : 0, id);
    output.at = payloadAt + bytes;
    return payloadAt;
  }

  reset(id: number, code: number): void {
    this.#number(FRAME.rstStream, id, code);
  }

  windowUpdate(id: number, increment: number): void {
    this.#number(FRAME.windowUpdate, id, increment);
  }

  pong(bytes: Buffer, start: number, end: number): void {
    const { output } = this;
    output.reserve(FRAME_HEAD_BYTES + end - start);
    const at = putFrameHead(output.buffer, output.at, end - start, FRAME.ping, FLAG.ack, 0);
    output.at = at + bytes.copy(output.buffer, at, start, end);
  }

  goaway(lastStream: number, code: number): void {
    const { output } = this;
    output.reserve(FRAME_HEAD_BYTES + GOAWAY_BYTES);
    const at = putFrameHead(output.buffer, output.at, GOAWAY_BYTES, FRAME.goaway, 0, 0);
    output.at = putUint32(output.buffer, putUint32(output.buffer, at, lastStream), code);
  }

  #number(type: number, id: number, value: number): void {
    const { output } = this;
    output.reserve(FRAME_HEAD_BYTES + 4);
    output.at = putUint32(output.buffer, putFrameHead(output.buffer, output.at, 4, type, 0, id), value);
  }

  #longBlock(id: number, block: Buffer, flags: number): void {
    const { output } = this;
    for (let at = 0; at < block.length; at += MAX_PAYLOAD_BYTES) {
      const end = Math.min(block.length, at + MAX_PAYLOAD_BYTES);
      const type = at === 0 ? FRAME.headers : FRAME.continuation;
      const its = (at === 0 ? flags : 0) | (end === block.length ? FLAG.endHeaders : 0);
      output.reserve(FRAME_HEAD_BYTES + end - at);
      const to = putFrameHead(output.buffer, output.at, end - at, type, its, id);
      output.at = to + block.copy(output.buffer, to, at, end);
    }
  }
}
