/**
 * Two ends of a connection in this process, each as a socket is used: what is written is copied at once, as the kernel and
 * TLS do, comes in the pieces it was written in, and is confirmed once the other end has taken it.
 */
import { Duplex } from 'node:stream';

export function memorySockets(): readonly [MemorySocket, MemorySocket] {
  const one = new MemorySocket();
  const other = new MemorySocket();
  one.joinTo(other);
  other.joinTo(one);
  return [one, other];
}

export class MemorySocket extends Duplex {
  #other: MemorySocket | undefined;
  /** Of a write that the other end has not taken: it has as much as it wants to hold. */
  #taken: (() => void) | undefined;

  joinTo(other: MemorySocket): void {
    this.#other = other;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const other = this.#other;
    if (other === undefined || other.destroyed || other.push(Buffer.from(chunk))) setImmediate(done);
    else this.#taken = done;
  }

  override _read(): void {
    this.#other?.onTaken();
  }

  override _final(done: () => void): void {
    this.#other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const other = this.#other;
    this.#other = undefined;
    setImmediate(() => other?.destroy());
    done(error);
  }

  onTaken(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    if (taken !== undefined) setImmediate(taken);
  }
}
