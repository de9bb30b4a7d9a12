// Measurements of how a target grows: with agents, with tunnels that are open, and with time; and what it takes before the first
// request. That it does not grow with rules is seen in the row of 8 connections (measurements.ts).
import { setTimeout as pause } from 'node:timers/promises';
import type { Generator } from './jobs.ts';
import { pssKib } from './machine.ts';
import { type Extent, get, known, type Measurement, post, timed, warm } from './measurement.ts';
import { BYTES_HOST, outcall, TUNNEL_HOST } from './outcall.ts';
import { haproxy, mitmproxy, squid } from './peers.ts';
import type { RunningTarget } from './target.ts';

const AGENTS = 100;
const AGENT_ADDRESSES = Array.from({ length: AGENTS }, (_, index) => `127.0.1.${index + 1}`);
const CONNECTIONS = 8;
/** Readings of a soak, a third of them each for the beginning, the middle and the end. */
const READINGS = 9;
const SOAK_TUNNELS = 50;
const KIB = 1024;

export const start: Measurement = {
  id: 'start',
  title: 'from start to the end of the first intercepted request',
  unit: 'ms',
  better: 'lower',
  targets: [haproxy, outcall, squid, mitmproxy],
  goals: [{ metric: 'value', how: 'value', bound: '<=', limit: 300 }],
  fresh: true,
  async take(generator, target) {
    const job = { kind: 'new-connections', exchange: get('/v1/1k'), connections: 1, seconds: 0 } as const;
    const beforeMs = performance.now();
    await generator.run({
      ...job,
      kind: 'first-contact',
      hosts: [job.exchange.host],
      route: known(target.intercepted),
    });
    return { value: target.startMs + performance.now() - beforeMs };
  },
};

export const idleMemory: Measurement = {
  id: 'idle-memory',
  title: 'memory of the idle processes, after one request',
  unit: 'MiB',
  better: 'lower',
  targets: [haproxy, outcall, squid],
  goals: [],
  fresh: true,
  once: true,
  async take(generator, target, { settleMs }) {
    const { host, ...exchange } = get('/v1/1k');
    const job = { kind: 'first-contact', route: known(target.intercepted), hosts: [host] } as const;
    await generator.run({ ...job, exchange: { host, ...exchange } });
    await pause(settleMs);
    return { value: pssKib(target.pid) / KIB };
  },
};

/** CPU for each request on 100 connections: of 100 agents over that of one. */
export const growthOfAgents: Measurement = {
  id: 'agents',
  title: `CPU of a request where ${AGENTS} agents ask, over that where one does, ${AGENTS} connections`,
  unit: 'times',
  better: 'lower',
  targets: [haproxy, outcall],
  goals: [{ metric: 'value', how: 'value', bound: '<=', limit: 1.2 }],
  async take(generator, target, { seconds }) {
    const route = known(target.intercepted);
    const job = { kind: 'keep-alive', exchange: get('/v1/1k'), connections: AGENTS, seconds } as const;
    const one = await timed(generator, target, { ...job, route });
    const many = await timed(generator, target, { ...job, route: { ...route, sources: AGENT_ADDRESSES } });
    return { value: (many.cpuUs ?? Number.NaN) / (one.cpuUs ?? Number.NaN) };
  },
};

/** CPU for each intercepted request: with so many idle tunnels open over that with one. */
export const growthOfTunnels: Measurement = {
  id: 'tunnels',
  title: 'CPU of a request beside many idle tunnels, over that beside one',
  unit: 'times',
  better: 'lower',
  targets: [outcall],
  goals: [{ metric: 'value', how: 'value', bound: '<=', limit: 1.2 }],
  fresh: true,
  once: true,
  async take(generator, target, extent) {
    await warm(generator, target, 2 * extent.seconds);
    const one = await cpuBeside(generator, target, 1, extent);
    const many = await cpuBeside(generator, target, extent.manyTunnels, extent);
    return { value: many / one };
  },
};

async function cpuBeside(
  generator: Generator,
  target: RunningTarget,
  tunnels: number,
  { seconds, settleMs }: Extent,
): Promise<number> {
  const holder = generator.another();
  try {
    const exchange = get('/v1/1k', BYTES_HOST);
    await holder.run({ kind: 'hold', route: known(target.plainTunnel), exchange, connections: tunnels });
    await pause(settleMs); // what opening them took is not counted
    const route = known(target.intercepted);
    const job = { kind: 'keep-alive', route, exchange: get('/v1/1k'), connections: CONNECTIONS, seconds } as const;
    return (await timed(generator, target, job)).cpuUs ?? Number.NaN;
  } finally {
    await holder.stop();
  }
}

/** By how much memory grows for each exchange once it has settled: from the middle third of the load to the last. */
export const soak: Measurement = {
  id: 'soak',
  title: 'memory that each of many mixed requests, connections and tunnels leaves behind',
  unit: 'bytes',
  better: 'lower',
  targets: [outcall],
  // The smallest object that is kept for each would be more.
  goals: [{ metric: 'value', how: 'value', bound: '<=', limit: 32 }],
  fresh: true,
  once: true,
  onDemand: true,
  async take(generator, target, extent) {
    const readings: number[] = [];
    let exchanges = 0;
    for (let reading = 0; reading < READINGS; reading++) {
      exchanges += await mixedLoad(generator, target, extent.soakSeconds / READINGS);
      await pause(extent.settleMs);
      readings.push(pssKib(target.pid));
    }
    process.stderr.write(
      `soak: PSS ${readings.map((kib) => (kib / KIB).toFixed(1)).join(', ')} MiB, ${exchanges} exchanges\n`,
    );
    // The least of a third is what is kept: garbage only adds to it.
    const third = READINGS / 3;
    const [middle, last] = [Math.min(...readings.slice(third, 2 * third)), Math.min(...readings.slice(2 * third))];
    return { value: ((last - middle) * KIB) / (exchanges / 3) };
  },
};

/** Half of the time requests, a quarter posts, a quarter new connections, and then tunnels that come and go; gives how many. */
async function mixedLoad(generator: Generator, target: RunningTarget, seconds: number): Promise<number> {
  const route = known(target.intercepted);
  const load = { route, exchange: get('/v1/1k'), connections: CONNECTIONS };
  const gets = await generator.run({ ...load, kind: 'keep-alive', seconds: seconds / 2 });
  const posts = await generator.run({
    ...load,
    kind: 'keep-alive',
    exchange: post('/v1/1k', KIB),
    seconds: seconds / 4,
  });
  const fresh = await generator.run({ ...load, kind: 'new-connections', seconds: seconds / 4 });
  const exchange = get('/v1/1k', TUNNEL_HOST);
  await generator.run({ kind: 'hold', route: known(target.tunnel), exchange, connections: SOAK_TUNNELS });
  await generator.run({ kind: 'release' });
  return gets.requests + posts.requests + fresh.requests + SOAK_TUNNELS;
}
