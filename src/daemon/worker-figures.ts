/**
 * The figures of a worker: gathered in the worker when it is asked, and kept in the supervisor by worker. What only grows
 * outlives the worker that counted it, as of when it was last asked.
 */
import type { FlowCounts } from '../audit/flow-counts.ts';
import { isCumulative, type Sample, Samples } from '../audit/metrics.ts';
import type { ProcessFigures } from '../audit/process-figures.ts';
import type { LeafCache } from '../pki/leaf-cache.ts';
import type { ProxyServer } from '../proxy/server.ts';
import type { Upstream } from '../upstream/upstream.ts';

/** Some 1,000 pairs of agent and rule with a few verdicts each; a worker that sends more is not sending figures. */
const MAX_SAMPLES = 20_000;

export interface WorkerParts {
  readonly counts: FlowCounts;
  readonly process: ProcessFigures;
  readonly server: ProxyServer;
  readonly upstream: Upstream;
  /** Undefined without a CA. */
  readonly leaves: LeafCache | undefined;
}

export function workerSamples({ counts, process, server, upstream, leaves }: WorkerParts): readonly Sample[] {
  const samples = new Samples();
  counts.collect(samples);
  process.collect(samples);
  samples.add('outcall_flows_total', server.accepted);
  samples.add('outcall_flows_open', server.openFlows);
  samples.histogram('outcall_upstream_resolve_seconds', upstream.counts.resolve);
  samples.histogram('outcall_upstream_connect_seconds', upstream.counts.connect);
  samples.histogram('outcall_upstream_handshake_seconds', upstream.counts.handshake);
  samples.add('outcall_upstream_pool_lookups_total', upstream.counts.reused, { result: 'reused' });
  samples.add('outcall_upstream_pool_lookups_total', upstream.counts.missed, { result: 'missed' });
  samples.add('outcall_upstream_pool_idle', upstream.idle);
  if (leaves !== undefined) {
    samples.histogram('outcall_leaf_seconds', leaves.waits);
    samples.add('outcall_leaf_cache_lookups_total', leaves.hits, { result: 'hit' });
    samples.add('outcall_leaf_cache_lookups_total', leaves.misses, { result: 'miss' });
  }
  return samples.all;
}

export class WorkerFigures {
  readonly #last = new Map<number, readonly Sample[]>();
  readonly #kept = new Map<string, Sample>();

  /** What this worker said of itself. It is a process that agents can reach, so what is no sample is left out. */
  take(worker: number, said: unknown): void {
    if (Array.isArray(said)) this.#last.set(worker, said.slice(0, MAX_SAMPLES).filter(isSample));
  }

  /** The worker is gone, and the next one begins at nothing. */
  keep(worker: number): void {
    for (const sample of this.#last.get(worker) ?? []) {
      const [line, labels, value] = sample;
      if (!isCumulative(line)) continue;
      const key = `${line}{${labels}}`;
      if (this.#kept.has(key) || this.#kept.size < MAX_SAMPLES) {
        this.#kept.set(key, [line, labels, (this.#kept.get(key)?.[2] ?? 0) + value]);
      }
    }
    this.#last.delete(worker);
  }

  *all(): Iterable<Sample> {
    for (const samples of this.#last.values()) yield* samples;
    yield* this.#kept.values();
  }
}

function isSample(value: unknown): value is Sample {
  if (!Array.isArray(value) || value.length !== 3) return false;
  const [line, labels, count] = value as unknown[];
  return typeof line === 'string' && isOneLine(labels) && typeof count === 'number' && Number.isFinite(count);
}

function isOneLine(value: unknown): boolean {
  return typeof value === 'string' && !value.includes('\n');
}
