/**
 * Looks at everything that the lock rests on, from the engine to each agent's runtimes, and says what is not as it
 * should be and what to do. Named checks, in the order in which one depends on another. Repairs nothing.
 */
import { ADMIN_PATHS, type CaAnswer, type StatusAnswer } from '../domain/admin-api.ts';
import { type AgentStanding, listAgents } from './agents.ts';
import { type Appliance, type ApplianceOptions, answerOf, caOf, findAppliance } from './appliance.ts';
import { ROLE_LABEL } from './beside.ts';
import { listContainers } from './containers.ts';
import type { Engine } from './engine.ts';
import { DockerFailure } from './failure.ts';
import { isIsolated } from './isolated.ts';
import { isRefusal, obstacles } from './lockable.ts';
import { type RuntimeTrust, runtimesOf } from './runtimes.ts';
import { verify } from './verify.ts';

export interface Finding {
  /** `engine`, `network`, ..., `agent NAME`. */
  readonly about: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly text: string;
  readonly remedy?: string;
}

/** Engine 26 is the first whose own resolver never asks outside for containers on internal networks (CVE-2024-29018). */
const QUIET_RESOLVER_MAJOR = 26;
const DAY_MS = 86_400_000;
const CA_NEARLY_OVER_DAYS = 30;

/** Rejects with DockerFailure only where there is no engine. */
export async function doctor(engine: Engine, options: ApplianceOptions, now: number): Promise<readonly Finding[]> {
  const findings: Finding[] = [engineFinding(engine)];
  try {
    const appliance = await findAppliance(engine, options);
    findings.push({
      about: 'network',
      state: 'ok',
      text: `${appliance.network.name} ${appliance.network.subnet} is closed`,
    });
    findings.push({ about: 'appliance', state: 'ok', text: `${appliance.name} at ${appliance.address}` });
    findings.push(...(await daemonFindings(engine, appliance, now)), await watchFinding(engine));
    for (const agent of await listAgents(engine, appliance)) {
      findings.push(...(await agentFindings(engine, appliance, agent)));
    }
  } catch (error) {
    if (!(error instanceof DockerFailure) || error.kind === 'unreachable') throw error;
    findings.push({ about: 'appliance', state: 'fail', text: error.message, ...remedyOf(error.remedies) });
  }
  return findings;
}

function engineFinding({ version, apiVersion }: Engine): Finding {
  const text = `Docker Engine ${version}, API ${apiVersion}`;
  if (Number.parseInt(version, 10) >= QUIET_RESOLVER_MAJOR) return { about: 'engine', state: 'ok', text };
  return {
    about: 'engine',
    state: 'warn',
    text: `${text}: its own resolver may ask outside for containers that do not name the appliance in dns:`,
    remedy: 'give agents dns: [the appliance], attach with --recreate, or use Docker Engine 26 or newer',
  };
}

async function daemonFindings(engine: Engine, appliance: Appliance, now: number): Promise<readonly Finding[]> {
  const [status, ca] = await Promise.all([
    answerOf<StatusAnswer>(engine, appliance, ADMIN_PATHS.status),
    answerOf<CaAnswer>(engine, appliance, ADMIN_PATHS.ca),
  ]);
  const logs = `docker logs ${appliance.name}`;
  return [
    status.state === 'ready'
      ? finding('daemon', 'ok', `outcalld ${status.version} is ready`)
      : finding('daemon', 'fail', `outcalld is ${status.state}`, logs),
    lockFinding(status, logs),
    rulesFinding(status),
    caFinding(ca, now),
  ];
}

function lockFinding({ lock }: StatusAnswer, logs: string): Finding {
  if (lock === 'intact') return finding('lock', 'ok', 'the nft rules are in force as they were set');
  if (lock === 'off')
    return finding('lock', 'fail', 'outcalld runs without --lock', 'start it as compose/appliance.yaml does');
  return finding('lock', 'fail', 'the nft rules are not what was set', logs);
}

function rulesFinding({ rules, generation, rules_path, reload_problems }: StatusAnswer): Finding {
  if (reload_problems.length > 0) {
    const text = `the rules on disk have ${reload_problems.length} problems; generation ${generation} stays in force`;
    return finding('rules', 'fail', text, 'outcall rules check');
  }
  if (rules > 0) return finding('rules', 'ok', `${rules} in force, generation ${generation}`);
  return finding('rules', 'warn', 'there are none: nothing is allowed', `write some into ${rules_path}`);
}

function caFinding({ loaded, not_after }: CaAnswer, now: number): Finding {
  if (!loaded || not_after === null)
    return finding('ca', 'warn', 'no CA is loaded: no rule can look inside TLS', 'outcall ca generate');
  const days = Math.floor((Date.parse(not_after) - now) / DAY_MS);
  if (days >= CA_NEARLY_OVER_DAYS) return finding('ca', 'ok', `loaded, valid until ${not_after}`);
  return finding(
    'ca',
    days < 0 ? 'fail' : 'warn',
    `the CA ends ${not_after}`,
    'outcall ca generate, and when agents trust it, outcall ca rotate',
  );
}

async function watchFinding(engine: Engine): Promise<Finding> {
  const watchers = await listContainers(engine, { label: [`${ROLE_LABEL}=watch`], status: ['running'] });
  if (watchers.length > 0)
    return finding('watch', 'ok', `${watchers.map(({ name }) => name).join(', ')} keeps agents attached`);
  const text = 'nobody attaches agents again when they start, or tells a new appliance who they are';
  return finding('watch', 'warn', text, 'docker compose --profile watch up -d, or outcall watch');
}

async function agentFindings(engine: Engine, appliance: Appliance, agent: AgentStanding): Promise<readonly Finding[]> {
  const { name, state, problems, container, address, place } = agent;
  const about = `agent ${name}`;
  if (state === 'stopped') return [finding(about, 'ok', 'is stopped')];
  const severity = state === 'open' ? 'fail' : 'warn';
  const standing =
    problems.length === 0
      ? [finding(about, 'ok', `${state} at ${address}`)]
      : problems.map((problem) => finding(about, severity, problem, `outcall attach ${name}`));
  const warnings = obstacles(container, [], isIsolated(place.network))
    .filter((obstacle) => !isRefusal(obstacle))
    .map(({ what, why, change }) => finding(about, 'warn', `${what}: ${why}`, change));
  const broken = (await verify(engine, place, container.id)).filter(({ ok }) => !ok);
  const seen = broken.map(({ name: check, found, remedy }) =>
    finding(about, 'fail', `not so: ${check}${found === undefined ? '' : ` (${found})`}`, remedy),
  );
  return [...standing, ...seen, ...warnings, ...(await runtimeFindings(engine, appliance, agent, about))];
}

async function runtimeFindings(
  engine: Engine,
  appliance: Appliance,
  { container }: AgentStanding,
  about: string,
): Promise<readonly Finding[]> {
  const caPem = await caOf(engine, appliance);
  if (caPem === undefined) return [];
  const runtimes = await runtimesOf(engine, container, caPem);
  const trusting = runtimes.filter(({ trusts }) => trusts).map(({ name }) => name);
  const doubting = runtimes.filter(({ trusts }) => !trusts);
  const good = trusting.length === 0 ? [] : [finding(about, 'ok', `trust the CA: ${trusting.join(', ')}`)];
  const bad = doubting.map(({ name, remedy }: RuntimeTrust) =>
    finding(about, 'warn', `${name} does not trust the CA`, remedy),
  );
  return [...good, ...bad];
}

function finding(about: string, state: Finding['state'], text: string, remedy?: string): Finding {
  return { about, state, text, ...(remedy === undefined ? {} : { remedy }) };
}

function remedyOf(remedies: readonly string[]): { remedy?: string } {
  return remedies.length === 0 ? {} : { remedy: remedies.join('; ') };
}
