/**
 * What `outcall watch` does for one container: one that is attached is brought back to what attach made of it, one that
 * is merely on the network is made known to the appliance. Never gives anything back: a container that cannot be brought
 * back stays as closed as it is (threats row 40).
 */
import { type Appliance, caOf, forgetAgent, isAppliance, tellAgents } from './appliance.ts';
import { insistOnLockable, verified } from './attach.ts';
import { beforeOf } from './before.ts';
import { ROLE_LABEL } from './beside.ts';
import type { ContainerView, EndpointView } from './container-view.ts';
import { findContainer } from './containers.ts';
import type { Engine } from './engine.ts';
import { agentEntry } from './identity.ts';
import { isIsolated, placeOf, removeOrphans, serve } from './isolated.ts';
import { leaveOthers, pointNames } from './lock.ts';
import { keepTrust, trustedBy } from './trust.ts';
import { UndoStack } from './undo.ts';

/** What came of it; `none`: not an agent but one of our own. */
export type Kept = 'locked' | 'known' | 'gone' | 'none';

/** Rejects with DockerFailure; what was done until then stays. */
export async function keep(engine: Engine, shared: Appliance, id: string): Promise<Kept> {
  const container = await findContainer(engine, id);
  if (container === undefined) await removeOrphans(engine, shared);
  const appliance = container === undefined ? shared : await placeOf(engine, shared, container);
  const endpoint = container?.networks.get(appliance.network.name);
  if (container === undefined || endpoint === undefined || !container.running) {
    await forgetAgent(engine, appliance, id);
    return 'gone';
  }
  if (isAppliance(container) || container.labels[ROLE_LABEL] !== undefined) return 'none';
  if (isIsolated(appliance.network)) await serve(engine, appliance);
  const trusts = await introduce(engine, appliance, container, endpoint, undefined);
  if (beforeOf(container, appliance.network.name) === undefined) return 'known';
  await mend(engine, appliance, container);
  await introduce(engine, appliance, container, endpoint, trusts);
  return 'locked';
}

/** Who it is, and what it trusts, where that is not what was `told`. */
async function introduce(
  engine: Engine,
  appliance: Appliance,
  container: ContainerView,
  { address, fixedAddress }: EndpointView,
  told: readonly string[] | undefined,
): Promise<readonly string[]> {
  const trusts = await trustedBy(engine, container.id);
  if (address === '' || told?.join() === trusts.join()) return trusts;
  await tellAgents(engine, appliance, [agentEntry(container, address, fixedAddress !== undefined, trusts)]);
  return trusts;
}

async function mend(engine: Engine, appliance: Appliance, container: ContainerView): Promise<void> {
  await leaveOthers(engine, appliance, container, new UndoStack());
  await pointNames(engine, appliance, container);
  await keepTrust(engine, container, await caOf(engine, appliance));
  await insistOnLockable(engine, appliance, container, isIsolated(appliance.network));
  await verified(engine, appliance, container.id);
}
