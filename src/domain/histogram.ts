/**
 * How long something took, in buckets of fixed bounds: plain numbers, a few nanoseconds to observe. Knows no names.
 */

/** Milliseconds; from a resumed handshake on a bridge (1 ms) to the timeouts of connect and handshake (10 s). */
export const HISTOGRAM_BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000] as const;

export class Histogram {
  /** Per bound, how many were at most that and above the one before; the last counts what was above all. */
  readonly counts: number[] = new Array<number>(HISTOGRAM_BOUNDS_MS.length + 1).fill(0);
  sumMs = 0;

  observe(ms: number): void {
    const found = HISTOGRAM_BOUNDS_MS.findIndex((bound) => ms <= bound);
    const bucket = found === -1 ? HISTOGRAM_BOUNDS_MS.length : found;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sumMs += ms;
  }

  /** Observes the time since `startedAt`, of performance.now(). */
  since(startedAt: number): void {
    this.observe(performance.now() - startedAt);
  }
}
