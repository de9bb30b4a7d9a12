/**
 * The standard outputs of all workers, read into the record feed as fast as it passes records on. While it is full, none
 * is read: the workers' own logs then fill up and say `blocked`.
 */
import type { Socket } from 'node:net';
import type { RecordFeed } from '../audit/record-feed.ts';

export class WorkerOutputs {
  readonly #feed: RecordFeed;
  readonly #open = new Set<Socket>();

  constructor(feed: RecordFeed) {
    this.#feed = feed;
  }

  /** Takes what one worker writes. */
  sink(): (bytes: Buffer) => void {
    const take = this.#feed.source();
    return (bytes) => {
      take(bytes);
      if (this.#feed.full) for (const output of this.#open) output.pause();
    };
  }

  add(output: Socket): void {
    this.#open.add(output);
    output.once('close', () => this.#open.delete(output));
  }

  /** Standard output took something. */
  resume(): void {
    if (this.#feed.full) return;
    for (const output of this.#open) output.resume();
  }
}
