/**
 * Where the workers' audit lines meet: each goes on to standard output whole, to whoever follows, and is kept for a
 * while. Neither parses nor counts lines: all of the traffic comes past here. Memory is bounded: by what is kept, and by
 * `full`, on which the caller stops reading from the workers (their own logs then fill up and say `blocked`).
 */
import type { LineWriter } from './line-writer.ts';

/** What is kept at least: a thousand records of 2 KiB, which is four times the usual; at most twice that. */
const KEPT_BYTES = 2 * 1024 * 1024;
/** A record is at most some KiB; a worker that sends this much without a line feed is not sending records. */
const MAX_LINE_BYTES = 1024 * 1024;
/** Bytes waiting for standard output at which reading from the workers pauses. */
const FULL_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

/** Whole lines, as they came; they are the follower's to keep. */
export type Follower = (lines: Buffer) => void;

export class RecordFeed {
  readonly #output: LineWriter;
  /**
   * One place for all that is kept, in order from 0 to #keptTo. Chunks that were kept as they came would grow old in the
   * garbage collector's eyes, and it stopped the core for 20 ms a second of full load.
   */
  readonly #kept = Buffer.allocUnsafeSlow(2 * KEPT_BYTES);
  #keptTo = 0;
  readonly #followers = new Set<Follower>();

  constructor(output: LineWriter) {
    this.#output = output;
  }

  /**
   * A sink for one worker's standard output, which keeps no chunk that it is given; it puts lines that were cut between
   * chunks together again.
   */
  source(): (chunk: Buffer) => void {
    let rest: Buffer | undefined;
    return (chunk) => {
      let from = 0;
      if (rest !== undefined) {
        from = chunk.indexOf(LINE_FEED) + 1;
        const line = Buffer.concat([rest, from === 0 ? chunk : chunk.subarray(0, from)]);
        rest = from === 0 && line.length <= MAX_LINE_BYTES ? line : undefined;
        if (from === 0) return;
        this.#take(line);
      }
      const end = chunk.lastIndexOf(LINE_FEED) + 1;
      if (end > from) this.#take(chunk.subarray(from, end));
      if (end < chunk.length && chunk.length - end <= MAX_LINE_BYTES) rest = Buffer.from(chunk.subarray(end));
    };
  }

  /** True while standard output is too far behind to take more. */
  get full(): boolean {
    return this.#output.waitingBytes > FULL_BYTES;
  }

  /** The last `count` records, or as many as are kept, oldest first, as lines. */
  recent(count: number): Buffer {
    const all = this.#kept.subarray(0, this.#keptTo);
    let start = all.length;
    for (let left = count; left > 0 && start > 0; left--) start = all.lastIndexOf(LINE_FEED, start - 2) + 1;
    return Buffer.from(all.subarray(start));
  }

  /** Calls `follower` with all that comes from now on. Returns what ends it. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  #take(lines: Buffer): void {
    this.#output.write(lines);
    for (const follower of this.#followers) follower(Buffer.from(lines));
    this.#keep(lines);
  }

  #keep(lines: Buffer): void {
    if (this.#keptTo + lines.length > this.#kept.length) {
      // What goes may end within a line; the rest of that goes too.
      const from = this.#kept.indexOf(LINE_FEED, this.#keptTo - KEPT_BYTES) + 1;
      this.#kept.copyWithin(0, from, this.#keptTo);
      this.#keptTo -= from;
    }
    this.#keptTo += lines.copy(this.#kept, this.#keptTo);
  }
}
