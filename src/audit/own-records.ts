/**
 * Records that the supervisor makes itself, those of DNS: joined for a few milliseconds before they meet those of the workers,
 * since each piece that goes there costs as much as its record. Bounded by size.
 */
import type { AuditRecord } from '../domain/record.ts';
import { jsonLine } from './json-line.ts';

/** As the records of workers wait for those of others (PASS_ON_AFTER_MS of the supervisor). */
const JOIN_FOR_MS = 5;
/** UTF-16 units. */
const JOINED_UNITS = 65_536;

export class OwnRecords {
  readonly #take: (lines: Buffer) => void;
  readonly #isBlocked: () => boolean;
  #lines = '';
  #timer: NodeJS.Timeout | undefined;

  /** `take` is given whole lines. */
  constructor(take: (lines: Buffer) => void, isBlocked: () => boolean) {
    this.#take = take;
    this.#isBlocked = isBlocked;
  }

  /** True while records cannot be passed on. */
  get blocked(): boolean {
    return this.#isBlocked();
  }

  write(record: AuditRecord): void {
    this.#lines += jsonLine(record);
    if (this.#lines.length >= JOINED_UNITS) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), JOIN_FOR_MS);
  }

  /** What waits goes out now. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#lines === '') return;
    const lines = Buffer.from(this.#lines);
    this.#lines = '';
    this.#take(lines);
  }
}
