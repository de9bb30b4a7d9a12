// What is measured, on whom, and the goals (design decisions of the project; ratios, since figures move with the machine). Each
// measurement gives one sample per target and round; the rounds interleave the targets.
import { setTimeout as pause } from 'node:timers/promises';
import type { Exchange, Generator, Outcome, Route } from './jobs.ts';
import { cpuSeconds, pssKib } from './machine.ts';
import { BYTES_HOST, outcall, outcallManyRules, TUNNEL_HOST } from './outcall.ts';
import { direct, haproxy, mitmproxy, squid, squidSmallCa } from './peers.ts';
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
  /** A fresh process of the target for each sample, and one round only. */
  readonly fresh?: boolean;
  /** One request at a time: everything runs on the proxy's core, or the waking of idle cores would be most of the figure. */
  readonly serial?: boolean;
  take(generator: Generator, target: RunningTarget, extent: Extent, round: number): Promise<Sample>;
}

export const ORIGIN_HOST = 'origin.bench.test';
const PRIMER_CONNECTIONS = 16;
const MEGA = 1_000_000;

const get = (path: string, host = ORIGIN_HOST): Exchange => ({ host, method: 'GET', path, requestBytes: 0 });
const post = (path: string, requestBytes: number): Exchange => ({
  host: ORIGIN_HOST,
  method: 'POST',
  path,
  requestBytes,
});

const ALL = [direct, haproxy, outcall, squid, mitmproxy];

export const MEASUREMENTS: readonly Measurement[] = [
  memoryOf('idle-intercepted', 'idle intercepted connections', 50, ORIGIN_HOST, (target) => target.intercepted),
  memoryOf('idle-tunnels', 'idle tunnels', 15, TUNNEL_HOST, (target) => target.tunnel),
  keepAlive('h1-1', 'intercepted, 1 KiB, 1 connection', 1, get('/v1/1k'), ALL, [
    ratio(squid, '>=', 2),
    { metric: 'p50Us', how: 'difference', against: haproxy, bound: '<=', limit: 10 },
  ]),
  keepAlive(
    'h1-8',
    'intercepted, 1 KiB, 8 connections',
    8,
    get('/v1/1k'),
    [...ALL, outcallManyRules],
    [
      ratio(squid, '>=', 2.5),
      ratio(haproxy, '>=', 0.85),
      { ...ratio(outcall, '<=', 1.2), metric: 'cpuUs', of: outcallManyRules },
    ],
  ),
  keepAlive('h1-64', 'intercepted, 1 KiB, 64 connections', 64, get('/v1/1k'), ALL, [
    ratio(squid, '>=', 2.5),
    ratio(haproxy, '>=', 0.85),
  ]),
  keepAlive('h1-post', 'intercepted POST of 1 KiB, 8 connections', 8, post('/v1/1k', 1024), ALL, []),
  keepAlive('h1-100k', 'intercepted, 100 KiB, 8 connections', 8, get('/v1/100k'), ALL, [ratio(squid, '>=', 1.9)]),
  {
    id: 'new-connections',
    title: 'new connection, handshake and request, leaf cached, 8 at a time',
    unit: 'connections/s',
    better: 'higher',
    targets: [...ALL, squidSmallCa],
    goals: [
      ratio(squid, '>=', 6),
      ratio(haproxy, '>=', 0.9),
      { ...ratio(squid, '<=', 1 / 6), metric: 'cpuUs' },
      { ...ratio(haproxy, '<=', 1 / 0.9), metric: 'cpuUs' },
    ],
    take: (generator, target, { seconds }) =>
      timed(generator, target, {
        kind: 'new-connections',
        route: target.intercepted,
        exchange: get('/v1/1k'),
        connections: 8,
        seconds,
      }),
  },
  {
    id: 'new-hosts',
    title: 'first contact with a host: connect, CONNECT and handshake, p50',
    unit: 'us',
    better: 'lower',
    targets: [outcall, squid, squidSmallCa, mitmproxy],
    goals: [ratio(squid, '<=', 0.5)],
    serial: true,
    take: firstContact,
  },
  transferOf(
    'transfer',
    '100 MiB through interception',
    [ratio(squid, '>=', 1.4)],
    get('/v1/100m'),
    (to) => to.intercepted,
  ),
  transferOf(
    'tunnel',
    'plain bytes through a tunnel, 16 MiB at a time',
    [ratio(squid, '>=', 1.1)],
    get('/v1/tunnel', BYTES_HOST),
    (to) => to.plainTunnel,
  ),
];

/** Load that is not counted, so that no target is measured while it still compiles or fills its caches. */
export async function warm(generator: Generator, target: RunningTarget, seconds: number): Promise<void> {
  await generator.run({
    kind: 'keep-alive',
    route: target.intercepted,
    exchange: get('/v1/1k'),
    connections: 8,
    seconds,
  });
}

function ratio(against: Target, bound: Goal['bound'], limit: number): Goal {
  return { metric: 'value', how: 'ratio', against, bound, limit };
}

function keepAlive(
  id: string,
  title: string,
  connections: number,
  exchange: Exchange,
  targets: readonly Target[],
  goals: readonly Goal[],
): Measurement {
  return {
    id,
    title,
    unit: 'requests/s',
    better: 'higher',
    targets,
    goals,
    serial: connections === 1,
    take: (generator, { intercepted: route, ...target }, { seconds }) =>
      timed(generator, target, { kind: 'keep-alive', route, exchange, connections, seconds }),
  };
}

type Loop = Parameters<Generator['run']>[0];

async function timed(generator: Generator, target: { readonly pid: number }, job: Loop): Promise<Sample> {
  const before = cpuSeconds(target.pid);
  const outcome = await generator.run(job);
  const cpu = cpuSeconds(target.pid) - before;
  return { value: outcome.requests / outcome.seconds, ...outcome.latency, cpuUs: (cpu * MEGA) / outcome.requests };
}

function transferOf(
  id: string,
  title: string,
  goals: readonly Goal[],
  exchange: Exchange,
  routeOf: (target: RunningTarget) => Route | undefined,
): Measurement {
  return {
    id,
    title,
    unit: 'MB/s',
    better: 'higher',
    targets: ALL,
    goals,
    take: async (generator, target, { seconds }) => {
      const route = known(routeOf(target));
      const before = cpuSeconds(target.pid);
      const outcome = await generator.run({ kind: 'keep-alive', route, exchange, connections: 1, seconds });
      const cpu = cpuSeconds(target.pid) - before;
      const megabytes = outcome.bodyBytes / MEGA;
      return { value: megabytes / outcome.seconds, cpuUs: (cpu * MEGA) / megabytes };
    },
  };
}

/** Names that no round has used yet, so that no leaf is at hand; every target sees the same names in the same round. */
async function firstContact(
  generator: Generator,
  target: RunningTarget,
  extent: Extent,
  round: number,
): Promise<Sample> {
  const hosts = newHostNames(extent).slice(round * extent.newHosts, (round + 1) * extent.newHosts);
  const exchange = get('/v1/1k');
  const outcome: Outcome = await generator.run({ kind: 'first-contact', route: target.intercepted, exchange, hosts });
  return { value: outcome.handshake.p50Us, ...outcome.handshake };
}

export function newHostNames(extent: Extent): string[] {
  return Array.from({ length: extent.rounds * extent.newHosts }, (_, index) => `h${index}.bench.test`);
}

/**
 * Memory for each open connection: PSS of a fresh process with them less PSS before, divided. Garbage of the handshakes that nobody
 * has collected yet counts too. A few connections go first, so that what is loaded once is not counted.
 */
function memoryOf(
  id: string,
  title: string,
  limitKib: number,
  host: string,
  routeOf: (target: RunningTarget) => Route | undefined,
): Measurement {
  return {
    id,
    title: `memory of ${title}, each`,
    unit: 'KiB',
    better: 'lower',
    targets: ALL.filter((target) => target !== direct),
    goals: [{ metric: 'value', how: 'value', bound: '<=', limit: limitKib }],
    fresh: true,
    take: async (generator, target, { heldConnections: connections, settleMs }) => {
      const job = { kind: 'hold', route: known(routeOf(target)), exchange: get('/v1/1k', host) } as const;
      await generator.run({ ...job, connections: PRIMER_CONNECTIONS });
      await generator.run({ kind: 'release' });
      await pause(settleMs);
      const before = pssKib(target.pid);
      await generator.run({ ...job, connections });
      await pause(settleMs);
      const held = pssKib(target.pid) - before;
      await generator.run({ kind: 'release' });
      return { value: held / connections };
    },
  };
}

function known(route: Route | undefined): Route {
  if (route === undefined) throw new Error('the target has no such entrance');
  return route;
}
