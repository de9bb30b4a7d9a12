/** Ports for the tests of this folder: a pair in memory that copies each message, and one end of a child-process channel. */
import type { EventEmitter } from 'node:events';
import type { Port } from '../../../src/pki/port.ts';

export class MemoryPort implements Port {
  /** What was sent from this end. */
  readonly sent: unknown[] = [];
  /** What arrived at this end. */
  readonly received: unknown[] = [];
  #other: MemoryPort | undefined;
  #closed = false;
  readonly #onMessage: ((message: unknown) => void)[] = [];
  readonly #onClose: (() => void)[] = [];

  static pair(): [MemoryPort, MemoryPort] {
    const [one, two] = [new MemoryPort(), new MemoryPort()];
    one.#other = two;
    two.#other = one;
    return [one, two];
  }

  send(message: unknown): void {
    if (this.#closed) return;
    const copy: unknown = JSON.parse(JSON.stringify(message));
    this.sent.push(copy);
    const other = this.#other;
    if (other !== undefined) setImmediate(() => other.#receive(copy));
  }

  onMessage(handler: (message: unknown) => void): void {
    this.#onMessage.push(handler);
  }

  onClose(handler: () => void): void {
    if (this.#closed) handler();
    else this.#onClose.push(handler);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const handler of this.#onClose) handler();
    this.#other?.close();
  }

  #receive(message: unknown): void {
    if (this.#closed) return;
    this.received.push(message);
    for (const handler of this.#onMessage) handler(message);
  }
}

/** `process` in a child, the ChildProcess in its parent. */
export interface IpcEnd extends EventEmitter {
  readonly connected: boolean;
  send?(message: unknown, done: (error: Error | null) => void): boolean;
}

export function ipcPort(end: IpcEnd): Port {
  return {
    send: (message) => end.connected && end.send?.(message, () => undefined),
    onMessage: (handler) => end.on('message', handler),
    onClose: (handler) => (end.connected ? end.once('disconnect', handler) : handler()),
  };
}
