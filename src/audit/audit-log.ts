/**
 * The audit log: one JSON line per record to a descriptor (standard output unless told).
 * Does not decide what is recorded: the record type is the allow-list (domain/record.ts). When lines cannot be
 * written, `blocked` says so and the doors refuse new flows with audit_unavailable: nothing goes unrecorded.
 * Threats rows 36 (full disk), 39 (secrets: the type has no field for headers or bodies).
 */
import type { AuditRecord } from '../domain/record.ts';
import { jsonLine } from './json-line.ts';
import { LineWriter, type LineWriterOptions } from './line-writer.ts';

/** File descriptor of standard output. */
const STDOUT_FD = 1;

export class AuditLog {
  readonly #writer: LineWriter;
  #held = false;

  constructor(options: LineWriterOptions & { readonly fd?: number } = {}) {
    this.#writer = new LineWriter(options.fd ?? STDOUT_FD, options);
  }

  /** Records one flow or exchange. About 1 us; never throws, never waits. */
  write(record: AuditRecord): void {
    this.#writer.write(jsonLine(record));
  }

  /** True while records cannot be written as fast as they come, or at all, or somebody further on said hold(true). */
  get blocked(): boolean {
    return this.#held || this.#writer.blocked;
  }

  /** Told by whoever reads the other end of the descriptor: it cannot pass on what it reads. */
  hold(held: boolean): void {
    this.#held = held;
  }

  /** Resolves when all records are with the descriptor. */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /** For a process that is about to die of an error: what can still be written is. */
  flushSync(): void {
    this.#writer.flushSync();
  }
}
