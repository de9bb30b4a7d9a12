/**
 * One HTTP/2 connection, as the server of an agent or as the client of an origin: its table of streams, flow control, and how it
 * ends. What comes is read by H2Receiver, what goes is written by H2Writer.
 * A stream's window is given back as its bytes go on; the connection's at once, since it bounds nothing that its streams' do not.
 */
import type { TLSSocket } from 'node:tls';
import type { HeaderList } from '../domain/facts.ts';
import type { ByteQueue } from '../wire/byte-queue.ts';
import { CLIENT_PREFACE, FRAME_HEAD_BYTES, H2_CODE, MAX_PAYLOAD_BYTES } from '../wire/http2-frames.ts';
import { PeerSettings, SETTING, settingsFrame } from '../wire/http2-settings.ts';
import { DEFAULT_WINDOW_BYTES, ReceiveWindow, SendWindow } from '../wire/http2-windows.ts';
import { readDirectly } from './direct-reads.ts';
import { H2Receiver, type ReceiverLimits } from './h2-receiver.ts';
import { H2Stream, type NeverIndexed, NOBODY, type StreamUser } from './h2-stream.ts';
import { H2Writer } from './h2-writer.ts';

/** Of one stream: bounds what we hold of it for a side that is slow. */
const STREAM_WINDOW_BYTES = 256 * 1024;
/** Of the connection: must not bound the speed of a peer that is far away. */
const CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024;
const MAX_STREAM_ID = 0x7fffffff;
/** Streams that we reset of late: what was under way for them is no error. */
const MAX_REMEMBERED = 1_024;

export interface SessionOwner {
  /** To a server: a new stream, with its request; undefined for a list that is over the limits. */
  onStream(stream: H2Stream, list: HeaderList | undefined, neverIndexed: NeverIndexed, endStream: boolean): void;
  /** The peer's first SETTINGS are here. */
  onReady(): void;
  /** No stream can be opened any more; those that are open may go on. */
  onLeaving(): void;
  /** A stream has closed, and another may be opened. */
  onRoom(): void;
  /** The peer makes us say more than it reads; or it has read by now. */
  onClogged(clogged: boolean): void;
  /** The peer broke the protocol: the connection closes. */
  onBroken(detail: string): void;
  /** The connection is closed. */
  onClosed(error: Error | undefined): void;
}

export class H2Session {
  readonly role: 'server' | 'client';
  readonly owner: SessionOwner;
  readonly writer: H2Writer;
  readonly streams = new Map<number, H2Stream>();
  readonly peer = new PeerSettings();
  readonly sending = new SendWindow(DEFAULT_WINDOW_BYTES);
  readonly receiving = new ReceiveWindow(CONNECTION_WINDOW_BYTES);
  /** Of the streams that the peer opened, the highest. */
  lastPeerStream = 0;
  nextStream = 1;
  /** One side has said GOAWAY: no stream is opened any more. */
  leaving = false;
  /** Nothing is read any more. */
  over = false;
  readonly #socket: TLSSocket;
  readonly #receiver: H2Receiver;
  /** Streams with bytes that could go as soon as the connection has room. */
  readonly #waiting = new Set<H2Stream>();
  readonly #resetByUs = new Set<number>();
  #error: Error | undefined;
  #paused = false;

  constructor(role: 'server' | 'client', socket: TLSSocket, limits: ReceiverLimits, owner: SessionOwner) {
    this.role = role;
    this.owner = owner;
    this.#socket = socket;
    this.writer = new H2Writer(socket, {
      onWritten: () => this.pump(),
      onClogged: (clogged) => owner.onClogged(clogged),
    });
    this.#receiver = new H2Receiver(this, limits);
  }

  /** Says what a side says first, and begins to read. */
  start(settings: readonly (readonly [id: number, value: number])[]): void {
    const socket = this.#socket;
    const { output } = this.writer;
    if (this.role === 'client') output.put(CLIENT_PREFACE);
    output.put(settingsFrame([...settings, [SETTING.initialWindowBytes, STREAM_WINDOW_BYTES]]));
    this.writer.windowUpdate(0, CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES);
    // HTTP/2 knows no half-closed connection: a peer that sends its FIN is gone.
    socket.allowHalfOpen = false;
    socket.on('error', (error: Error) => {
      this.#error ??= error;
      // An alert that comes after the handshake ends no socket by itself.
      socket.destroy();
    });
    socket.once('end', () => socket.destroy());
    socket.once('close', () => this.#onClosed());
    // A peer may be gone before there were listeners.
    if (socket.destroyed) this.#onClosed();
    else if (socket.readableEnded) socket.destroy();
    else {
      readDirectly(socket, (chunk) => this.#read(chunk));
      socket.resume();
    }
  }

  /** A pause holds in the middle of a chunk too: a few bytes may unfold to very much (threats 8, 37). */
  #read(chunk: Buffer): void {
    const rest = this.#receiver.read(chunk);
    if (rest === undefined) return;
    this.#socket.pause();
    this.#socket.unshift(rest);
    if (!this.#paused) setImmediate(() => this.pause(this.#paused));
  }

  /** Nothing more of what came is to be read, for now or for ever. */
  get stopped(): boolean {
    return this.over || this.#paused;
  }

  /** Streams may be opened, now or when others have closed. */
  get usable(): boolean {
    return !this.leaving && !this.over;
  }

  get hasRoom(): boolean {
    return this.streams.size < this.peer.maxStreams;
  }

  /** A client's request; only where `usable` and `hasRoom`. */
  request(user: StreamUser, list: HeaderList, neverIndexed: NeverIndexed, endStream: boolean): H2Stream {
    const stream = this.#openStream(this.nextStream, user);
    this.nextStream += 2;
    stream.sendHead(list, neverIndexed, endStream);
    if (this.nextStream > MAX_STREAM_ID) this.#leave();
    return stream;
  }

  #openStream(id: number, user: StreamUser): H2Stream {
    const stream = new H2Stream(this, id, this.peer.initialWindowBytes, STREAM_WINDOW_BYTES, user);
    this.streams.set(id, stream);
    return stream;
  }

  /** A request of the peer. */
  accept(id: number, list: HeaderList | undefined, neverIndexed: NeverIndexed, endStream: boolean): void {
    const stream = this.#openStream(id, NOBODY);
    stream.headCame = true;
    stream.peerEnded = endStream;
    this.owner.onStream(stream, list, neverIndexed, endStream);
  }

  /** As much DATA as may go now; returns how much that was. END_STREAM goes with the end of it where it is the last. */
  sendData(stream: H2Stream, bytes: Buffer, start: number, end: number, last: boolean): number {
    let at = start;
    while (at < end) {
      const count = this.#mayGo(stream, end - at);
      if (count <= 0) break;
      const to = this.writer.dataHead(stream.id, count, last && at + count === end);
      bytes.copy(this.writer.output.buffer, to, at, at + count);
      at += count;
    }
    return at - start;
  }

  /** As sendData, one frame of what waits. */
  sendWaiting(stream: H2Stream, waiting: ByteQueue, last: boolean): number {
    const count = this.#mayGo(stream, waiting.length);
    if (count <= 0) return 0;
    const to = this.writer.dataHead(stream.id, count, last && count === waiting.length);
    waiting.take(this.writer.output.buffer, to, count);
    return count;
  }

  /** How many bytes of DATA may go in one frame now, and takes them from both windows; 0 or less: none. */
  #mayGo(stream: H2Stream, bytes: number): number {
    const room = Math.min(bytes, MAX_PAYLOAD_BYTES, this.writer.output.room - FRAME_HEAD_BYTES);
    const count = Math.min(room, stream.sending.left, this.sending.left);
    if (count <= 0) return 0;
    stream.sending.left -= count;
    this.sending.left -= count;
    this.#receiver.entitle();
    return count;
  }

  awaitRoom(stream: H2Stream): void {
    this.#waiting.add(stream);
  }

  /** Sends what waits, a frame of each stream in turn, for as long as there is room. */
  pump(): void {
    if (this.#waiting.size === 0) return;
    for (const stream of this.#waiting) {
      if (this.over || this.sending.left <= 0 || this.writer.output.room === 0) return;
      // What is added again comes behind all others.
      this.#waiting.delete(stream);
      if (stream.sendWaiting()) this.#waiting.add(stream);
    }
  }

  reset(stream: H2Stream, code: number): void {
    if (!stream.peerEnded) this.rememberReset(stream.id);
    this.writer.reset(stream.id, code);
  }

  /** The peer made us reset a stream. */
  noteFault(): void {
    this.#receiver.noteReset();
  }

  /** What still comes for such a stream is no error. */
  rememberReset(id: number): void {
    this.#resetByUs.add(id);
    if (this.#resetByUs.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#resetByUs;
    this.#resetByUs.delete(oldest as number);
  }

  wasReset(id: number): boolean {
    return this.#resetByUs.has(id);
  }

  forget(stream: H2Stream): void {
    this.streams.delete(stream.id);
    this.#waiting.delete(stream);
    if (this.leaving) this.#endWhenDone();
    else this.owner.onRoom();
  }

  /** GOAWAY; what is under way may end. */
  close(): void {
    if (this.over || this.leaving) return;
    this.leaving = true;
    this.writer.goaway(this.lastPeerStream, H2_CODE.noError);
    this.#endWhenDone();
  }

  /** The peer said GOAWAY. */
  onGoaway(lastStream: number, code: number): void {
    this.#leave();
    if (code !== H2_CODE.noError) {
      this.#end(`GOAWAY with code ${code}`);
      return;
    }
    // It has not looked at these (RFC 9113 section 6.8).
    const refused = this.role === 'server' ? [] : [...this.streams.values()].filter(({ id }) => id > lastStream);
    for (const stream of refused) {
      stream.close();
      stream.user.onReset(H2_CODE.refusedStream, undefined);
    }
    this.#endWhenDone();
  }

  /** An error of the connection (RFC 9113 section 5.4.1). */
  fail(code: number, detail: string): void {
    if (this.over) return;
    this.writer.goaway(this.lastPeerStream, code);
    this.owner.onBroken(detail);
    this.#end(detail);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  pause(paused: boolean): void {
    this.#paused = paused;
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  #leave(): void {
    if (this.leaving) return;
    this.leaving = true;
    this.owner.onLeaving();
  }

  #endWhenDone(): void {
    if (!this.over && this.streams.size === 0) this.#end('');
  }

  #end(why: string): void {
    this.over = true;
    this.#loseStreams(why);
    this.writer.output.finish();
    // An agent has a deadline for its end (H2Connection); an origin is waited for by nobody.
    if (this.role === 'client') this.#socket.destroy();
  }

  #onClosed(): void {
    this.over = true;
    this.leaving = true;
    this.#loseStreams(this.#error?.message ?? 'session closed');
    this.owner.onClosed(this.#error);
  }

  #loseStreams(why: string): void {
    for (const stream of [...this.streams.values()]) {
      if (stream.closed) continue;
      stream.close();
      stream.user.onLost(why);
    }
  }
}
