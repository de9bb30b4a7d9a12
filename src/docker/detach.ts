/**
 * Gives a container back what it had before it was attached: its networks, its resolv.conf, its trust. Nothing of ours
 * stays. One that was recreated is stopped and set aside, and the container that it stood for comes back.
 */
import { type Appliance, forgetAgent } from './appliance.ts';
import { type Before, beforeOf } from './before.ts';
import type { ContainerView } from './container-view.ts';
import { inspectContainer } from './containers.ts';
import type { Engine } from './engine.ts';
import { DockerFailure, messageOf } from './failure.ts';
import { placeOf, removeOwnNetwork } from './isolated.ts';
import { rejoin, writeResolvConf } from './lock.ts';
import { leaveNetwork } from './networks.ts';
import { restoreReplaced } from './recreate.ts';
import type { Steps } from './steps.ts';
import { removeTrust } from './trust.ts';

export interface Detached {
  readonly id: string;
  readonly name: string;
  readonly networks: readonly string[];
  /** What could not be given back, and why. */
  readonly problems: readonly string[];
}

/** Rejects with DockerFailure: absent where it is not attached. */
export async function detach(engine: Engine, shared: Appliance, name: string, steps: Steps): Promise<Detached> {
  const container = await inspectContainer(engine, name);
  const appliance = await placeOf(engine, shared, container);
  const before = beforeOf(container, appliance.network.name);
  if (before === undefined) {
    throw new DockerFailure('absent', `${container.name} is not attached`, ['outcall ps lists those that are']);
  }
  const problems: string[] = [];
  const attempt = attempts(problems);
  await attempt('telling the appliance', () => forgetAgent(engine, appliance, container.id));
  if (before.replaces !== undefined) {
    await steps.run('bringing back the container that was', () => restoreReplaced(engine, container, before), String);
  } else {
    await restore(engine, appliance, container, before, steps, attempt);
  }
  await attempt(`network ${appliance.network.name}`, () => removeOwnNetwork(engine, appliance));
  return { id: container.id, name: container.name, networks: Object.keys(before.networks), problems };
}

type Attempt = (what: string, work: () => Promise<unknown>) => Promise<void>;

/** One thing that cannot be given back must not keep the others away. */
function attempts(problems: string[]): Attempt {
  return async (what, work) => {
    await work().catch((error: unknown) => problems.push(`${what}: ${messageOf(error)}`));
  };
}

async function restore(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  before: Before,
  steps: Steps,
  attempt: Attempt,
): Promise<void> {
  const { running, id } = container;
  if (running) {
    const remove = () => attempt('removing the CA', () => removeTrust(engine, container));
    await steps.run('removing the CA', remove, () => 'the CA is out of its trust stores');
  }
  await steps.run(
    'giving back its networks',
    () => restoreNetworks(engine, appliance, id, before, attempt),
    () => `on ${Object.keys(before.networks).join(', ') || 'no network'}`,
  );
  const { resolvConf } = before;
  if (!running || resolvConf === null) return;
  const write = () => attempt('resolv.conf', () => writeResolvConf(engine, appliance.imageId, id, resolvConf));
  await steps.run('giving back its resolver', write, () => 'names are asked of whom they were');
}

async function restoreNetworks(
  engine: Engine,
  appliance: Appliance,
  id: string,
  before: Before,
  attempt: Attempt,
): Promise<void> {
  await leaveNetwork(engine, appliance.network.name, id);
  for (const [name, settings] of Object.entries(before.networks)) {
    await attempt(`network ${name}`, () => rejoin(engine, name, id, settings));
  }
}
