/**
 * What one HTTP/2 connection sends: frames are put one behind the other into a buffer, and all that gathered in a turn of the
 * event loop, of however many streams, leaves in one write and so in as few TLS records as can be.
 * One write is under way at a time. Frames that cannot wait always find room here; whoever has a choice asks `room` first.
 */
import type { TLSSocket } from 'node:tls';

/** Four full frames. With a write of as much under way this is what a connection holds for a peer that does not read. */
const BUFFER_BYTES = 64 * 1024;
/** Less room than this is not worth a frame. */
const LITTLE_BYTES = 1_024;
/** Buffers kept for the next turn, of all connections. */
const MAX_SPARE = 64;
/** Of frames that could not wait: the peer makes us say so much and does not read it. */
const CLOGGED_BYTES = 256 * 1024;
const NOTHING = Buffer.alloc(0);
const spare: Buffer[] = [];
/** What has frames to send at the end of this turn. */
let gathering: H2Output[] = [];

export interface OutputOwner {
  /** A write has left, so that there may be room again. */
  onWritten(): void;
  /** Nothing that makes us say more should be read, or may be again. */
  onClogged(clogged: boolean): void;
}

export class H2Output {
  /** Where the next frame goes, once `reserve` has seen to its room; who writes there moves `at` on. */
  buffer: Buffer = NOTHING;
  at = 0;
  readonly #socket: TLSSocket;
  readonly #owner: OutputOwner;
  /** Buffers before this one, that wait for the write under way. */
  #full: Buffer[] = [];
  #fullBytes = 0;
  #clogged = false;
  #gathers = false;
  #writing = false;
  #finished = false;

  constructor(socket: TLSSocket, owner: OutputOwner) {
    this.#socket = socket;
    this.#owner = owner;
  }

  /** Bytes of frames, heads included, that may be added by who could wait. */
  get room(): number {
    if (this.buffer === NOTHING) return BUFFER_BYTES;
    if (this.#full.length > 0) return 0;
    const left = this.buffer.length - this.at;
    if (left >= LITTLE_BYTES) return left;
    if (this.#writing) return 0;
    this.#flush();
    return BUFFER_BYTES;
  }

  /** Makes `buffer` have room for so many bytes from `at`, and sees to it that they leave at the end of the turn. */
  reserve(bytes: number): void {
    if (this.buffer.length - this.at < bytes) this.#widen(bytes);
    if (this.#gathers) return;
    this.#gathers = true;
    if (gathering.push(this) === 1) setImmediate(flushAll);
  }

  put(frame: Buffer): void {
    this.reserve(frame.length);
    this.at += frame.copy(this.buffer, this.at);
  }

  endOfTurn(): void {
    this.#gathers = false;
    if (!this.#writing) this.#flush();
  }

  /** Sends all that there is, and then our end of the connection. What comes after that goes nowhere. */
  finish(): void {
    if (this.#finished) return;
    // What waits behind a write may lie where it is: nothing is added to it any more.
    if (this.#writing) for (const part of [...this.#full, this.buffer.subarray(0, this.at)]) this.#socket.write(part);
    else this.#flush();
    this.#finished = true;
    this.#full = [];
    this.buffer = NOTHING;
    this.at = 0;
    this.#socket.end();
  }

  #flush(): void {
    if (this.at === 0) return;
    if (!this.#finished) {
      this.#writing = true;
      const last = this.buffer.subarray(0, this.at);
      // TLS has made its records of the bytes by the time write() returns, since no other write is before it.
      this.#socket.write(this.#full.length === 0 ? last : Buffer.concat([...this.#full, last]), this.#written);
    }
    this.#full = [];
    this.#fullBytes = 0;
    this.#release();
  }

  #widen(bytes: number): void {
    if (!this.#writing) this.#flush();
    if (this.at > 0) {
      this.#full.push(this.buffer.subarray(0, this.at));
      this.#fullBytes += this.at;
      this.at = 0;
      if (this.#fullBytes > CLOGGED_BYTES) this.#noteClogged(true);
    } else this.#release();
    const wide = bytes > BUFFER_BYTES ? Buffer.allocUnsafeSlow(bytes) : spare.pop();
    this.buffer = wide ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
  }

  #release(): void {
    if (this.buffer.length === BUFFER_BYTES && spare.length < MAX_SPARE) spare.push(this.buffer);
    this.buffer = NOTHING;
    this.at = 0;
  }

  #noteClogged(clogged: boolean): void {
    if (this.#clogged === clogged) return;
    this.#clogged = clogged;
    this.#owner.onClogged(clogged);
  }

  readonly #written = (): void => {
    this.#writing = false;
    this.#owner.onWritten();
    if (this.at > 0) this.reserve(0);
    if (this.#fullBytes === 0) this.#noteClogged(false);
  };
}

function flushAll(): void {
  const ready = gathering;
  gathering = [];
  for (const output of ready) output.endOfTurn();
}
