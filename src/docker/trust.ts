/**
 * Makes a running container trust the CA, and takes that back: every store that is found, a bundle of all roots and the
 * CA for programs that take one file, and the variables that only a restart could set. Read-only containers are left
 * as they are: theirs comes by mounts and variables.
 */
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import { AGENT_LIMITS } from '../domain/admin-api.ts';
import { fingerprintOf, holdsCertificate, type NamedCertificate, namedCertificates } from './certificate-text.ts';
import type { ContainerView } from './container-view.ts';
import type { Engine } from './engine.ts';
import { runInside } from './exec.ts';
import { textOf, writeFile } from './files.ts';
import { searchTrust, systemBundlesOf, type TrustPlaces } from './trust-search.ts';
import {
  addAnchor,
  addToBundle,
  addToKeystore,
  addToNpmrc,
  addToNss,
  certificateFile,
  removeAnchor,
  removeBlock,
  removeFromKeystore,
  removeFromNss,
  type StoreReport,
  type TrustTask,
} from './trust-store.ts';
import { BUNDLE_FILE, CA_FILE, missingVariables, TRUST_FOLDER, type TrustVariable } from './variables.ts';

export interface TrustReport {
  readonly stores: readonly StoreReport[];
  /** Files for programs that are told by a variable; undefined where nothing could be written. */
  readonly bundle: string | undefined;
  /** To be set when the container is made the next time. */
  readonly variables: readonly TrustVariable[];
  /** Why nothing was done. */
  readonly skipped?: string;
}

const READ_ONLY = 'its file system is read-only: attach with --recreate, or mount the trust volume';

/** The container runs. Rejects with DockerFailure where the engine refuses to write. */
export async function installTrust(engine: Engine, container: ContainerView, caPem: string): Promise<TrustReport> {
  const variables = missingVariables(container.environment);
  if (await isMounted(engine, container, caPem)) return { stores: [], bundle: BUNDLE_FILE, variables };
  if (container.readOnly) return { stores: [], bundle: undefined, variables, skipped: READ_ONLY };
  const wanted = namedCertificates(caPem);
  const before = await installedIn(engine, container.id);
  const task = { engine, containerId: container.id, wanted, former: without(before, wanted) };
  // What is written here is what a later run takes out again, so it names all until the stores are done.
  await writeFile(engine, container.id, CA_FILE, [...wanted, ...task.former].map(({ pem }) => pem).join(''));
  for (const one of wanted) await writeFile(engine, container.id, certificateFile(one), one.pem);
  const stores = await addEverywhere(task, await searchTrust(engine, container.id));
  await writeFile(engine, container.id, BUNDLE_FILE, await combinedBundle(task));
  for (const gone of task.former) await runInside(engine, container.id, ['rm', '-f', certificateFile(gone)]);
  await writeFile(engine, container.id, CA_FILE, caPem);
  return { stores, bundle: BUNDLE_FILE, variables };
}

/** True where the container trusts exactly these certificates of ours, so that a restart needs no second search. */
async function hasTrust(engine: Engine, container: ContainerView, caPem: string): Promise<boolean> {
  const [ca, bundle] = await Promise.all([CA_FILE, BUNDLE_FILE].map((file) => textOf(engine, container.id, file)));
  return ca?.trim() === caPem.trim() && holdsCertificate(bundle ?? '', caPem);
}

/** Brings a container back to trusting exactly these certificates, where it can be written; undefined: none of ours. */
export async function keepTrust(engine: Engine, container: ContainerView, caPem: string | undefined): Promise<void> {
  if (container.readOnly) return;
  if (caPem === undefined) {
    if ((await installedIn(engine, container.id)).length > 0) await removeTrust(engine, container);
  } else if (!(await hasTrust(engine, container, caPem))) {
    await installTrust(engine, container, caPem);
  }
}

/** Fingerprints of what attach has installed there, or a volume brings. */
export async function trustedBy(engine: Engine, containerId: string): Promise<readonly string[]> {
  const installed = await installedIn(engine, containerId);
  return installed.slice(0, AGENT_LIMITS.trusts).map(({ pem }) => fingerprintOf(pem));
}

/** Takes out all that installTrust put in. The container runs. */
export async function removeTrust(engine: Engine, container: ContainerView): Promise<readonly StoreReport[]> {
  if (container.readOnly || container.mounts.some(({ destination }) => destination === TRUST_FOLDER)) return [];
  const task = { engine, containerId: container.id, wanted: [], former: await installedIn(engine, container.id) };
  const removed = await removeEverywhere(task, await searchTrust(engine, container.id));
  await runInside(engine, container.id, ['rm', '-rf', TRUST_FOLDER]);
  await runInside(engine, container.id, ['rmdir', path.posix.dirname(TRUST_FOLDER)]);
  return removed;
}

/** What an earlier run has put in; empty where there was none. */
async function installedIn(engine: Engine, containerId: string): Promise<readonly NamedCertificate[]> {
  return namedCertificates((await textOf(engine, containerId, CA_FILE)) ?? '');
}

function without(
  certificates: readonly NamedCertificate[],
  others: readonly NamedCertificate[],
): readonly NamedCertificate[] {
  return certificates.filter(({ alias }) => !others.some((other) => other.alias === alias));
}

/** --recreate and compose files mount the volume; variables point to it. */
async function isMounted(engine: Engine, container: ContainerView, caPem: string): Promise<boolean> {
  if (!container.mounts.some(({ destination }) => destination === TRUST_FOLDER)) return false;
  return hasTrust(engine, container, caPem);
}

/** One after the other: the tools write the same files. */
async function addEverywhere(task: TrustTask, places: TrustPlaces): Promise<readonly StoreReport[]> {
  const reports: (StoreReport | undefined)[] = [];
  for (const anchor of places.anchors) reports.push(await addAnchor(task, anchor));
  for (const bundle of places.systemBundles) reports.push(await addToBundle(task, 'bundle', bundle.path));
  for (const file of places.pythonBundles) reports.push(await addToBundle(task, 'python', file));
  for (const file of places.javaKeystores) reports.push(await addToKeystore(task, file));
  for (const file of places.npmrc) reports.push(await addToNpmrc(task, file));
  for (const folder of places.nssDatabases) reports.push(await addToNss(task, folder));
  return reports.filter((report) => report !== undefined);
}

async function removeEverywhere(task: TrustTask, places: TrustPlaces): Promise<readonly StoreReport[]> {
  const reports: (StoreReport | undefined)[] = [];
  for (const file of places.npmrc) reports.push(await removeBlock(task, 'npm', file));
  for (const file of places.pythonBundles) reports.push(await removeBlock(task, 'python', file));
  for (const bundle of places.systemBundles) reports.push(await removeBlock(task, 'bundle', bundle.path));
  for (const file of places.javaKeystores) reports.push(await removeFromKeystore(task, file));
  for (const folder of places.nssDatabases) reports.push(await removeFromNss(task, folder));
  for (const anchor of places.anchors) reports.push(await removeAnchor(task, anchor));
  return reports.filter((report) => report !== undefined);
}

/** The container's own roots where it has any, else the public ones that come with Node; and our certificates. */
async function combinedBundle({ engine, containerId, wanted }: TrustTask): Promise<string> {
  const [own] = await systemBundlesOf(engine, containerId);
  const roots = own?.entry.content.toString('utf8') ?? `${rootCertificates.join('\n')}\n`;
  const missing = wanted.filter(({ pem }) => !holdsCertificate(roots, pem));
  return missing.length === 0 ? roots : [`${roots.trimEnd()}\n`, ...missing.map(({ pem }) => pem)].join('');
}
