// What a measurement is: who is measured, how one sample is taken, and which goals it is held against. Also the small pieces that
// most of them are made of. The list itself is measurements.ts.
import type { Exchange, Generator, Route } from './jobs.ts';
import { cpuSeconds } from './machine.ts';
import type { RunningTarget, Target } from './target.ts';

/** `value` is in the measurement's unit; the others are told where they mean something. */
export interface Sample {
  readonly value: number;
  readonly p50Us?: number;
  readonly p99Us?: number;
  readonly p999Us?: number;
  /** CPU time of the target's processes for each request, connection or MB, in microseconds. */
  readonly cpuUs?: number;
}

export type Metric = keyof Sample;

/** Held against the median of the rounds' ratios or differences of Outcall (or `of`) to `against`; `value` stands alone. */
export interface Goal {
  readonly metric: Metric;
  readonly how: 'ratio' | 'difference' | 'value';
  readonly of?: Target;
  readonly against?: Target;
  readonly bound: '>=' | '<=';
  readonly limit: number;
}

/** What the size of a run decides. */
export interface Extent {
  readonly rounds: number;
  readonly seconds: number;
  readonly newHosts: number;
  readonly heldConnections: number;
  /** Tunnels open beside the load, as many as the limit of open files leaves room for. */
  readonly manyTunnels: number;
  readonly soakSeconds: number;
  /** Wait before memory is read: closed connections and their buffers are gone, collectors have had their chance. */
  readonly settleMs: number;
}

export interface Measurement {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  readonly targets: readonly Target[];
  readonly goals: readonly Goal[];
  /** A fresh process of the target for each sample. */
  readonly fresh?: boolean;
  /** One round only. */
  readonly once?: boolean;
  /** Only where --only names it. */
  readonly onDemand?: boolean;
  /** One request at a time: everything runs on the proxy's core, or the waking of idle cores would be most of the figure. */
  readonly serial?: boolean;
  take(generator: Generator, target: RunningTarget, extent: Extent, round: number): Promise<Sample>;
}

export const ORIGIN_HOST = 'origin.bench.test';
export const MEGA = 1_000_000;

export const get = (path: string, host = ORIGIN_HOST): Exchange => ({ host, method: 'GET', path, requestBytes: 0 });
export const post = (path: string, requestBytes: number): Exchange => ({
  host: ORIGIN_HOST,
  method: 'POST',
  path,
  requestBytes,
});

export function ratio(against: Target, bound: Goal['bound'], limit: number): Goal {
  return { metric: 'value', how: 'ratio', against, bound, limit };
}

/** Load that is not counted, so that no target is measured while it still compiles or fills its caches. */
export async function warm(generator: Generator, target: RunningTarget, seconds: number): Promise<void> {
  const { intercepted: route } = target;
  if (route === undefined) return;
  await generator.run({ kind: 'keep-alive', route, exchange: get('/v1/1k'), connections: 8, seconds });
}

type Loop = Parameters<Generator['run']>[0];

export async function timed(generator: Generator, target: { readonly pid: number }, job: Loop): Promise<Sample> {
  const before = cpuSeconds(target.pid);
  const outcome = await generator.run(job);
  const cpu = cpuSeconds(target.pid) - before;
  return { value: outcome.requests / outcome.seconds, ...outcome.latency, cpuUs: (cpu * MEGA) / outcome.requests };
}

export function known(route: Route | undefined): Route {
  if (route === undefined) throw new Error('the target has no such entrance');
  return route;
}
