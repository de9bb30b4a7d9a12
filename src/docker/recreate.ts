/**
 * Attaching by making the container anew: the same configuration, on our network alone from its first moment, with the
 * trust volume and the variables, asking us for names through the engine too, and without NET_RAW. For read-only
 * containers, and for runtimes that only variables convince. The old one is kept, stopped, under another name.
 */
import type { ContainerCreateOptions } from 'dockerode';
import { type Appliance, tellAgents } from './appliance.ts';
import { type Attached, type AttachWish, insistOnLockable, takeBack, verified } from './attach.ts';
import { attachedSettings, type Before, beforeOf } from './before.ts';
import type { ContainerView, Inspection } from './container-view.ts';
import { inspectContainer, inspectRaw, SHORT_ID_CHARS } from './containers.ts';
import { type Engine, said, saidOrAbsent } from './engine.ts';
import { DockerFailure } from './failure.ts';
import { agentEntry } from './identity.ts';
import { ownNetwork, placeOf } from './isolated.ts';
import { addressFor } from './lock.ts';
import type { Steps } from './steps.ts';
import { trustedBy } from './trust.ts';
import { UndoStack } from './undo.ts';
import { missingVariables, TRUST_FOLDER } from './variables.ts';

/** As compose/appliance.yaml names it; ca-init fills it. */
const TRUST_VOLUME = 'outcall-trust';
const KEPT_SUFFIX = '-before-outcall';
const ASIDE_SUFFIX = '-outcall';

/** The raw answer has more than Inspection names, and all of it is handed back. */
interface WholeInspection extends Inspection {
  readonly Config: Inspection['Config'] & { readonly Hostname?: string };
  readonly HostConfig: Inspection['HostConfig'] & {
    readonly Binds?: readonly string[] | null;
    readonly Mounts?: readonly { readonly Target: string }[] | null;
    readonly RestartPolicy?: { readonly Name: string };
  };
  readonly Mounts?:
    | readonly { Type: string; Name?: string; Source?: string; Destination: string; RW: boolean }[]
    | null;
}

/** Rejects with DockerFailure; then the old container runs again under its name. */
export async function recreate(
  engine: Engine,
  shared: Appliance,
  name: string,
  steps: Steps,
  { isolate }: AttachWish = { isolate: false },
): Promise<Attached> {
  const container = await inspectContainer(engine, name);
  const inspection = (await inspectRaw(engine, container.id)) as WholeInspection;
  await insistOnRecreatable(engine, shared, container);
  const before = stateOf(inspection);
  const undo = new UndoStack();
  try {
    const appliance = isolate ? await ownNetwork(engine, shared, container, steps, undo) : shared;
    const address = await addressFor(engine, appliance.network, container);
    await steps.run('setting the old one aside', () => setAside(engine, container, before, undo), String);
    const options = await anew(engine, appliance, inspection, attachedSettings(address, before));
    const made = () => start(engine, container.name, options, undo);
    const id = await steps.run('making it anew', made, () => `on network ${appliance.network.name} as ${address}`);
    const view = await inspectContainer(engine, id);
    await tellAgents(engine, appliance, [agentEntry(view, address, true, await trustedBy(engine, id))]);
    const warnings = await insistOnLockable(engine, appliance, view, isolate);
    const verifying = () => verified(engine, appliance, id);
    const checks = await steps.run('looking from inside', verifying, (all) => `${all.length} checks from inside hold`);
    const trust = { stores: [], bundle: undefined, variables: [] };
    const left = Object.keys(before.networks);
    return {
      id,
      name: container.name,
      network: appliance.network.name,
      address,
      again: false,
      left,
      warnings,
      trust,
      checks,
    };
  } catch (error) {
    await takeBack(undo, error);
    throw error;
  }
}

/** The copy is stopped and renamed, with what was written in it; the container that it stood for has its name again. */
export async function restoreReplaced(engine: Engine, copy: ContainerView, { replaces }: Before): Promise<string> {
  if (replaces === undefined) throw new TypeError('the container is no copy');
  const aside = `${copy.name}${ASIDE_SUFFIX}-${copy.id.slice(0, SHORT_ID_CHARS)}`;
  const handle = engine.docker.getContainer(copy.id);
  await inspectContainer(engine, replaces.id);
  await said(`stopping ${copy.name}`, handle.update({ RestartPolicy: { Name: 'no' } }));
  await stop(engine, copy.id);
  await said(`renaming ${copy.name}`, handle.rename({ name: aside }));
  await bringBack(engine, copy.name, replaces);
  return `${copy.name} is the container that was; the copy is ${aside}, stopped`;
}

async function insistOnRecreatable(engine: Engine, appliance: Appliance, container: ContainerView): Promise<void> {
  const { network } = await placeOf(engine, appliance, container);
  if (beforeOf(container, network.name) !== undefined) {
    const remedies = [`outcall detach ${container.name}, then attach it with --recreate`];
    throw new DockerFailure('refused', `${container.name} is attached already`, remedies);
  }
  if (container.autoRemove) {
    const remedies = ['start it without --rm'];
    throw new DockerFailure('refused', `${container.name} would be removed when it is stopped (--rm)`, remedies);
  }
  // A container without a network cannot be joined to one; a new one can.
  const lockable = container.networkMode === 'none' ? { ...container, networkMode: 'default' } : container;
  await insistOnLockable(engine, appliance, lockable, false);
  const volume = engine.docker.getVolume(TRUST_VOLUME).inspect({}) as Promise<unknown>;
  if ((await saidOrAbsent(`reading volume ${TRUST_VOLUME}`, volume)) !== undefined) return;
  throw new DockerFailure('absent', `there is no volume ${TRUST_VOLUME}`, ['docker compose up -d makes and fills it']);
}

function stateOf({ Id, HostConfig, NetworkSettings }: WholeInspection): Before {
  const networks = Object.fromEntries(Object.keys(NetworkSettings.Networks ?? {}).map((name) => [name, {}]));
  const replaces = { id: Id, restart: JSON.stringify(HostConfig.RestartPolicy ?? { Name: 'no' }) };
  return { version: 1, networks, resolvConf: null, replaces };
}

async function setAside(
  engine: Engine,
  { id, name, running }: ContainerView,
  before: Before,
  undo: UndoStack,
): Promise<string> {
  const handle = engine.docker.getContainer(id);
  const kept = `${name}${KEPT_SUFFIX}`;
  await said(`renaming ${name}`, handle.rename({ name: kept }));
  undo.push(`the container ${name}`, () =>
    bringBack(engine, name, before.replaces as NonNullable<Before['replaces']>, running),
  );
  // The policy "always" would start it again with the engine.
  await said(`changing ${name}`, handle.update({ RestartPolicy: { Name: 'no' } }));
  await stop(engine, id);
  return `the old one is kept as ${kept}, stopped`;
}

async function bringBack(
  engine: Engine,
  name: string,
  { id, restart }: NonNullable<Before['replaces']>,
  running = true,
): Promise<void> {
  const handle = engine.docker.getContainer(id);
  await said(`renaming to ${name}`, handle.rename({ name }));
  await said(`changing ${name}`, handle.update({ RestartPolicy: JSON.parse(restart) as object }));
  if (running) await said(`starting ${name}`, handle.start());
}

async function start(engine: Engine, name: string, options: ContainerCreateOptions, undo: UndoStack): Promise<string> {
  const made = await said(`making ${name} anew`, engine.docker.createContainer({ ...options, name }));
  undo.push(`removing the new ${name}`, () => said(`removing ${name}`, made.remove({ force: true })));
  await said(`starting ${name}`, made.start());
  return made.id;
}

/** Rejects with nothing where it is stopped already. */
async function stop(engine: Engine, id: string): Promise<void> {
  const answer = engine.docker
    .getContainer(id)
    .stop()
    .catch((error: unknown) => {
      if ((error as { statusCode?: number }).statusCode !== 304) throw error;
    });
  await said('stopping the container', answer as Promise<unknown>);
}

/** What to make: all that the old one was asked to be, and our changes. */
async function anew(
  engine: Engine,
  appliance: Appliance,
  { Id, Image, Config, HostConfig, Mounts }: WholeInspection,
  endpoint: object,
): Promise<ContainerCreateOptions> {
  const { Hostname, ...config } = Config;
  const named = await saidOrAbsent('reading the image', engine.docker.getImage(Config.Image).inspect());
  const binds = [...(HostConfig.Binds ?? []), ...unnamedVolumes(HostConfig, Mounts ?? [])];
  const wanted = {
    ...config,
    // A name that came from the old id would be somebody else's.
    ...(Hostname === undefined || Id.startsWith(Hostname) ? {} : { Hostname }),
    // The tag may stand for another image by now.
    Image: named?.Id === Image ? Config.Image : Image,
    Env: [...(Config.Env ?? []), ...missingVariables(Config.Env ?? []).map(({ name, value }) => `${name}=${value}`)],
    HostConfig: {
      ...HostConfig,
      NetworkMode: appliance.network.name,
      Dns: [appliance.address],
      DnsSearch: [],
      DnsOptions: [],
      Links: null,
      PortBindings: {}, // nobody gets in from outside through a network that is closed
      CapDrop: [...new Set([...(HostConfig.CapDrop ?? []), 'NET_RAW'])],
      Binds: [...binds, `${TRUST_VOLUME}:${TRUST_FOLDER}:ro`],
    },
    NetworkingConfig: { EndpointsConfig: { [appliance.network.name]: endpoint } },
  };
  return wanted as unknown as ContainerCreateOptions;
}

/** Volumes that the engine named itself, with what is in them. */
function unnamedVolumes(
  hostConfig: WholeInspection['HostConfig'],
  mounts: NonNullable<WholeInspection['Mounts']>,
): string[] {
  const named = new Set([
    ...(hostConfig.Binds ?? []).map((bind) => bind.split(':')[1]),
    ...(hostConfig.Mounts ?? []).map(({ Target }) => Target),
  ]);
  return mounts
    .filter(({ Type, Name, Destination }) => Type === 'volume' && Name !== undefined && !named.has(Destination))
    .map(({ Name, Destination, RW }) => `${Name}:${Destination}${RW ? '' : ':ro'}`);
}
