// Measurements of how a target stands load that is not all its own: at half its maximum, one agent beside another, and names.
import { setTimeout as pause } from 'node:timers/promises';
import { dnsmasq } from './dnsmasq.ts';
import type { Generator, Outcome } from './jobs.ts';
import { cpuSeconds } from './machine.ts';
import { type Extent, get, known, MEGA, type Measurement, ratio, type Sample } from './measurement.ts';
import { outcall } from './outcall.ts';
import { haproxy, squid } from './peers.ts';
import type { RunningTarget } from './target.ts';

const CONNECTIONS = 8;
const [POLITE, FLOODING] = ['127.0.0.1', '127.0.0.2'] as const;
const POLITE_PER_SECOND = 100;
const POLITE_CONNECTIONS = 4;
const FLOODING_CONNECTIONS = 64;
const FLOODING_NEW_AT_ONCE = 4;
/** In which the flooding connections are opened. */
const FLOOD_LEAD_MS = 800;
/** Each asks below what Outcall lets one agent ask, and their queries together fit a socket's buffer. */
const NAME_AGENTS = Array.from({ length: 128 }, (_, index) => `127.64.0.${index + 1}`);
const NAMES = Array.from({ length: 100 }, (_, index) => `n${index}.bench.test`);
const NAME_WARM_SECONDS = 0.3;

export const halfLoad: Measurement = {
  id: 'half-load',
  title: 'intercepted, 1 KiB, at half the rate that the target reaches with 8 connections: p50',
  unit: 'us',
  better: 'lower',
  targets: [haproxy, outcall, squid],
  goals: [ratio(squid, '<=', 1), { ...ratio(squid, '<=', 1), metric: 'p99Us' }],
  async take(generator, target, { seconds }) {
    const load = { route: known(target.intercepted), exchange: get('/v1/1k'), connections: CONNECTIONS };
    const most = await generator.run({ ...load, kind: 'keep-alive', seconds: seconds / 2 });
    const perSecond = most.requests / most.seconds / 2;
    const { latency } = await generator.run({ ...load, kind: 'open-loop', perSecond, seconds });
    return { value: latency.p50Us, ...latency };
  },
};

export const politeAlone: Measurement = {
  id: 'polite-alone',
  title: 'an agent that asks every 10 ms, alone: p99',
  unit: 'us',
  better: 'lower',
  targets: [haproxy, outcall, squid],
  goals: [],
  async take(generator, target, extent) {
    const { latency } = await polite(generator, target, extent);
    return { value: latency.p99Us, ...latency };
  },
};

export const politeFlooded: Measurement = {
  ...politeAlone,
  id: 'polite-flooded',
  title: 'an agent that asks every 10 ms, beside one that floods: p99',
  goals: [ratio(squid, '<=', 1), { ...ratio(squid, '<=', 1), metric: 'p50Us' }],
  async take(generator, target, extent) {
    const flooder = generator.another();
    const route = { ...known(target.intercepted), sources: [FLOODING] };
    const flood = { kind: 'flood', route, exchange: get('/v1/1k'), connections: FLOODING_CONNECTIONS } as const;
    try {
      const flooding = flooder.run({ ...flood, newAtOnce: FLOODING_NEW_AT_ONCE, seconds: extent.seconds + 1 });
      await pause(FLOOD_LEAD_MS);
      const [{ latency }] = await Promise.all([polite(generator, target, extent), flooding]);
      return { value: latency.p99Us, ...latency };
    } finally {
      await flooder.stop();
    }
  },
};

function polite(generator: Generator, target: RunningTarget, { seconds }: Extent): Promise<Outcome> {
  const route = { ...known(target.intercepted), sources: [POLITE] };
  const load = { exchange: get('/v1/1k'), connections: POLITE_CONNECTIONS, perSecond: POLITE_PER_SECOND, seconds };
  return generator.run({ ...load, kind: 'open-loop', route });
}

export const names: Measurement = {
  id: 'dns',
  title: `names answered to ${NAME_AGENTS.length} agents, each with one query at a time`,
  unit: 'queries/s',
  better: 'higher',
  targets: [outcall, dnsmasq],
  goals: [ratio(dnsmasq, '>=', 0.6), { ...ratio(dnsmasq, '<=', 1 / 0.6), metric: 'cpuUs' }],
  async take(generator, target, { seconds }): Promise<Sample> {
    if (target.dnsPort === undefined) throw new Error('the target answers no names');
    const job = { kind: 'query', port: target.dnsPort, names: NAMES } as const;
    await generator.run({ ...job, sources: NAME_AGENTS, seconds: NAME_WARM_SECONDS });
    const before = cpuSeconds(target.pid);
    const outcome = await generator.run({ ...job, sources: NAME_AGENTS, seconds });
    const cpu = cpuSeconds(target.pid) - before;
    return { value: outcome.requests / outcome.seconds, ...outcome.latency, cpuUs: (cpu * MEGA) / outcome.requests };
  },
};
