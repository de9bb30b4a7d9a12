/**
 * The appliance as a user gets it: `docker compose up` of the repository's own compose.yaml and image, with an override that
 * lets it trust and reach the lab's internet. One at a time, since its network and address are fixed: a file takes over the
 * one of the file before, where it asks for the same.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { StatusAnswer } from '../../../src/domain/admin-api.ts';
import type { RunResult } from '../../kit/run.ts';
import { forget, INTERNET_CA_FILE, INTERNET_RANGE } from './internet.ts';
import { docker, LAB_RUN, ROOT, tryDocker } from './lab.ts';

export const APPLIANCE_ADDRESS = '10.203.0.2';
const RULES_DIR = join(LAB_RUN, 'rules');
const OVERRIDE_FILE = join(LAB_RUN, 'override.json');
const UP_TIMEOUT_MS = 90_000;
const POLL_MS = 100;

export interface ApplianceOptions {
  /** The text of rules.yaml. */
  readonly rules: string;
  /** Options of outcalld, by their OUTCALL_ names. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Profiles of compose.yaml, as `guard`. */
  readonly profiles?: readonly string[];
  /** Not given: the one of compose.yaml. */
  readonly image?: string;
  /** Not the one of the file before, which may yet close connections that it kept: for witnesses that may see no packet. */
  readonly fresh?: boolean;
}

type Shape = Omit<ApplianceOptions, 'rules' | 'fresh'>;

/**
 * Resolves when the daemon is ready and has these rules; the witnesses have then forgotten what was before. One that was
 * asked for as users have it stays up for the next file, any other is removed when it is disposed of.
 */
export async function startAppliance(options: ApplianceOptions): Promise<Appliance> {
  const appliance = new Appliance(options);
  if (options.fresh === true) await removeEverything();
  clearRules();
  appliance.writeRules(options.rules);
  try {
    await appliance.replaceBy(options);
    await appliance.reload();
    await forget();
  } catch (error) {
    const log = await appliance.logs();
    await appliance.remove();
    throw new Error(`${(error as Error).message}; the appliance said:\n${log}`, { cause: error });
  }
  return appliance;
}

export class Appliance implements AsyncDisposable {
  readonly profiles: readonly string[];
  readonly #isUsual: boolean;

  constructor({ profiles = [], environment, image }: Shape = {}) {
    this.profiles = profiles;
    this.#isUsual = profiles.length === 0 && environment === undefined && image === undefined;
  }

  /** docker compose up -d, of another shape than before. Resolves when the daemon is ready. */
  async replaceBy(shape: Shape): Promise<void> {
    writeFileSync(OVERRIDE_FILE, JSON.stringify(overrideOf(shape)));
    await this.compose(['up', '-d', '--pull', 'never', 'appliance', ...this.profiles]);
    await this.untilReady();
  }

  /** docker compose with this project's files. */
  async compose(args: readonly string[]): Promise<string> {
    const files = ['-f', join(ROOT, 'compose.yaml'), '-f', OVERRIDE_FILE];
    const profiles = this.profiles.flatMap((name) => ['--profile', name]);
    return docker(['compose', ...files, ...profiles, ...args], {
      env: { OUTCALL_RULES_DIR: RULES_DIR },
      timeoutMs: UP_TIMEOUT_MS,
    });
  }

  /** Runs a program in the appliance, as root there. */
  async exec(command: readonly string[]): Promise<RunResult> {
    return tryDocker(['exec', 'outcall-appliance-1', ...command]);
  }

  async status(): Promise<StatusAnswer | undefined> {
    const { code, stdout } = await this.exec(['outcall', 'status', '--json']);
    return code === 0 ? (JSON.parse(stdout) as StatusAnswer) : undefined;
  }

  /** The engine's view: starting, healthy, unhealthy. */
  async health(): Promise<string> {
    return docker(['inspect', '-f', '{{.State.Health.Status}}', 'outcall-appliance-1']);
  }

  /** How often the engine has started it again. */
  async restarts(): Promise<number> {
    return Number(await docker(['inspect', '-f', '{{.RestartCount}}', 'outcall-appliance-1']));
  }

  async untilReady(): Promise<void> {
    await until('the appliance to be ready', async () => {
      if ((await this.restarts()) > 0) throw new Error('the appliance does not start');
      return (await this.status())?.state === 'ready';
    });
  }

  /** Makes it take what is in its folder; rejects where it refuses that. */
  async reload(): Promise<void> {
    const { code, stderr } = await this.exec(['outcall', 'rules', 'reload']);
    if (code !== 0) throw new Error(stderr);
  }

  /** Replaces rules.yaml in the mounted folder, as an editor does: whole. */
  writeRules(text: string): void {
    writeFileSync(join(RULES_DIR, 'rules.yaml'), text);
  }

  /** What it said, since a time in RFC 3339 if one is given. */
  async logs(since?: string): Promise<string> {
    const from = since === undefined ? [] : ['--since', since];
    const { stdout, stderr } = await tryDocker(['logs', ...from, 'outcall-appliance-1']);
    return stdout + stderr;
  }

  /** Containers, networks and volumes. */
  async remove(): Promise<void> {
    await this.compose(['down', '--volumes', '--timeout', '2', '--remove-orphans']);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isUsual) await this.remove();
  }
}

/** What the last file left, or a run that was killed; the engine must be up. */
export async function removeEverything(): Promise<void> {
  const left = (await docker(['ps', '--all', '--quiet'])).split('\n').filter(Boolean);
  if (left.length > 0) await docker(['rm', '--force', '--volumes', ...left]);
  if (existsSync(OVERRIDE_FILE)) await new Appliance().remove();
}

/** The folder stays: it is mounted. */
function clearRules(): void {
  mkdirSync(RULES_DIR, { recursive: true });
  for (const name of readdirSync(RULES_DIR)) rmSync(join(RULES_DIR, name));
}

/** Asks until it is so. Only for what the engine tells to those who ask; rejects with `what` when it takes too long. */
export async function until(what: string, isSo: () => Promise<boolean>, ms = 60_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}`);
    await delay(POLL_MS);
  }
}

function overrideOf({ environment = {}, image }: Shape): object {
  return {
    services: {
      appliance: {
        ...(image === undefined ? {} : { image }),
        environment: {
          OUTCALL_UPSTREAM_CA: '/lab/internet-ca.pem',
          OUTCALL_ALLOW_PRIVATE: INTERNET_RANGE,
          OUTCALL_DRAIN_SECS: '1',
          ...environment,
        },
        volumes: [`${INTERNET_CA_FILE}:/lab/internet-ca.pem:ro`],
      },
    },
  };
}
