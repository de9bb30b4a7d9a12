/**
 * Attaches a running container to the appliance; undoes all of it when a step fails. Given twice, the second time only
 * mends what is not as it should be (threats rows 17, 26, 40).
 *   1. may it be locked at all      2. onto our network, or one of its own, off all others      3. names are asked of us
 *   4. it trusts the CA             5. the appliance knows who it is         6. seen from inside, it is locked
 */
import { type Appliance, caOf, forgetAgent, isAppliance, tellAgents } from './appliance.ts';
import { beforeOf } from './before.ts';
import { companionsOf } from './companions.ts';
import type { ContainerView } from './container-view.ts';
import { inspectContainer } from './containers.ts';
import type { Engine } from './engine.ts';
import { DockerFailure } from './failure.ts';
import { agentEntry } from './identity.ts';
import { isIsolated, ownNetwork, placeOf } from './isolated.ts';
import { join, keepResolvConf, leaveOthers, pointNames } from './lock.ts';
import { isRefusal, type Obstacle, obstacles } from './lockable.ts';
import type { Steps } from './steps.ts';
import { installTrust, keepTrust, removeTrust, type TrustReport, trustedBy } from './trust.ts';
import { UndoStack } from './undo.ts';
import { type Check, insistOn, verify } from './verify.ts';

export interface Attached {
  readonly id: string;
  readonly name: string;
  readonly network: string;
  readonly address: string;
  /** It was attached before; what follows was checked again. */
  readonly again: boolean;
  readonly left: readonly string[];
  readonly warnings: readonly Obstacle[];
  /** Undefined where the appliance has no CA. */
  readonly trust: TrustReport | undefined;
  readonly checks: readonly Check[];
}

export interface AttachWish {
  /** A network of its own. Without it: the one it has, or the shared one. */
  readonly isolate: boolean;
}

/** Rejects with DockerFailure; then the container is as it was, or the message says what could not be put back. */
export async function attach(
  engine: Engine,
  appliance: Appliance,
  name: string,
  steps: Steps,
  { isolate }: AttachWish = { isolate: false },
): Promise<Attached> {
  const container = await inspectContainer(engine, name);
  const present = await placeOf(engine, appliance, container);
  const alone = isolate || isIsolated(present.network);
  const warnings = await insistOnLockable(engine, appliance, container, alone);
  insistOnRunning(container);
  const again = beforeOf(container, present.network.name) !== undefined;
  if (again && alone) insistOnIsolated(container, present);
  const undo = new UndoStack();
  try {
    const place = alone ? await ownNetwork(engine, appliance, container, steps, undo) : present;
    const done = await lock(engine, place, container, steps, undo);
    return { id: container.id, name: container.name, network: place.network.name, again, warnings, ...done };
  } catch (error) {
    // What was locked stays locked: undoing a repair would give it back the network that it must not have.
    if (!again) await takeBack(undo, error);
    throw error;
  }
}

/** What remains open although it can be locked. Rejects with DockerFailure `refused` that names every obstacle. */
export async function insistOnLockable(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  alone: boolean,
): Promise<readonly Obstacle[]> {
  if (container.id === appliance.id || isAppliance(container)) {
    throw new DockerFailure('refused', `${container.name} is the appliance itself`);
  }
  const found = obstacles(container, await companionsOf(engine, container), alone);
  const refusals = found.filter(isRefusal);
  if (refusals.length === 0) return found;
  const words = refusals.map(({ what, why }) => `\n  ${what}: ${why}`).join('');
  throw new DockerFailure('refused', `${container.name} cannot be locked:${words}`, [
    ...new Set(refusals.map(({ change }) => change)),
  ]);
}

function insistOnIsolated({ name }: ContainerView, { network }: Appliance): void {
  if (isIsolated(network)) return;
  const remedies = [`outcall detach ${name}, then attach it with --isolate`];
  throw new DockerFailure('refused', `${name} is attached to network ${network.name} already`, remedies);
}

function insistOnRunning({ name, running, paused }: ContainerView): void {
  if (!running) throw new DockerFailure('refused', `${name} does not run`, [`docker start ${name}`]);
  if (paused) throw new DockerFailure('refused', `${name} is paused`, [`docker unpause ${name}`]);
}

type Locked = Pick<Attached, 'address' | 'left' | 'trust' | 'checks'>;

async function lock(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  steps: Steps,
  undo: UndoStack,
): Promise<Locked> {
  const { name: network } = appliance.network;
  const resolvConf = await keepResolvConf(engine, appliance, container, undo);
  const address = await steps.run(
    `joining network ${network}`,
    () => join(engine, appliance, container, resolvConf, undo),
    (given) => `on network ${network} as ${given}`,
  );
  const left = await steps.run(
    'leaving other networks',
    () => leaveOthers(engine, appliance, container, undo),
    (names) => (names.length === 0 ? 'on no other network' : `left ${names.join(', ')}`),
  );
  await steps.run(
    'pointing names to the appliance',
    () => pointNames(engine, appliance, container),
    () => `names are asked of ${appliance.address}`,
  );
  const trust = await trustStep(engine, appliance, container, steps, undo);
  await steps.run(
    'telling the appliance who it is',
    () => introduce(engine, appliance, container, address, undo),
    () => `known to rules as agent.name "${container.name}"`,
  );
  const checks = await steps.run(
    'looking from inside',
    () => verified(engine, appliance, container.id),
    (all) => `${all.length} checks from inside hold`,
  );
  return { address, left, trust, checks };
}

async function introduce(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  address: string,
  undo: UndoStack,
): Promise<void> {
  undo.push('what the appliance knows', () => forgetAgent(engine, appliance, container.id));
  await tellAgents(engine, appliance, [agentEntry(container, address, true, await trustedBy(engine, container.id))]);
}

async function trustStep(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  steps: Steps,
  undo: UndoStack,
): Promise<TrustReport | undefined> {
  const caPem = await caOf(engine, appliance);
  if (caPem === undefined) {
    await keepTrust(engine, container, undefined);
    return undefined;
  }
  undo.push('the CA in its trust stores', () => removeTrust(engine, container));
  return steps.run('installing the CA', () => installTrust(engine, container, caPem), trustText);
}

export async function verified(engine: Engine, appliance: Appliance, id: string): Promise<readonly Check[]> {
  const checks = await verify(engine, appliance, id);
  insistOn(checks);
  return checks;
}

function trustText({ stores, skipped, bundle }: TrustReport): string {
  if (skipped !== undefined) return `the CA is not installed: ${skipped}`;
  const failed = stores.filter(({ result }) => result === 'failed').length;
  const inStores = `the CA is in ${stores.length - failed} trust store${stores.length - failed === 1 ? '' : 's'}`;
  return `${inStores}${failed === 0 ? '' : `, not in ${failed}`}; all roots and it in ${bundle}`;
}

/** Throws on where something could not be put back, with both stories. */
export async function takeBack(undo: UndoStack, error: unknown): Promise<void> {
  const failures = await undo.undo();
  if (failures.length === 0) return;
  const kind = error instanceof DockerFailure ? error.kind : 'engine';
  const words = `${error instanceof Error ? error.message : String(error)}\nand could not be put back: ${failures.join('; ')}`;
  throw new DockerFailure(kind, words, error instanceof DockerFailure ? error.remedies : [], { cause: error });
}
