// `npm run bench`: starts the origin, the peers and Outcall on loopback, takes every measurement with the targets interleaved, prints
// Markdown and writes JSON to test/bench/results. `--docs` also puts the tables and the plot into docs/. See docs/performance.md.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { generatorCeiling } from './ceiling.ts';
import { makeCertificates } from './certificates.ts';
import { startGenerator } from './jobs.ts';
import { layOutCores, maxOpenFiles, moveTo } from './machine.ts';
import { type Extent, type Measurement, ORIGIN_HOST } from './measurement.ts';
import { MEASUREMENTS, newHostNames } from './measurements.ts';
import { startNameServer, startOrigin } from './origin.ts';
import { BYTES_HOST, isOutcallBuilt, outcallTargets, TUNNEL_HOST } from './outcall.ts';
import { installPeers } from './peers.ts';
import { profile } from './profile.ts';
import { writeReport } from './results.ts';
import { Run } from './run.ts';
import type { Site, Target } from './target.ts';

const HELP = `npm run bench -- [options]
  --quick              two short rounds (about 2 minutes)
  --rounds N           rounds of each measurement (3)
  --seconds N          length of one sample (1.5)
  --only ID,...        these measurements (soak only so): ${MEASUREMENTS.map(({ id }) => id).join(', ')}
  --targets NAME,...   these targets, by the first letters of their names
  --profile            where Outcall's CPU time goes under h1-8, or with --only h2-8x8 or new-connections under that, by perf(1); no more
  --no-pin             let the system place the processes
  --docs               write docs/performance.md and docs/performance.svg
`;
const OTHER_FILES = 1_500; // that the proxy has open beside its tunnels
const FULL: Extent = {
  rounds: 3,
  seconds: 1.5,
  newHosts: 30,
  heldConnections: 1000,
  manyTunnels: manyTunnels(),
  settleMs: 3000,
  soakSeconds: 60,
};
const QUICK: Extent = {
  rounds: 2,
  seconds: 0.5,
  newHosts: 10,
  heldConnections: 300,
  manyTunnels: 1000,
  settleMs: 500,
  soakSeconds: 12,
};
const PROFILE_SECONDS = 6;

const { values: options } = parseArgs({
  allowNegative: true,
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    only: { type: 'string' },
    targets: { type: 'string' },
    pin: { type: 'boolean', default: true },
    docs: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
if (options.help) process.stdout.write(HELP);
else await bench();

async function bench(): Promise<void> {
  installPeers();
  const extent = chosenExtent();
  const cores = layOutCores(options.pin);
  const folder = mkdtempSync(path.join(os.tmpdir(), 'outcall-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true })); // signals too
  moveTo(cores, cores.generator, process.pid);
  const certificates = makeCertificates(folder);
  const generator = startGenerator(cores);
  const names = await startNameServer();
  const ceiling = options.profile ? [] : await generatorCeiling(folder, certificates, cores, generator, extent.seconds);
  const origin = await startOrigin(folder, certificates, cores, cores.origin);
  const hostsFile = writeHosts(folder, extent);
  const site: Site = { folder, certificates, cores, origin, nameServerPort: names.port, hostsFile };
  const run = new Run(site, generator, extent);
  try {
    if (options.profile) return await profile(site, generator, PROFILE_SECONDS, options.only ?? '');
    for (const measurement of chosenMeasurements()) await run.measure(measurement);
    writeReport({ rows: run.rows, ceiling, failures: run.failures, extent, cores }, options.docs);
  } finally {
    await run.stop();
    await Promise.all([origin.stop(), generator.stop(), names.stop()]);
  }
  if (run.failures.length > 0) process.exitCode = 1;
}

function chosenExtent(): Extent {
  const base = options.quick ? QUICK : FULL;
  return { ...base, rounds: Number(options.rounds ?? base.rounds), seconds: Number(options.seconds ?? base.seconds) };
}

/** The measurements asked for, each with the targets asked for; ones of Outcall only when it is built. */
function chosenMeasurements(): Measurement[] {
  const ids = options.only?.split(',');
  const prefixes = options.targets?.toLowerCase().split(',');
  const wanted = (target: Target): boolean =>
    (isOutcallBuilt() || !outcallTargets.has(target)) &&
    (prefixes === undefined || prefixes.some((prefix) => target.name.toLowerCase().startsWith(prefix)));
  return MEASUREMENTS.filter(({ id, onDemand }) => ids?.includes(id) ?? onDemand !== true)
    .map((measurement) => ({ ...measurement, targets: measurement.targets.filter(wanted) }))
    .filter(({ targets }) => targets.length > 0);
}

function writeHosts(folder: string, extent: Extent): string {
  const file = path.join(folder, 'hosts');
  const names = ['localhost', ORIGIN_HOST, TUNNEL_HOST, BYTES_HOST, ...newHostNames(extent)];
  writeFileSync(file, names.map((name) => `127.0.0.1 ${name}\n`).join(''));
  chmodSync(file, 0o644);
  return file;
}

/** 10,000, or as many as the files that a process may have open leave room for: a tunnel takes two. */
function manyTunnels(): number {
  return Math.min(10_000, Math.floor((maxOpenFiles() - OTHER_FILES) / 2));
}
