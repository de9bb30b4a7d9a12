/**
 * DNS over TCP (RFC 7766): messages with their length before them, answered in their order, one at a time. A stream
 * that sends no whole query in time, too long a one, or does not read its answers is closed (threat 37).
 */
import type { Socket } from 'node:net';
import type { DnsLimits } from './limits.ts';
import type { Reply } from './query-handler.ts';
import type { Source } from './sources.ts';

const LENGTH_BYTES = 2;

export class StreamDoor {
  readonly #limits: DnsLimits;
  readonly #handle: (message: Buffer, source: Source) => Reply;
  readonly #open = new Set<Socket>();

  constructor(limits: DnsLimits, handle: (message: Buffer, source: Source) => Reply) {
    this.#limits = limits;
    this.#handle = handle;
  }

  accept(socket: Socket, source: Source): void {
    const { maxStreams, maxStreamsPerAgent } = this.#limits;
    if (this.#open.size >= maxStreams || source.share.openStreams >= maxStreamsPerAgent) {
      socket.resetAndDestroy();
      return;
    }
    source.share.openStreams++;
    this.#open.add(socket);
    socket.once('close', () => {
      source.share.openStreams--;
      this.#open.delete(socket);
    });
    socket.on('error', () => socket.destroy());
    void this.#serve(socket, source);
  }

  close(): void {
    for (const socket of this.#open) socket.destroy();
  }

  async #serve(socket: Socket, source: Source): Promise<void> {
    const deadline = setTimeout(() => socket.destroy(), this.#limits.streamIdleMs);
    socket.once('close', () => clearTimeout(deadline));
    try {
      for await (const message of this.#messages(socket)) {
        deadline.refresh();
        const answer = await this.#handle(message, source);
        if (answer === undefined || socket.destroyed) break;
        await send(socket, answer);
      }
      socket.end();
    } catch {
      // The agent's side broke; there is nobody to tell.
      socket.destroy();
    }
  }

  /** Whole messages, for as long as they are not too long. Does not read on while the one before is being answered. */
  async *#messages(socket: Socket): AsyncGenerator<Buffer> {
    let pending: Buffer = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
      while (pending.length >= LENGTH_BYTES) {
        const bytes = pending.readUInt16BE(0);
        if (bytes > this.#limits.maxStreamQueryBytes) return;
        const end = LENGTH_BYTES + bytes;
        if (pending.length < end) break;
        yield pending.subarray(LENGTH_BYTES, end);
        pending = pending.subarray(end);
      }
    }
  }
}

/** Resolves when the kernel has it, so that an agent that does not read holds one answer and no more. */
function send(socket: Socket, answer: Buffer): Promise<void> {
  const framed = Buffer.allocUnsafe(LENGTH_BYTES + answer.length);
  framed.writeUInt16BE(answer.length, 0);
  answer.copy(framed, LENGTH_BYTES);
  return new Promise((resolve, reject) => socket.write(framed, (error) => (error ? reject(error) : resolve())));
}
