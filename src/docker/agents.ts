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
import { isIsolated, isolatedPlaces } from './isolated.ts';
import { isRefusal, obstacles } from './lockable.ts';
import { ENGINE_RESOLVER, nameservers } from './resolv-conf.ts';

export interface AgentStanding {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  /** Empty while it is stopped and has no fixed one. */
  readonly address: string;
  /**
   * locked: by `outcall attach`; isolated: the same, on a network of its own; joined: on the network by its own
   * configuration; open: it has a way round; stopped: nothing runs in it.
   */
  readonly state: 'locked' | 'isolated' | 'joined' | 'open' | 'stopped';
  /** What is not as it should be. */
  readonly problems: readonly string[];
  readonly container: ContainerView;
  /** Its network, and the appliance there. */
  readonly place: Appliance;
}

export async function listAgents(engine: Engine, appliance: Appliance): Promise<readonly AgentStanding[]> {
  const [{ agents }, isolated] = await Promise.all([
    answerOf<AgentsAnswer>(engine, appliance, ADMIN_PATHS.agents),
    isolatedPlaces(engine, appliance),
  ]);
  const known = new Set(agents.map(({ id, ip }) => `${id} ${ip}`));
  const standings = await Promise.all(
    [...isolated, appliance].map(async (place) => {
      const views = await viewsOn(engine, place);
      return Promise.all(views.map((view) => standingOf(engine, place, view, views, known)));
    }),
  );
  // Who is on two of them is told once, by the network of its own.
  const byId = new Map(
    standings
      .flat()
      .toReversed()
      .map((standing) => [standing.id, standing]),
  );
  return [...byId.values()].toSorted((a, b) => a.name.localeCompare(b.name));
}

/** The agents of one network. */
async function viewsOn(engine: Engine, { id: own, network }: Appliance): Promise<readonly ContainerView[]> {
  const listed = await listContainers(engine, { network: [network.name] });
  const others = listed.filter(({ id, labels }) => id !== own && labels[ROLE_LABEL] === undefined);
  const views = await Promise.all(others.map(({ id }) => findContainer(engine, id)));
  return views.filter((view) => view !== undefined).filter((view) => !isAppliance(view));
}

async function standingOf(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  onNetwork: readonly ContainerView[],
  known: ReadonlySet<string>,
): Promise<AgentStanding> {
  const { id, name, image, running } = container;
  const { name: network } = appliance.network;
  const endpoint = container.networks.get(network);
  const address = endpoint?.address || endpoint?.fixedAddress || '';
  const mates = isIsolated(appliance.network) ? onNetwork.filter((other) => other.id !== id) : [];
  const shared = mates.map((mate) => `${mate.name} is on its own network too`);
  const waysRound = [...(await waysRoundOf(engine, network, container)), ...shared];
  const before = beforeOf(container, network);
  const closed = before === undefined ? 'joined' : isIsolated(appliance.network) ? 'isolated' : 'locked';
  const state = !running ? 'stopped' : waysRound.length > 0 ? 'open' : closed;
  const loose = running && before !== undefined ? await looseEnds(engine, appliance, container, before) : [];
  const unknown = running && !known.has(`${id} ${address}`) ? ['the appliance does not know who it is'] : [];
  return {
    id,
    name,
    image,
    address,
    state,
    problems: [...waysRound, ...loose, ...unknown],
    container,
    place: appliance,
  };
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
