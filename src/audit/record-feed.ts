/**
 * Where the workers' audit lines meet: each goes on to standard output whole, to whoever follows, and into a ring
 * of the last thousand. Does not parse a line. Memory is bounded: by the ring, and by `full`, on which the caller
 * stops reading from the workers (their own logs then fill up and say `blocked`).
 */
import type { LineWriter } from './line-writer.ts';

const RING_RECORDS = 1000;
/** A record is at most some KiB; a worker that sends this much without a line feed is not sending records. */
const MAX_LINE_BYTES = 1024 * 1024;
/** Bytes waiting for standard output at which reading from the workers pauses. */
const FULL_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

/** Whole lines, as they came. */
export type Follower = (lines: Buffer) => void;

interface Chunk {
  readonly lines: Buffer;
  readonly count: number;
}

export class RecordFeed {
  readonly #output: LineWriter;
  readonly #ring: Chunk[] = [];
  #ringCount = 0;
  readonly #followers = new Set<Follower>();

  constructor(output: LineWriter) {
    this.#output = output;
  }

  /** A sink for one worker's standard output; it puts lines that were cut between chunks together again. */
  source(): (chunk: Buffer) => void {
    let rest: Buffer | undefined;
    return (chunk) => {
      const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      const end = bytes.lastIndexOf(LINE_FEED) + 1;
      rest = end === bytes.length || bytes.length - end > MAX_LINE_BYTES ? undefined : bytes.subarray(end);
      if (end > 0) this.#take(bytes.subarray(0, end));
    };
  }

  /** True while standard output is too far behind to take more. */
  get full(): boolean {
    return this.#output.waitingBytes > FULL_BYTES;
  }

  /** The last `count` records (at most 1,000), oldest first, as lines. */
  recent(count: number): Buffer {
    const all = Buffer.concat(this.#ring.map(({ lines }) => lines));
    let start = all.length;
    for (let left = count; left > 0 && start > 0; left--) start = all.lastIndexOf(LINE_FEED, start - 2) + 1;
    return all.subarray(start);
  }

  /** Calls `follower` with all that comes from now on. Returns what ends it. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  #take(lines: Buffer): void {
    this.#output.write(lines);
    for (const follower of this.#followers) follower(lines);
    const count = countLines(lines);
    this.#ring.push({ lines, count });
    this.#ringCount += count;
    for (;;) {
      const [oldest] = this.#ring;
      if (oldest === undefined || this.#ringCount - oldest.count < RING_RECORDS) return;
      this.#ring.shift();
      this.#ringCount -= oldest.count;
    }
  }
}

function countLines(lines: Buffer): number {
  let count = 0;
  for (let at = lines.indexOf(LINE_FEED); at !== -1; at = lines.indexOf(LINE_FEED, at + 1)) count++;
  return count;
}
