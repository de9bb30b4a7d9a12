/** The containers on the agents' network and how they stand: locked, merely joined, or with a way round. Changes none. */
import { ADMIN_PATHS, type AgentsAnswer } from '../domain/admin-api.ts';
import { type Appliance, answerOf, isAppliance } from './appliance.ts';
import { type Before, beforeOf } from './before.ts';
import { ROLE_LABEL } from './beside.ts';
import { companionsOf } from './companions.ts';
import type { ContainerView } from './container-view.ts';
import { findContainer, listContainers } from './containers.ts';
import type { Engine } from './engine.ts';
import { textOf } from './files.ts';
import { isRefusal, obstacles } from './lockable.ts';
import { ENGINE_RESOLVER, nameservers } from './resolv-conf.ts';

export interface AgentStanding {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  /** Empty while it is stopped and has no fixed one. */
  readonly address: string;
  /**
   * locked: by `outcall attach`; joined: on the network by its own configuration; open: it has a way round;
   * stopped: nothing runs in it.
   */
  readonly state: 'locked' | 'joined' | 'open' | 'stopped';
  /** What is not as it should be. */
  readonly problems: readonly string[];
  readonly container: ContainerView;
}

export async function listAgents(engine: Engine, appliance: Appliance): Promise<readonly AgentStanding[]> {
  const [{ agents }, listed] = await Promise.all([
    answerOf<AgentsAnswer>(engine, appliance, ADMIN_PATHS.agents),
    listContainers(engine, { network: [appliance.network.name] }),
  ]);
  const known = new Set(agents.map(({ id, ip }) => `${id} ${ip}`));
  const others = listed.filter(({ id, labels }) => id !== appliance.id && labels[ROLE_LABEL] === undefined);
  const views = await Promise.all(others.map(({ id }) => findContainer(engine, id)));
  const agentViews = views.filter((view) => view !== undefined).filter((view) => !isAppliance(view));
  const standings = await Promise.all(agentViews.map((view) => standingOf(engine, appliance, view, known)));
  return standings.toSorted((a, b) => a.name.localeCompare(b.name));
}

async function standingOf(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  known: ReadonlySet<string>,
): Promise<AgentStanding> {
  const { id, name, image, running } = container;
  const { name: network } = appliance.network;
  const endpoint = container.networks.get(network);
  const address = endpoint?.address || endpoint?.fixedAddress || '';
  const waysRound = await waysRoundOf(engine, network, container);
  const before = beforeOf(container, network);
  const state = !running ? 'stopped' : waysRound.length > 0 ? 'open' : before === undefined ? 'joined' : 'locked';
  const loose = running && before !== undefined ? await looseEnds(engine, appliance, container, before) : [];
  const unknown = running && !known.has(`${id} ${address}`) ? ['the appliance does not know who it is'] : [];
  return { id, name, image, address, state, problems: [...waysRound, ...loose, ...unknown], container };
}

async function waysRoundOf(engine: Engine, network: string, container: ContainerView): Promise<readonly string[]> {
  const others = [...container.networks.keys()].filter((name) => name !== network);
  const found = obstacles(container, await companionsOf(engine, container)).filter(isRefusal);
  return [...others.map((name) => `also on network ${name}`), ...found.map(({ what }) => what)];
}

async function looseEnds(
  engine: Engine,
  { address }: Appliance,
  container: ContainerView,
  { replaces }: Before,
): Promise<readonly string[]> {
  const servers = nameservers((await textOf(engine, container.id, '/etc/resolv.conf')) ?? '');
  // A copy was made with dns: [the appliance], which the engine's own resolver then asks.
  const ours = replaces === undefined ? [address] : [address, ENGINE_RESOLVER];
  return servers.length === 1 && ours.includes(servers[0] ?? '') ? [] : [`names are asked of ${servers.join(', ')}`];
}
