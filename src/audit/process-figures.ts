/**
 * What one process of outcalld costs: CPU, memory, and how late its event loop is. Reading the lag begins it anew.
 */
import { type ELDHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Samples } from './metrics.ts';

/** The histogram counts this in; short enough to see what a client would feel, long enough to cost nothing. */
const RESOLUTION_MS = 50;
const NS_PER_MS = 1e6;
const MS_PER_SECOND = 1_000;
const US_PER_SECOND = 1e6;

export class ProcessFigures {
  readonly #name: string;
  readonly #delay: ELDHistogram;

  /** `name`: outcalld, worker-0. Watches the event loop from now on. */
  constructor(name: string) {
    this.#name = name;
    this.#delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.#delay.enable();
  }

  collect(samples: Samples): void {
    const process_ = { process: this.#name };
    const { user, system } = process.cpuUsage();
    samples.add('outcall_process_cpu_seconds_total', (user + system) / US_PER_SECOND, process_);
    samples.add('outcall_process_resident_memory_bytes', process.memoryUsage.rss(), process_);
    samples.add('outcall_event_loop_lag_seconds', lag(this.#delay.mean), { ...process_, of: 'mean' });
    samples.add('outcall_event_loop_lag_seconds', lag(this.#delay.max), { ...process_, of: 'max' });
    this.#delay.reset();
  }
}

/** Without what the timer meant to wait. NaN where nothing was measured yet. */
function lag(ns: number): number {
  return Math.max(0, ns / NS_PER_MS - RESOLUTION_MS || 0) / MS_PER_SECOND;
}
