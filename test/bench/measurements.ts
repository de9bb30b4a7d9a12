// What is measured, on whom, and the goals (design decisions of the project; ratios, since figures move with the machine). Each
// measurement gives one sample per target and round; the rounds interleave the targets.
import { setTimeout as pause } from 'node:timers/promises';
import { growthOfAgents, growthOfTunnels, idleMemory, soak, start } from './growth-rows.ts';
import type { Exchange, Generator, Outcome, Route } from './jobs.ts';
import { halfLoad, names, politeAlone, politeFlooded } from './load-rows.ts';
import { cpuSeconds, pssKib } from './machine.ts';
import {
  type Extent,
  type Goal,
  get,
  known,
  MEGA,
  type Measurement,
  ORIGIN_HOST,
  post,
  ratio,
  type Sample,
  timed,
} from './measurement.ts';
import { nghttpx } from './nghttpx.ts';
import { BYTES_HOST, outcall, outcallManyRules, outcallTwoWorkers, TUNNEL_HOST } from './outcall.ts';
import { direct, haproxy, mitmproxy, squid, squidSmallCa } from './peers.ts';
import type { RunningTarget, Target } from './target.ts';

const PRIMER_CONNECTIONS = 16;

const BUT_SLOWEST = [direct, haproxy, outcall, squid];
const ALL = [...BUT_SLOWEST, mitmproxy];

export const MEASUREMENTS: readonly Measurement[] = [
  start,
  idleMemory,
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
  keepAlive(
    'h1-64',
    'intercepted, 1 KiB, 64 connections',
    64,
    get('/v1/1k'),
    [...BUT_SLOWEST, outcallTwoWorkers],
    [
      ratio(squid, '>=', 2.5),
      ratio(haproxy, '>=', 0.85),
      // 1.7 times the rate on two whole cores; the CPU time tells it where the generator needs one of them.
      { ...ratio(outcall, '<=', 2 / 1.7), metric: 'cpuUs', of: outcallTwoWorkers },
    ],
  ),
  ...[1, 10, 100].map((streams) => h2(`h2-${streams}`, 1, streams, [])),
  h2('h2-8x8', 8, 8, [ratio(haproxy, '>=', 0.9)]),
  keepAlive('h1-post', 'intercepted POST of 1 KiB, 8 connections', 8, post('/v1/1k', 1024), BUT_SLOWEST, []),
  keepAlive('h1-100k', 'intercepted, 100 KiB, 8 connections', 8, get('/v1/100k'), ALL, [ratio(squid, '>=', 1.9)]),
  halfLoad,
  politeAlone,
  politeFlooded,
  growthOfAgents,
  growthOfTunnels,
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
        route: known(target.intercepted),
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
  names,
  soak,
];

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
    take: (generator, target, { seconds }) => {
      const route = known(target.intercepted);
      return timed(generator, target, { kind: 'keep-alive', route, exchange, connections, seconds });
    },
  };
}

/** HTTP/2 on both sides: `connections` with `streams` requests open on each at all times. */
function h2(id: string, connections: number, streams: number, goals: readonly Goal[]): Measurement {
  const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
  return {
    id,
    title: `intercepted h2, 1 KiB, ${counted(connections, 'connection')} of ${counted(streams, 'stream')}`,
    unit: 'requests/s',
    better: 'higher',
    targets: [direct, haproxy, outcall, nghttpx],
    goals,
    serial: connections * streams === 1,
    take: (generator, target, { seconds }) =>
      timed(generator, target, {
        kind: 'keep-alive',
        route: known(target.h2),
        exchange: { ...get('/v1/1k'), streams },
        connections,
        seconds,
      }),
  };
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
  const route = known(target.intercepted);
  const outcome: Outcome = await generator.run({ kind: 'first-contact', route, exchange, hosts });
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
    once: true,
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
