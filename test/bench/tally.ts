// What a job of the generator comes to: how many, how long, how many bytes, and percentiles.
import type { Latency, Outcome } from './jobs.ts';

const US_PER_MS = 1000;

/** Every sample of a job is kept: percentiles are exact, not of buckets. */
export class Tally {
  readonly startedMs = performance.now();
  private endedMs = this.startedMs;
  private bodyBytes = 0;
  private readonly samples: number[] = [];
  private readonly handshakes: number[] = [];

  /** Returns the time it took as now, so that a loop needs no clock of its own. */
  add(ms: number, bodyBytes: number): number {
    this.samples.push(ms);
    this.bodyBytes += bodyBytes;
    this.endedMs = performance.now();
    return this.endedMs;
  }

  addHandshake(ms: number): void {
    this.handshakes.push(ms);
  }

  outcome(): Outcome {
    const seconds = (this.endedMs - this.startedMs) / 1000;
    const { bodyBytes } = this;
    const handshake = percentiles(this.handshakes);
    return { requests: this.samples.length, seconds, bodyBytes, latency: percentiles(this.samples), handshake };
  }
}

function percentiles(samples: readonly number[]): Latency {
  const sorted = Float64Array.from(samples).sort();
  const at = (share: number): number => (sorted[Math.floor(share * (sorted.length - 1))] ?? 0) * US_PER_MS;
  return { p50Us: at(0.5), p99Us: at(0.99), p999Us: at(0.999) };
}
