/**
 * Networks of one agent (`attach --isolate`): made, joined by the appliance, found again, removed. What a command needs to
 * know of one is the same as of the shared network, so it is given as an Appliance: that network, and our address there.
 * Threats rows 22, 23, 25.
 */
import type { StatusAnswer } from '../domain/admin-api.ts';
import { ADMIN_PATHS } from '../domain/admin-api.ts';
import { formatIpv4, Ipv4Range } from '../domain/ipv4-range.ts';
import { type IsolatedNetwork, isolatedNetwork, slicesOf } from '../domain/isolated-network.ts';
import { type Appliance, answerOf } from './appliance.ts';
import { ROLE_LABEL } from './beside.ts';
import type { ContainerView } from './container-view.ts';
import { findContainer, inspectContainer, listContainers } from './containers.ts';
import type { Engine } from './engine.ts';
import { DockerFailure } from './failure.ts';
import {
  createClosedNetwork,
  joinNetwork,
  leaveNetwork,
  listNetworks,
  type NetworkView,
  removeNetwork,
} from './networks.ts';
import type { Steps } from './steps.ts';
import type { UndoStack } from './undo.ts';

const ROLE = 'isolated';
/** Which shared network its appliance has. */
const SHARED_LABEL = 'outcall.network';
/** Whom it was made for, by id. */
const AGENT_LABEL = 'outcall.agent';
/** Of the network and of its bridge on the host, with the number of its slice behind: 15 characters at most. */
const NAME_PREFIX = 'outcall-';
/** The daemon looks at its interfaces four times a second; the machine may be busy. */
const SERVED_MS = 15_000;
const POLL_MS = 100;

export function isIsolated({ labels }: NetworkView): boolean {
  return labels[ROLE_LABEL] === ROLE;
}

/** The only address that an agent can have on a network of its own; undefined on any other network. */
export function onlyAddress(network: NetworkView): string | undefined {
  return isIsolated(network) ? formatIpv4(layoutOf(network).agent) : undefined;
}

/** Each as the appliance is there. */
export async function isolatedPlaces(engine: Engine, appliance: Appliance): Promise<readonly Appliance[]> {
  const labels = [`${ROLE_LABEL}=${ROLE}`, `${SHARED_LABEL}=${appliance.network.name}`];
  return (await listNetworks(engine, labels)).map((network) => placeOn(appliance, network));
}

/** Where this container is behind the appliance, or would be: on a network of its own, else on the shared one. */
export async function placeOf(engine: Engine, appliance: Appliance, { networks }: ContainerView): Promise<Appliance> {
  const places = await isolatedPlaces(engine, appliance);
  return places.find(({ network }) => networks.has(network.name)) ?? appliance;
}

/** The container's network, made where it has none, with the appliance on it and serving it. */
export async function ownNetwork(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  steps: Steps,
  undo: UndoStack,
): Promise<Appliance> {
  return steps.run(
    'giving it a network of its own',
    async () => {
      const present = await placeOf(engine, appliance, container);
      const place = isIsolated(present.network) ? present : await make(engine, appliance, container, undo);
      await serve(engine, place, undo);
      return place;
    },
    ({ network }) => `network ${network.name} (${network.subnet}) is its own`,
  );
}

/** The appliance is connected to it, and answers there. Nothing happens where that is so. */
export async function serve(engine: Engine, place: Appliance, undo?: UndoStack): Promise<void> {
  const { name } = place.network;
  const { networks } = await inspectContainer(engine, place.id);
  if (!networks.has(name)) {
    const IPAMConfig = { IPv4Address: place.address };
    await joinNetwork(engine, name, place.id, { IPAMConfig, MacAddress: macOf(place.address) });
    undo?.push(`the appliance on network ${name}`, () => leaveNetwork(engine, name, place.id));
  }
  await untilServed(engine, place, true);
}

/** Takes the appliance off a network of one agent and removes it; nothing happens to the shared one. */
export async function removeOwnNetwork(engine: Engine, place: Appliance): Promise<void> {
  const { network, id } = place;
  if (!isIsolated(network)) return;
  const container = await findContainer(engine, id);
  if (container?.networks.has(network.name) === true) await leaveNetwork(engine, network.name, id);
  await removeNetwork(engine, network.name);
  // What its addresses stood for, and who was there, must be forgotten before another network is in its place.
  if (container?.running === true) await untilServed(engine, place, false);
}

/** Removes networks whose agent is gone for good. */
export async function removeOrphans(engine: Engine, appliance: Appliance): Promise<void> {
  for (const place of await isolatedPlaces(engine, appliance)) {
    const on = await listContainers(engine, { network: [place.network.name] });
    const others = on.filter(({ id }) => id !== appliance.id);
    const madeFor = await findContainer(engine, place.network.labels[AGENT_LABEL] ?? '');
    if (others.length === 0 && madeFor === undefined) await removeOwnNetwork(engine, place);
  }
}

function placeOn(appliance: Appliance, network: NetworkView): Appliance {
  return { ...appliance, network, address: formatIpv4(layoutOf(network).appliance) };
}

function layoutOf({ name, subnet = '' }: NetworkView): IsolatedNetwork {
  const range = Ipv4Range.parse(subnet);
  const layout = range === undefined ? undefined : isolatedNetwork(range);
  if (layout !== undefined) return layout;
  throw new DockerFailure('unsupported', `network ${name} (${subnet}) is not laid out as one of one agent`, [
    `docker network rm ${name}, and attach its agent again`,
  ]);
}

/** In the first part of the range that no network of this engine has. */
async function make(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  undo: UndoStack,
): Promise<Appliance> {
  const range = await rangeOf(engine, appliance);
  await removeOrphans(engine, appliance);
  for (const [index, slice] of [...slicesOf(range)].entries()) {
    if (await isTaken(engine, slice)) continue;
    try {
      const network = await createClosedNetwork(engine, specOf(index + 1, slice, appliance, container));
      undo.push(`network ${network.name}`, () => removeNetwork(engine, network.name));
      return placeOn(appliance, network);
    } catch (error) {
      // Another attach may have been faster.
      if (!(await isTaken(engine, slice))) throw error;
    }
  }
  throw new DockerFailure('unsupported', `${range.cidr} has no room for another network of one agent`, [
    'detach agents that are no longer used, or give outcalld a wider --isolated range',
  ]);
}

function specOf(number: number, { subnet, pool }: IsolatedNetwork, appliance: Appliance, { id }: ContainerView) {
  const name = `${NAME_PREFIX}${number}`;
  return {
    name,
    subnet: subnet.cidr,
    // Whoever does not ask for an address gets one that is neither ours nor the agent's.
    ipRange: Ipv4Range.around(pool.first - 1, pool.prefix + 1).cidr,
    gateway: formatIpv4(subnet.first + 1),
    options: {
      'com.docker.network.bridge.name': name,
      'com.docker.network.bridge.inhibit_ipv4': 'true',
    },
    labels: { [ROLE_LABEL]: ROLE, [SHARED_LABEL]: appliance.network.name, [AGENT_LABEL]: id },
  };
}

async function rangeOf(engine: Engine, appliance: Appliance): Promise<Ipv4Range> {
  const { isolated } = await answerOf<StatusAnswer>(engine, appliance, ADMIN_PATHS.status);
  const range = isolated == null ? undefined : Ipv4Range.parse(isolated.range);
  if (range !== undefined) return range;
  throw new DockerFailure('unsupported', `the appliance ${appliance.name} has no range for networks of one agent`, [
    'set OUTCALL_ISOLATED=10.204.0.0/14 (--isolated) in its environment, as compose/appliance.yaml does',
  ]);
}

async function isTaken(engine: Engine, { subnet }: IsolatedNetwork): Promise<boolean> {
  const networks = await listNetworks(engine);
  return networks.some((network) => Ipv4Range.parse(network.subnet ?? '')?.overlaps(subnet) === true);
}

async function untilServed(engine: Engine, place: Appliance, wanted: boolean): Promise<void> {
  const deadline = Date.now() + SERVED_MS;
  while ((await served(engine, place)) !== wanted) {
    if (Date.now() > deadline) {
      const words = wanted ? 'does not serve' : 'does not let go of';
      const message = `the appliance ${place.name} ${words} network ${place.network.name}`;
      throw new DockerFailure('engine', message, [`docker logs ${place.name}`]);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function served(engine: Engine, place: Appliance): Promise<boolean> {
  const { isolated } = await answerOf<StatusAnswer>(engine, place, ADMIN_PATHS.status);
  return isolated?.served.includes(place.network.subnet ?? '') === true;
}

/** The engine's own way to make a MAC address of an IP address, so that the agent's ARP entry stays good over a restart. */
function macOf(address: string): string {
  return ['02', '42', ...address.split('.').map((octet) => Number(octet).toString(16).padStart(2, '0'))].join(':');
}
