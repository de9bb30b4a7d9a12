/**
 * The lab of scripts/lab as tests use it: where it is, how to speak to its engine, and commands in its namespaces.
 */
import { join, resolve } from 'node:path';
import { describe } from 'vitest';
import { hasProgram, type RunOptions, type RunResult, run } from '../../kit/run.ts';

export const ROOT = resolve(import.meta.dirname, '../../..');
const LAB = process.env['LAB'] ?? join(ROOT, '.lab');
const LAB_NAME = process.env['LAB_NAME'] ?? 'outcall';
export const LAB_RUN = join(LAB, 'run');
/** For the scripts of scripts/lab. */
export const LAB_VARIABLES = { LAB, LAB_NAME };
/** The client that came with the engine. */
export const DOCKER = join(LAB, 'engine/usr/bin/docker');

/** For a client of the lab's engine. */
export const ENGINE_VARIABLES = {
  DOCKER_HOST: `unix://${join(LAB_RUN, 'docker.sock')}`,
  DOCKER_CONFIG: join(LAB_RUN, 'config'),
};

/** An engine takes root, and the lab is made of Debian's packages. */
export const ENGINE_CAN_RUN = process.getuid?.() === 0 && hasProgram('apt-get');

/** Reported as skipped where no engine can run; in CI a skip is a failure. */
export const describeOnEngine = describe.skipIf(!ENGINE_CAN_RUN);

/** Runs a script of scripts/lab; rejects with what it said when it fails. */
export async function lab(script: 'up' | 'engine', args: readonly string[], timeoutMs: number): Promise<void> {
  const { code, stderr } = await run(join(ROOT, 'scripts/lab', script), args, { timeoutMs, env: LAB_VARIABLES });
  if (code !== 0) throw new Error(`scripts/lab/${script}: exit ${code}: ${stderr}`);
}

/** Both are places of the lab: the host of the engine, and the internet. */
export type Place = 'host' | 'inet';

/** Runs docker with the lab's engine; rejects with what it said when it fails. */
export async function docker(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await tryDocker(args, options);
  if (code !== 0) throw new Error(`docker ${args.join(' ')}: exit ${code}: ${stderr}${stdout}`);
  return stdout.trimEnd();
}

/** The same, for commands that may fail. */
export async function tryDocker(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return run(DOCKER, args, { timeoutMs: 60_000, ...options, env: { ...ENGINE_VARIABLES, ...options.env } });
}

/** Runs a program in the network namespace of the engine's host or of the internet. */
export async function runIn(place: Place, command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return run('nsenter', [`--net=/run/netns/${LAB_NAME}-${place}`, ...command], options);
}
