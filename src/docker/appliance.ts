/**
 * The appliance as the engine knows it: which container it is, its network, its address there. It is asked by running
 * the CLI inside it, so that whoever may drive the engine needs no way to the admin socket.
 */
import type { AgentEntry } from '../domain/admin-api.ts';
import { ADMIN_PATHS } from '../domain/admin-api.ts';
import { ROLE_LABEL } from './beside.ts';
import type { ContainerView } from './container-view.ts';
import { inspectContainer, listContainers } from './containers.ts';
import type { Engine } from './engine.ts';
import { runInside } from './exec.ts';
import { DockerFailure } from './failure.ts';
import { findNetwork, type NetworkView } from './networks.ts';

const EXIT_NOT_FOUND = 6;
/** One argument of a program is at most 128 KiB (MAX_ARG_STRLEN of execve(2)). */
const MAX_BODY_CHARS = 100_000;

export interface Appliance {
  readonly id: string;
  readonly name: string;
  readonly imageId: string;
  readonly network: NetworkView;
  /** Where agents ask for names, and where the proxy is. */
  readonly address: string;
}

export interface ApplianceOptions {
  readonly network: string;
  /** A container's name or id; without it, the one that is labelled as the appliance. */
  readonly appliance?: string;
}

/** Rejects with DockerFailure: absent (no network, no appliance), unsupported (a network that is not closed). */
export async function findAppliance(engine: Engine, options: ApplianceOptions): Promise<Appliance> {
  const network = await agentsNetwork(engine, options.network);
  const container = await inspectContainer(engine, options.appliance ?? (await labelled(engine)));
  const endpoint = container.networks.get(network.name);
  const address = endpoint?.address || endpoint?.fixedAddress;
  if (!container.running || !address) {
    const state = container.running ? `is not on network ${network.name}` : 'does not run';
    throw new DockerFailure('absent', `the appliance ${container.name} ${state}`, ['docker compose up -d']);
  }
  return { id: container.id, name: container.name, imageId: container.imageId, network, address };
}

/** What is wrong with a network that agents would be locked into; undefined for a closed one. */
export function openness({ internal, driver, ipv6, options }: NetworkView): string | undefined {
  if (driver !== 'bridge') return `its driver is ${driver}, not bridge`;
  if (!internal) return 'it is not internal: containers on it have a way out';
  const hostless =
    options['com.docker.network.bridge.inhibit_ipv4'] === 'true' ||
    options['com.docker.network.bridge.gateway_mode_ipv4'] === 'isolated';
  if (!hostless) return 'the host has an address on it (com.docker.network.bridge.inhibit_ipv4 is not set)';
  return ipv6 ? 'it has IPv6, which the lock does not cover' : undefined;
}

/** The CA certificate in PEM; undefined where the appliance has none. */
export async function caOf(engine: Engine, appliance: Appliance): Promise<string | undefined> {
  const { code, out, err } = await ask(engine, appliance, ['GET', ADMIN_PATHS.caBundle]);
  if (code === EXIT_NOT_FOUND) return undefined;
  if (code !== 0) throw unwilling(appliance, err);
  return out;
}

/** The JSON value that the admin API gives. */
export async function answerOf<T>(engine: Engine, appliance: Appliance, path: string): Promise<T> {
  const { code, out, err } = await ask(engine, appliance, ['GET', path]);
  if (code !== 0) throw unwilling(appliance, err);
  return JSON.parse(out) as T;
}

/** Tells who is behind which address; what it knew of these agents is replaced. */
export async function tellAgents(engine: Engine, appliance: Appliance, agents: readonly AgentEntry[]): Promise<void> {
  for (const body of bodiesOf(agents)) {
    const { code, err } = await ask(engine, appliance, ['POST', ADMIN_PATHS.agents, body]);
    if (code !== 0) throw unwilling(appliance, err);
  }
}

export async function forgetAgent(engine: Engine, appliance: Appliance, id: string): Promise<void> {
  const { code, err } = await ask(engine, appliance, ['DELETE', `${ADMIN_PATHS.agents}?id=${id}`]);
  if (code !== 0 && code !== EXIT_NOT_FOUND) throw unwilling(appliance, err);
}

export function isAppliance(container: ContainerView | { labels: ContainerView['labels'] }): boolean {
  return container.labels[ROLE_LABEL] === 'appliance';
}

async function agentsNetwork(engine: Engine, name: string): Promise<NetworkView> {
  const network = await findNetwork(engine, name);
  if (network === undefined) {
    const remedies = ['docker compose up -d makes it and starts the appliance', 'or name another with --network'];
    throw new DockerFailure('absent', `there is no network ${name}`, remedies);
  }
  const open = openness(network);
  if (open === undefined) return network;
  throw new DockerFailure('unsupported', `network ${name} does not lock anybody in: ${open}`, [
    'make it as compose/appliance.yaml does',
  ]);
}

async function labelled(engine: Engine): Promise<string> {
  const found = await listContainers(engine, { label: [`${ROLE_LABEL}=appliance`], status: ['running'] });
  const [only] = found;
  if (only !== undefined && found.length === 1) return only.id;
  if (found.length > 1) {
    const names = found.map(({ name }) => name).join(', ');
    throw new DockerFailure('unsupported', `there are several appliances: ${names}`, ['name one with --appliance']);
  }
  throw new DockerFailure('absent', `no appliance runs (no container with the label ${ROLE_LABEL}=appliance)`, [
    'docker compose up -d',
    'or name its container with --appliance',
  ]);
}

function ask(engine: Engine, { id }: Appliance, args: readonly string[]) {
  return runInside(engine, id, ['outcall', 'admin', ...args], 'itself');
}

function unwilling({ name }: Appliance, err: string): DockerFailure {
  const words = err.trim().replace(/^outcall: /, '') || 'it says nothing';
  return new DockerFailure('engine', `the appliance ${name} does not answer as it should: ${words}`, [
    `docker logs ${name}`,
  ]);
}

/** As many agents at a time as one argument takes. */
function bodiesOf(agents: readonly AgentEntry[]): readonly string[] {
  const groups: string[][] = [[]];
  let chars = 0;
  for (const text of agents.map((agent) => JSON.stringify(agent))) {
    if (chars + text.length > MAX_BODY_CHARS && chars > 0) {
      groups.push([]);
      chars = 0;
    }
    groups.at(-1)?.push(text);
    chars += text.length + 1;
  }
  return groups.filter((group) => group.length > 0).map((group) => `{"agents":[${group.join(',')}]}`);
}
