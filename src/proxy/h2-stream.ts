/**
 * One stream of an H2Session: its state, its windows, and what waits to be sent on it. Does not know what it is for: that is
 * its user, an exchange or a relay.
 */
import type { HeaderList } from '../domain/facts.ts';
import { ByteQueue } from '../wire/byte-queue.ts';
import { H2_CODE } from '../wire/http2-frames.ts';
import { ReceiveWindow, SendWindow } from '../wire/http2-windows.ts';
import type { H2Session } from './h2-session.ts';

/** Names whose fields must go into no compression context (RFC 7541 section 6.2.3). */
export type NeverIndexed = ReadonlySet<string> | undefined;

/** What a stream is for. Nothing is called any more once we have closed it. */
export interface StreamUser {
  /** To a client: the head of the response, or an interim one. */
  onHead(list: HeaderList, neverIndexed: NeverIndexed, endStream: boolean): void;
  /** DATA, maybe none, good for this call only; and whether it was the last. */
  onData(bytes: Buffer, start: number, end: number, last: boolean): void;
  /** The end of what the peer sends, by trailers. */
  onTrailers(list: HeaderList, neverIndexed: NeverIndexed): void;
  /** So many bytes of DATA have left. */
  onSent(bytes: number): void;
  /** Closed by the peer with `code`; or by us, for what the peer did: then `fault` says what. */
  onReset(code: number, fault: string | undefined): void;
  /** The connection is gone. */
  onLost(why: string): void;
}

/** Of a stream whose owner has not said yet what it is for. */
export const NOBODY: StreamUser = {
  onHead: () => undefined,
  onData: () => undefined,
  onTrailers: () => undefined,
  onSent: () => undefined,
  onReset: () => undefined,
  onLost: () => undefined,
};

/** curl 7.88 takes a reset that comes before it has sent its body for the failure of a request that was answered. */
const LATE_RESET_MS = 50;

interface End {
  readonly trailers: HeaderList | undefined;
  readonly neverIndexed: NeverIndexed;
}

const PLAIN_END: End = { trailers: undefined, neverIndexed: undefined };

/**
 * The states of RFC 9113 section 5.1:
 *
 *   open                  neither has ended      heads, DATA, trailers and RST_STREAM may come, and all may go
 *   half-closed (remote)  `peerEnded`            RST_STREAM and WINDOW_UPDATE may come
 *   half-closed (local)   `ended`                RST_STREAM and WINDOW_UPDATE may go
 *   closed                out of the table       nothing goes; what may come, H2Receiver says
 *
 * An exchange is over with its response. What of the request is not whole by then is wanted by nobody, and RST_STREAM says so
 * (section 8.1): to an origin at once, to an agent a moment later, since what it is just sending may be the end.
 */
export class H2Stream {
  readonly id: number;
  user: StreamUser;
  /** END_STREAM has come. */
  peerEnded = false;
  /** END_STREAM has gone out. */
  ended = false;
  closed = false;
  /** The request has come, or the final head of the response: what comes now is its body or its trailers. */
  headCame = false;
  /** What Content-Length still promises of it; below zero where it does not say. */
  owed = -1;
  readonly sending: SendWindow;
  readonly #receiving: ReceiveWindow;
  readonly #session: H2Session;
  #waiting: ByteQueue | undefined;
  /** How our side ends once all that waits has left. */
  #end: End | undefined;

  constructor(session: H2Session, id: number, sendBytes: number, receiveBytes: number, user: StreamUser) {
    this.#session = session;
    this.id = id;
    this.user = user;
    this.sending = new SendWindow(sendBytes);
    this.#receiving = new ReceiveWindow(receiveBytes);
  }

  /** A head; of a response also an interim one. */
  sendHead(list: HeaderList, neverIndexed: NeverIndexed, endStream: boolean): void {
    if (this.closed || this.ended) return;
    this.#session.writer.headers(this.id, list, neverIndexed, endStream);
    if (endStream) this.#onEnded();
  }

  /** DATA that leaves now, or as soon as windows and connection have room for it. */
  sendData(bytes: Buffer, start: number, end: number, last: boolean): void {
    if (this.closed || this.ended || this.#end !== undefined) return;
    if (last) this.#end = PLAIN_END;
    if (this.#waiting !== undefined && this.#waiting.length > 0) {
      this.#waiting.push(bytes, start, end);
      return;
    }
    const sent = this.#session.sendData(this, bytes, start, end, last);
    if (sent > 0) this.user.onSent(sent);
    // Whoever was told may have closed the stream.
    if (this.closed) return;
    if (start + sent === end) {
      if (last) this.#finish(sent > 0);
      return;
    }
    this.#waiting ??= new ByteQueue();
    this.#waiting.push(bytes, start + sent, end);
    if (this.sending.left > 0) this.#session.awaitRoom(this);
  }

  /** Ends our side; `trailers` where there are some. */
  finish(trailers: HeaderList | undefined, neverIndexed: NeverIndexed): void {
    if (this.closed || this.ended || this.#end !== undefined) return;
    this.#end = trailers === undefined ? PLAIN_END : { trailers, neverIndexed };
    if (this.#waiting === undefined || this.#waiting.length === 0) this.#finish(false);
  }

  /** Sends one frame of what waits. True where there is more that could leave. */
  sendWaiting(): boolean {
    const waiting = this.#waiting;
    if (this.closed || waiting === undefined || waiting.length === 0) return false;
    const last = this.#end !== undefined && this.#end.trailers === undefined;
    const sent = this.#session.sendWaiting(this, waiting, last);
    if (sent > 0) this.user.onSent(sent);
    if (waiting.length > 0) return this.sending.left > 0;
    if (this.#end !== undefined) this.#finish(last);
    return false;
  }

  /** RST_STREAM, and what waits is dropped. */
  reset(code: number): void {
    if (this.closed) return;
    if (!this.ended || !this.peerEnded) this.#session.reset(this, code);
    this.close();
  }

  /** As reset, for what the peer did: it can do so only so often. */
  resetForFault(code: number): void {
    this.reset(code);
    this.#session.noteFault();
  }

  /** Closed, whatever the reason; says nothing. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#waiting?.clear();
    this.#session.forget(this);
  }

  /** So many bytes of DATA came. False where the peer was not free to send them. */
  takeWindow(bytes: number): boolean {
    return this.#receiving.take(bytes);
  }

  /** So many of them have gone on. */
  giveBack(bytes: number): void {
    if (this.closed || this.peerEnded) return;
    const increment = this.#receiving.giveBack(bytes);
    if (increment > 0) this.#session.writer.windowUpdate(this.id, increment);
  }

  /** We may send so many bytes more, or fewer. False where a window must not be as wide. */
  widen(by: number): boolean {
    if (!this.sending.widen(by)) return false;
    if (this.sending.left > 0 && this.#waiting !== undefined && this.#waiting.length > 0) this.#session.awaitRoom(this);
    return true;
  }

  /** So much of a body came. False where Content-Length said otherwise. */
  countBody(bytes: number, last: boolean): boolean {
    if (this.owed < 0) return true;
    if (bytes > this.owed) return false;
    this.owed -= bytes;
    return !last || this.owed === 0;
  }

  /** END_STREAM came, and the user has been told. */
  onPeerEnded(): void {
    if (this.ended) this.close();
    else if (this.#session.role === 'client') this.reset(H2_CODE.internalError);
  }

  /** `said`: END_STREAM went with the last of the DATA. */
  #finish(said: boolean): void {
    if (this.closed || this.#end === undefined) return;
    const { trailers, neverIndexed } = this.#end;
    if (trailers !== undefined) this.#session.writer.headers(this.id, trailers, neverIndexed, true);
    else if (!said) this.#session.writer.dataHead(this.id, 0, true);
    this.#onEnded();
  }

  #onEnded(): void {
    this.ended = true;
    if (this.peerEnded) this.close();
    else if (this.#session.role === 'server') setTimeout(resetLate, LATE_RESET_MS, this);
  }
}

function resetLate(stream: H2Stream): void {
  stream.reset(H2_CODE.noError);
}
