/** Our HTTP/2 session as a server, over a connection in memory, with its peer frame by frame. */
import type { HeaderList } from '../../../src/domain/facts.ts';
import { H2Session, type SessionOwner } from '../../../src/proxy/h2-session.ts';
import type { H2Stream, NeverIndexed } from '../../../src/proxy/h2-stream.ts';
import { type Frame, frame } from '../../kit/h2-wire.ts';
import { type MemorySocket, memorySockets } from '../../kit/memory-socket.ts';
import { nextTurn } from '../../kit/within.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const HEADER_BYTES = 9;
/** Turns of the event loop in which whatever can move does. */
const STILL_TURNS = 50;
const LIMITS = { maxListBytes: 65_536, maxFields: 256, now: () => 0 };

/** A session as a server, its peer at hand, and what it was told. */
export class MemoryScene implements SessionOwner {
  readonly near: MemorySocket;
  readonly session: H2Session;
  readonly streams: H2Stream[] = [];
  readonly clogged: boolean[] = [];
  #received = Buffer.alloc(0);

  constructor() {
    const [near, far] = memorySockets();
    this.near = near;
    this.session = new H2Session('server', far as never, LIMITS, this);
    this.session.start([]);
    near.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    near.write(Buffer.concat([PREFACE, frame('settings', 0, 0)]));
  }

  get frames(): readonly Frame[] {
    const all: Frame[] = [];
    for (let at = 0; at + HEADER_BYTES <= this.#received.length; ) {
      const end = at + HEADER_BYTES + this.#received.readUIntBE(at, 3);
      const [type = 0, flags = 0] = this.#received.subarray(at + 3, at + 5);
      const payload = this.#received.subarray(at + HEADER_BYTES, end);
      all.push({ type, flags, stream: this.#received.readUInt32BE(at + 5), payload });
      at = end;
    }
    return all;
  }

  /** Once nothing moves any more. */
  async still(): Promise<void> {
    for (let turn = 0, seen = -1; turn < STILL_TURNS; turn++) {
      const now = this.#received.length + this.streams.length;
      if (now !== seen) turn = 0;
      seen = now;
      await nextTurn();
    }
  }

  onStream(stream: H2Stream, _list: HeaderList | undefined, _never: NeverIndexed, _endStream: boolean): void {
    this.streams.push(stream);
    this.answer(stream);
  }

  answer: (stream: H2Stream) => void = () => undefined;
  onClogged(clogged: boolean): void {
    this.clogged.push(clogged);
    this.session.pause(clogged);
  }
  onReady(): void {}
  onLeaving(): void {}
  onRoom(): void {}
  onBroken(): void {}
  onClosed(): void {}
}
