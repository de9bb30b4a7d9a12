/**
 * The network part of attaching: onto our network with a fixed address, off all others, and names asked of us alone.
 * Closed first: the other networks are left before anything else is done. Each step goes onto the undo stack.
 */
import { chooseAddress, inAgentsHalf } from './addresses.ts';
import type { Appliance } from './appliance.ts';
import { attachedSettings, type Before, beforeOf } from './before.ts';
import { runBeside } from './beside.ts';
import type { ContainerView, EndpointSettings } from './container-view.ts';
import { listContainers } from './containers.ts';
import type { Engine } from './engine.ts';
import { DockerFailure } from './failure.ts';
import { textOf } from './files.ts';
import { onlyAddress } from './isolated.ts';
import { joinNetwork, leaveNetwork } from './networks.ts';
import { resolvConfFor } from './resolv-conf.ts';
import type { UndoStack } from './undo.ts';

const RESOLV_CONF = '/etc/resolv.conf';
const WRITE_RESOLV_CONF = 'printf %s "$1" > /etc/resolv.conf';

/** Joins our network, keeping on the endpoint what was before. Gives the address. Nothing is done where it has joined. */
export async function join(
  engine: Engine,
  { network }: Appliance,
  container: ContainerView,
  resolvConf: string | undefined,
  undo: UndoStack,
): Promise<string> {
  const endpoint = container.networks.get(network.name);
  const fixed = endpoint?.fixedAddress;
  if (fixed !== undefined && beforeOf(container, network.name) !== undefined) return fixed;
  const address = await addressFor(engine, network, container);
  const before = { version: 1, networks: settingsOf(container), resolvConf: resolvConf ?? null } as const;
  if (endpoint !== undefined) {
    await leaveNetwork(engine, network.name, container.id);
    undo.push(`network ${network.name}`, () => rejoin(engine, network.name, container.id, endpoint.settings));
  }
  await joinNetwork(engine, network.name, container.id, attachedSettings(address, before));
  undo.push(`leaving network ${network.name}`, () => leaveNetwork(engine, network.name, container.id));
  return address;
}

/** Leaves every network but ours; gives their names. */
export async function leaveOthers(
  engine: Engine,
  { network }: Appliance,
  container: ContainerView,
  undo: UndoStack,
): Promise<readonly string[]> {
  const others = [...container.networks].filter(([name]) => name !== network.name);
  for (const [name, { settings }] of others) {
    await leaveNetwork(engine, name, container.id);
    undo.push(`network ${name}`, () => rejoin(engine, name, container.id, settings));
  }
  return others.map(([name]) => name);
}

/**
 * The resolv.conf as it is, to be put back last of all: the engine writes it too when networks come and go, until
 * somebody else did.
 */
export async function keepResolvConf(
  engine: Engine,
  { imageId }: Appliance,
  { id }: ContainerView,
  undo: UndoStack,
): Promise<string | undefined> {
  const text = await textOf(engine, id, RESOLV_CONF);
  if (text !== undefined) undo.push(RESOLV_CONF, () => writeResolvConf(engine, imageId, id, text));
  return text;
}

/** Names are asked of the appliance alone. */
export async function pointNames(engine: Engine, appliance: Appliance, { id }: ContainerView): Promise<void> {
  const wanted = resolvConfFor(appliance.address);
  if ((await textOf(engine, id, RESOLV_CONF)) !== wanted) await writeResolvConf(engine, appliance.imageId, id, wanted);
}

/** The engine keeps this one file from its archive API; a container in the same network namespace has the same file. */
export async function writeResolvConf(
  engine: Engine,
  imageId: string,
  containerId: string,
  text: string,
): Promise<void> {
  const command = ['/bin/sh', '-c', WRITE_RESOLV_CONF, 'sh', text];
  const { code, err } = await runBeside(engine, { imageId, networkOf: containerId, command });
  if (code !== 0) throw new DockerFailure('engine', `writing ${RESOLV_CONF} failed: ${err.trim()}`);
}

/** Joins a network again; a fixed address or a name that is taken by now must not keep it away. */
export async function rejoin(engine: Engine, network: string, id: string, settings: EndpointSettings): Promise<void> {
  try {
    await joinNetwork(engine, network, id, settings);
  } catch (error) {
    if (settings.IPAMConfig === undefined) throw error;
    const { IPAMConfig: _, ...rest } = settings;
    await joinNetwork(engine, network, id, rest);
  }
}

function settingsOf({ networks }: ContainerView): Before['networks'] {
  return Object.fromEntries([...networks].map(([name, { settings }]) => [name, settings]));
}

/** The one that it has on the network already, or one of its own. */
export async function addressFor(
  engine: Engine,
  network: Appliance['network'],
  container: Pick<ContainerView, 'name' | 'networks'>,
): Promise<string> {
  const { name, subnet = '', ipRange } = network;
  const only = onlyAddress(network);
  if (only !== undefined) return only;
  const present = container.networks.get(name)?.address ?? '';
  if (inAgentsHalf(present, subnet)) return present;
  const others = await listContainers(engine, { network: [name] });
  const taken = new Set(others.flatMap(({ addresses }) => addresses.get(name) ?? []));
  const address = chooseAddress({ subnet, ipRange, taken }, container.name);
  if (address !== undefined) return address;
  throw new DockerFailure('unsupported', `network ${name} has no free address for ${container.name}`);
}
