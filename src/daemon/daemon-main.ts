/**
 * The command `outcalld`: options, then the supervisor, then signals until the end. Exit codes: 0 stopped as asked,
 * 1 cannot start, 2 bad options.
 */
import { performance } from 'node:perf_hooks';
import { createLog } from '../audit/log.ts';
import { VERSION } from '../domain/version.ts';
import { parseOptions } from './options.ts';
import { StartRefused } from './start-checks.ts';
import { Supervisor } from './supervisor.ts';

const EXIT_STOPPED = 0;
const EXIT_CANNOT_START = 1;
const EXIT_USAGE = 2;

/** `entry` is the file that child processes run. Resolves to the exit code when everything has ended. */
export async function daemonMain(entry: string): Promise<number> {
  const parsed = parseOptions(process.argv.slice(2), process.env, VERSION);
  if (parsed.kind === 'done') {
    process.stdout.write(parsed.text);
    return EXIT_STOPPED;
  }
  if (parsed.kind === 'usage') {
    process.stderr.write(parsed.text);
    return EXIT_USAGE;
  }
  const { options, warnings } = parsed;
  const log = createLog({ level: options.logLevel, name: 'outcalld' });
  for (const warning of warnings) log.warn({ event: 'unknown_variable' }, warning);
  const startedAt = new Date(performance.timeOrigin);
  const supervisor = new Supervisor({ options, version: VERSION, entry, environment: process.env, log, startedAt });
  const stopped = stopOnSignal(supervisor, options.drainSecs * 1000, (graceMs) =>
    log.info({ event: 'draining', grace_ms: graceMs }, 'stopping'),
  );
  process.on('SIGHUP', () => void supervisor.reload());
  try {
    // Told to stop while starting, it stops.
    await Promise.race([supervisor.start(), stopped]);
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    process.stderr.write(error.lines.map((line) => `outcalld: ${line}\n`).join(''));
    return EXIT_CANNOT_START;
  }
  await stopped;
  log.info({ event: 'stopped' }, 'stopped');
  return EXIT_STOPPED;
}

/** The first SIGTERM or SIGINT gives open flows their grace, the second ends it. */
function stopOnSignal(supervisor: Supervisor, graceMs: number, onStop: (graceMs: number) => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let grace = graceMs;
  const stop = () => {
    onStop(grace);
    void supervisor.stop(grace).then(resolve);
    grace = 0;
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return promise;
}
