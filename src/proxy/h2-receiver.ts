/**
 * Reads what comes on one HTTP/2 connection: each frame held to RFC 9113 sections 5.1 and 6, and to the limits that end a flood
 * (threats 8, 10, 37). What breaks the rules of a stream resets it, all else ends the connection.
 *
 * Of a stream that is not in the table (see H2Stream for those that are):
 *   idle     a greater id than any before: HEADERS opens it to a server; anything else but PRIORITY is an error
 *   reset    we have reset it, and the peer may not have known: its frames count for the connection, and are let pass
 *   closed   DATA and HEADERS are an error, RST_STREAM and WINDOW_UPDATE may have crossed our last frame
 */
import { TokenBucket } from '../domain/token-bucket.ts';
import { HpackDecoder } from '../wire/hpack-decoder.ts';
import { HeaderBlock } from '../wire/http2-block.ts';
import { FLAG, FRAME, FrameReader, type FrameSink, H2_CODE, uint31At, uint32At } from '../wire/http2-frames.ts';
import { SETTINGS_ACK } from '../wire/http2-settings.ts';
import type { H2Session } from './h2-session.ts';
import type { H2Stream, NeverIndexed } from './h2-stream.ts';

/** As nginx and most origins announce. */
export const MAX_STREAMS = 128;
/** Of our own, which is what RFC 7541 begins with. */
const TABLE_BYTES = 4_096;
/** Streams that an agent resets, or makes us reset, as nghttp2 (CVE-2023-44487, CVE-2025-8671). */
const RESETS = { burst: 1_000, perSecond: 33 };
/** Frames that bring nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, what is unknown or comes too late. */
const IDLE_FRAMES = { burst: 5_000, perSecond: 500 };
/** What a stream or a frame of DATA entitles to in frames that bring nothing; Envoy allows as many WINDOW_UPDATE. */
const EARNED = 10;
/** DATA of less than this for a stream that was reset counts as a frame that brings nothing. */
const LITTLE_DATA_BYTES = 256;
const PRIORITY_BYTES = 5;
const PING_BYTES = 8;
const GOAWAY_BYTES = 8;
const WINDOW_UPDATE_BYTES = 4;
const RST_BYTES = 4;

export interface ReceiverLimits {
  /** Of a decoded header list, as RFC 9113 section 6.5.2 counts. */
  readonly maxListBytes: number;
  readonly maxFields: number;
  /** In milliseconds. */
  readonly now: () => number;
}

export class H2Receiver implements FrameSink {
  readonly #session: H2Session;
  readonly #frames: FrameReader;
  readonly #block: HeaderBlock;
  readonly #decoder: HpackDecoder;
  readonly #now: () => number;
  readonly #resets: TokenBucket;
  readonly #idle: TokenBucket;
  #settingsCame = false;
  /** Streams that came in this turn: those that are refused at once could come by the thousand in one chunk. */
  #opened = 0;

  constructor(session: H2Session, limits: ReceiverLimits) {
    this.#session = session;
    this.#frames = new FrameReader(session.role);
    // Huffman's code may make text longer; twice is more than any list that is within its limit has come to.
    this.#block = new HeaderBlock(2 * limits.maxListBytes);
    this.#decoder = new HpackDecoder({ maxTableBytes: TABLE_BYTES, ...limits });
    this.#now = limits.now;
    this.#resets = new TokenBucket(RESETS.perSecond, RESETS.burst, limits.now());
    this.#idle = new TokenBucket(IDLE_FRAMES.perSecond, IDLE_FRAMES.burst, limits.now());
  }

  /** Gives back what was not read because of a pause, or because that is enough for one turn. */
  read(chunk: Buffer): Buffer | undefined {
    if (this.#session.over) return undefined;
    this.#opened = 0;
    const fault = this.#frames.feed(chunk, this);
    if (fault !== undefined) this.#session.fail(fault.code, fault.detail);
    return this.#session.over ? undefined : this.#frames.takeRest();
  }

  /** We have sent DATA, of which the peer may tell that it came. */
  entitle(): void {
    this.#idle.earn(EARNED);
  }

  /** A stream was reset by the peer, or for what it did (MadeYouReset). An origin has no more of them than agents ask for. */
  noteReset(): void {
    if (this.#session.role === 'server' && !this.#resets.take(this.#now())) this.#flooded();
  }

  onFrame(type: number, flags: number, id: number, bytes: Buffer, start: number, end: number): boolean {
    if (!this.#settingsCame && (type !== FRAME.settings || (flags & FLAG.ack) !== 0)) {
      this.#fail(H2_CODE.protocolError, 'the first frame is not SETTINGS');
    } else if (this.#block.stream !== 0 && (type !== FRAME.continuation || id !== this.#block.stream)) {
      this.#fail(H2_CODE.protocolError, 'a frame in the middle of a header block');
    } else this.#dispatch(type, flags, id, bytes, start, end);
    return !this.#session.stopped && this.#opened < MAX_STREAMS;
  }

  #dispatch(type: number, flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (type === FRAME.data) this.#onData(flags, id, bytes, start, end);
    else if (type === FRAME.headers) this.#onHeaders(flags, id, bytes, start, end);
    else if (type === FRAME.windowUpdate) this.#onWindowUpdate(id, bytes, start, end);
    else if (type === FRAME.continuation) this.#onContinuation(flags, bytes, start, end);
    else if (type === FRAME.rstStream) this.#onReset(id, bytes, start, end);
    else if (type === FRAME.pushPromise) this.#fail(H2_CODE.protocolError, 'PUSH_PROMISE');
    else if (!this.#idle.take(this.#now())) this.#flooded();
    else if (type === FRAME.settings) this.#onSettings(flags, id, bytes, start, end);
    else if (type === FRAME.ping) this.#onPing(flags, id, bytes, start, end);
    else if (type === FRAME.goaway) this.#onGoaway(id, bytes, start, end);
    else if (type === FRAME.priority) this.#onPriority(id, end - start);
  }

  /** Read and let be (RFC 9113 section 5.3.2). */
  #onPriority(id: number, length: number): void {
    if (id === 0) this.#fail(H2_CODE.protocolError, 'PRIORITY on stream 0');
    else if (length !== PRIORITY_BYTES) this.#wrongSize('PRIORITY');
  }

  #onData(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    const session = this.#session;
    const length = end - start;
    const padding = (flags & FLAG.padded) === 0 ? 0 : 1 + (bytes[start] ?? 0);
    if (id === 0 || padding > length) return this.#fail(H2_CODE.protocolError, 'DATA on stream 0, or all padding');
    if (!session.receiving.take(length)) return this.#fail(H2_CODE.flowControlError, 'more DATA than was allowed');
    const increment = session.receiving.giveBack(length);
    if (increment > 0) session.writer.windowUpdate(0, increment);
    const stream = session.streams.get(id);
    if (stream === undefined) return this.#onLate(id, 'DATA', length);
    const last = (flags & FLAG.endStream) !== 0;
    if (length === padding && !last && !this.#idle.take(this.#now())) return this.#flooded();
    if (stream.peerEnded) return this.#fault(stream, H2_CODE.streamClosed, 'DATA after the end');
    if (!stream.takeWindow(length)) return this.#fault(stream, H2_CODE.flowControlError, 'more DATA than was allowed');
    if (session.role === 'client' && !stream.headCame)
      return this.#fault(stream, H2_CODE.protocolError, 'DATA before a head');
    if (!stream.countBody(length - padding, last)) return this.#fault(stream, H2_CODE.protocolError, WRONG_LENGTH);
    const from = padding === 0 ? start : start + 1;
    stream.peerEnded = last;
    if (padding > 0) stream.giveBack(padding);
    stream.user.onData(bytes, from, from + length - padding, last);
    if (last) stream.onPeerEnded();
  }

  #onHeaders(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    const padded = (flags & FLAG.padded) !== 0;
    const from = start + (padded ? 1 : 0) + ((flags & FLAG.priority) === 0 ? 0 : PRIORITY_BYTES);
    const to = end - (padded ? (bytes[start] ?? 0) : 0);
    if (id % 2 === 0 || from > to)
      return this.#fail(H2_CODE.protocolError, 'HEADERS on a stream of ours, or all padding');
    const endStream = (flags & FLAG.endStream) !== 0;
    if ((flags & FLAG.endHeaders) === 0) this.#block.begin(id, endStream, bytes, from, to);
    else this.#onBlock(id, endStream, bytes, from, to);
  }

  #onContinuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const block = this.#block;
    if (block.stream === 0) return this.#fail(H2_CODE.protocolError, 'CONTINUATION without a block');
    const fault = block.add(bytes, start, end);
    if (fault !== undefined) return this.#fail(fault.code, fault.detail);
    if ((flags & FLAG.endHeaders) === 0) return;
    const { stream, endStream } = block;
    const whole = block.end();
    this.#onBlock(stream, endStream, whole, 0, whole.length);
  }

  /** A whole header block. It is decoded whatever becomes of its stream, or HPACK would be out of step. */
  #onBlock(id: number, endStream: boolean, bytes: Buffer, start: number, end: number): void {
    const decoded = this.#decoder.decode(bytes, start, end);
    if (decoded.kind === 'broken') return this.#fail(H2_CODE.compressionError, decoded.detail);
    const list = decoded.kind === 'fields' ? decoded.list : undefined;
    const neverIndexed = decoded.kind === 'fields' ? decoded.neverIndexed : undefined;
    const stream = this.#session.streams.get(id);
    if (stream === undefined) this.#onNew(id, list, neverIndexed, endStream);
    else if (stream.peerEnded) this.#fault(stream, H2_CODE.streamClosed, 'HEADERS after the end');
    else if (list === undefined) this.#fault(stream, H2_CODE.enhanceYourCalm, 'a header list that is too large');
    else if (stream.headCame) this.#onTrailers(stream, list, neverIndexed, endStream);
    else {
      if (endStream) stream.peerEnded = true;
      stream.user.onHead(list, neverIndexed, endStream);
      if (endStream) stream.onPeerEnded();
    }
  }

  #onNew(id: number, list: readonly string[] | undefined, neverIndexed: NeverIndexed, endStream: boolean): void {
    const session = this.#session;
    if (session.role === 'client' || id <= session.lastPeerStream) return this.#onLate(id, 'HEADERS', 0);
    session.lastPeerStream = id;
    if (session.leaving || session.streams.size >= MAX_STREAMS) {
      if (!endStream) session.rememberReset(id);
      session.writer.reset(id, H2_CODE.refusedStream);
      this.noteReset();
      return;
    }
    this.#idle.earn(EARNED);
    this.#opened++;
    session.accept(id, list, neverIndexed, endStream);
  }

  #onTrailers(stream: H2Stream, list: readonly string[], neverIndexed: NeverIndexed, endStream: boolean): void {
    if (!endStream) return this.#fault(stream, H2_CODE.protocolError, 'a second head');
    if (!stream.countBody(0, true)) return this.#fault(stream, H2_CODE.protocolError, WRONG_LENGTH);
    stream.peerEnded = true;
    stream.user.onTrailers(list, neverIndexed);
    stream.onPeerEnded();
  }

  #onReset(id: number, bytes: Buffer, start: number, end: number): void {
    const session = this.#session;
    if (end - start !== RST_BYTES) return this.#wrongSize('RST_STREAM');
    const stream = session.streams.get(id);
    if (stream === undefined && this.#isIdle(id))
      return this.#fail(H2_CODE.protocolError, 'RST_STREAM of an idle stream');
    if (stream !== undefined) {
      stream.close();
      stream.user.onReset(uint32At(bytes, start), undefined);
    }
    this.noteReset();
  }

  #onWindowUpdate(id: number, bytes: Buffer, start: number, end: number): void {
    const session = this.#session;
    if (end - start !== WINDOW_UPDATE_BYTES) return this.#wrongSize('WINDOW_UPDATE');
    if (!this.#idle.take(this.#now())) return this.#flooded();
    const increment = uint31At(bytes, start);
    const stream = session.streams.get(id);
    if (id === 0) {
      if (increment === 0) return this.#fail(H2_CODE.protocolError, 'WINDOW_UPDATE by nothing');
      if (!session.sending.widen(increment)) return this.#fail(H2_CODE.flowControlError, 'a window that is too wide');
    } else if (stream === undefined) {
      if (this.#isIdle(id)) this.#fail(H2_CODE.protocolError, 'WINDOW_UPDATE of an idle stream');
      return;
    } else {
      if (increment === 0) return this.#fault(stream, H2_CODE.protocolError, 'WINDOW_UPDATE by nothing');
      if (!stream.widen(increment)) return this.#fault(stream, H2_CODE.flowControlError, 'a window that is too wide');
    }
    session.pump();
  }

  #onSettings(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    const session = this.#session;
    if (id !== 0) return this.#fail(H2_CODE.protocolError, 'SETTINGS of a stream');
    if ((flags & FLAG.ack) !== 0) {
      if (start !== end) this.#wrongSize('SETTINGS');
      return;
    }
    const before = session.peer.initialWindowBytes;
    const fault = session.peer.apply(bytes, start, end, session.role === 'server' ? 'client' : 'server');
    if (fault !== undefined) return this.#fail(fault.code, fault.detail);
    session.writer.limitTable(session.peer.headerTableBytes);
    for (const stream of session.streams.values()) {
      if (stream.widen(session.peer.initialWindowBytes - before)) continue;
      return this.#fail(H2_CODE.flowControlError, 'a window that is too wide');
    }
    session.writer.output.put(SETTINGS_ACK);
    if (!this.#settingsCame) session.owner.onReady();
    this.#settingsCame = true;
    session.owner.onRoom();
    session.pump();
  }

  #onPing(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) this.#fail(H2_CODE.protocolError, 'PING of a stream');
    else if (end - start !== PING_BYTES) this.#wrongSize('PING');
    else if ((flags & FLAG.ack) === 0) this.#session.writer.pong(bytes, start, end);
  }

  #onGoaway(id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) this.#fail(H2_CODE.protocolError, 'GOAWAY of a stream');
    else if (end - start < GOAWAY_BYTES) this.#wrongSize('GOAWAY');
    else this.#session.onGoaway(uint31At(bytes, start), uint32At(bytes, start + 4));
  }

  /** DATA or HEADERS of a stream that is not in the table. */
  #onLate(id: number, what: string, dataBytes: number): void {
    if (this.#isIdle(id)) this.#fail(H2_CODE.protocolError, `${what} of an idle stream`);
    else if (!this.#session.wasReset(id)) this.#fail(H2_CODE.streamClosed, `${what} of a closed stream`);
    // A window of DATA may be under way for each stream that its agent cancels.
    else if (dataBytes < LITTLE_DATA_BYTES && !this.#idle.take(this.#now())) this.#flooded();
  }

  #isIdle(id: number): boolean {
    const { role, nextStream, lastPeerStream } = this.#session;
    return id % 2 === 0 || (role === 'client' ? id >= nextStream : id > lastPeerStream);
  }

  /** An error of the stream (RFC 9113 section 5.4.2). */
  #fault(stream: H2Stream, code: number, detail: string): void {
    stream.reset(code);
    stream.user.onReset(code, detail);
    this.noteReset();
  }

  #wrongSize(what: string): void {
    this.#fail(H2_CODE.frameSizeError, `${what} of a wrong size`);
  }

  #flooded(): void {
    this.#fail(H2_CODE.enhanceYourCalm, 'too many frames that bring nothing, or streams that are reset');
  }

  #fail(code: number, detail: string): void {
    this.#session.fail(code, detail);
  }
}

const WRONG_LENGTH = 'a body of another length than content-length says';
