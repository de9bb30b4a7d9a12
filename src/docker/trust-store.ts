/**
 * One store of a container's trust: how the CA comes in, and how it goes out again. A store where it is already is left
 * alone; what cannot be done is reported and stops nothing.
 */
import { fingerprintOf, holdsCertificate } from './certificate-text.ts';
import type { Engine } from './engine.ts';
import { runInside } from './exec.ts';
import { exists, readFile, rewrite, textOf, writeFile } from './files.ts';
import { withBlock, withoutBlock } from './marked-block.ts';
import type { Anchor } from './trust-search.ts';
import { BUNDLE_FILE, CA_FILE } from './variables.ts';

export type StoreKind = 'system' | 'bundle' | 'python' | 'java' | 'npm' | 'nss';

export interface StoreReport {
  readonly kind: StoreKind;
  readonly path: string;
  /** there: it was there before. */
  readonly result: 'added' | 'there' | 'failed' | 'removed';
  readonly detail?: string;
}

export interface TrustTask {
  readonly engine: Engine;
  readonly containerId: string;
  readonly caPem: string;
}

/** The name under which keytool and certutil know the CA. */
const ALIAS = 'outcall';
/** The JDK's own, which nobody changes: what is in the file is public. */
const STORE_PASSWORD = 'changeit';

/** Puts the certificate where the distribution's tool finds it, and runs the tool where there is one. */
export async function addAnchor(task: TrustTask, anchor: Anchor): Promise<StoreReport> {
  const { engine, containerId, caPem } = task;
  const before = await textOf(engine, containerId, anchor.file);
  if (before === undefined || before.trim() !== caPem.trim()) {
    await writeFile(engine, containerId, anchor.file, caPem);
  }
  const { absent, code, err } = await runInside(engine, containerId, anchor.tool);
  if (absent) return { kind: 'system', path: anchor.file, result: 'added', detail: `there is no ${anchor.tool[0]}` };
  if (code !== 0) return { kind: 'system', path: anchor.file, result: 'failed', detail: lastLine(err) };
  return { kind: 'system', path: anchor.file, result: before === undefined ? 'added' : 'there' };
}

export async function removeAnchor(
  { engine, containerId }: TrustTask,
  anchor: Anchor,
): Promise<StoreReport | undefined> {
  if (!(await exists(engine, containerId, anchor.file))) return undefined;
  await runInside(engine, containerId, ['rm', '-f', anchor.file]);
  await runInside(engine, containerId, anchor.toolForRemoval ?? anchor.tool);
  return { kind: 'system', path: anchor.file, result: 'removed' };
}

/** For bundles of roots as text: the CA in a block of ours at the end. */
export async function addToBundle(task: TrustTask, kind: StoreKind, file: string): Promise<StoreReport | undefined> {
  const found = await readFile(task.engine, task.containerId, file);
  if (found === undefined) return undefined;
  const text = found.entry.content.toString('utf8');
  if (holdsCertificate(text, task.caPem)) return { kind, path: found.path, result: 'there' };
  await rewrite(task.engine, task.containerId, found, withBlock(text, task.caPem, '#'));
  return { kind, path: found.path, result: 'added' };
}

/** npm takes the roots of `cafile` instead of its own, and the last line of a file that names it. */
export async function addToNpmrc({ engine, containerId }: TrustTask, file: string): Promise<StoreReport> {
  const lines = `cafile=${BUNDLE_FILE}`;
  const found = await readFile(engine, containerId, file);
  const text = found?.entry.content.toString('utf8') ?? '';
  const wanted = withBlock(text, lines, ';');
  if (text === wanted) return { kind: 'npm', path: file, result: 'there' };
  if (found === undefined) await writeFile(engine, containerId, file, wanted);
  else await rewrite(engine, containerId, found, wanted);
  return { kind: 'npm', path: file, result: 'added' };
}

/** Takes our block out of a bundle or npmrc. */
export async function removeBlock(task: TrustTask, kind: StoreKind, file: string): Promise<StoreReport | undefined> {
  const found = await readFile(task.engine, task.containerId, file);
  const text = found?.entry.content.toString('utf8') ?? '';
  const rest = withoutBlock(text);
  if (found === undefined || rest === text) return undefined;
  await rewrite(task.engine, task.containerId, found, rest);
  return { kind, path: found.path, result: 'removed' };
}

export async function addToKeystore(task: TrustTask, file: string): Promise<StoreReport> {
  const store = ['-keystore', file, '-storepass', STORE_PASSWORD];
  const keytool = keytoolFor(task, file);
  const listed = await keytool(['-list', ...store]);
  if (listed === undefined) return { kind: 'java', path: file, result: 'failed', detail: 'there is no keytool' };
  if (listed.out.includes(fingerprintOf(task.caPem))) return { kind: 'java', path: file, result: 'there' };
  await keytool(['-delete', '-alias', ALIAS, ...store]); // of an older CA
  const imported = await keytool(['-importcert', '-noprompt', '-alias', ALIAS, '-file', CA_FILE, ...store]);
  if (imported?.code === 0) return { kind: 'java', path: file, result: 'added' };
  return { kind: 'java', path: file, result: 'failed', detail: lastLine(imported?.out ?? '') };
}

export async function removeFromKeystore(task: TrustTask, file: string): Promise<StoreReport | undefined> {
  const store = ['-keystore', file, '-storepass', STORE_PASSWORD];
  const deleted = await keytoolFor(task, file)(['-delete', '-alias', ALIAS, ...store]);
  return deleted?.code === 0 ? { kind: 'java', path: file, result: 'removed' } : undefined;
}

export async function addToNss({ engine, containerId }: TrustTask, folder: string): Promise<StoreReport> {
  const database = ['-d', `sql:${folder}`];
  const removed = await runInside(engine, containerId, ['certutil', '-D', ...database, '-n', ALIAS]);
  if (removed.absent) return { kind: 'nss', path: folder, result: 'failed', detail: 'there is no certutil' };
  const add = ['certutil', '-A', ...database, '-t', 'C,,', '-n', ALIAS, '-i', CA_FILE];
  const added = await runInside(engine, containerId, add);
  if (added.code !== 0) return { kind: 'nss', path: folder, result: 'failed', detail: lastLine(added.err) };
  return { kind: 'nss', path: folder, result: removed.code === 0 ? 'there' : 'added' };
}

export async function removeFromNss(
  { engine, containerId }: TrustTask,
  folder: string,
): Promise<StoreReport | undefined> {
  const removed = await runInside(engine, containerId, ['certutil', '-D', '-d', `sql:${folder}`, '-n', ALIAS]);
  return removed.code === 0 ? { kind: 'nss', path: folder, result: 'removed' } : undefined;
}

/** Where packages and images put a JDK, and users of the container cannot: its keytool is run as root. */
const SYSTEM_JDK = /^(\/(?:usr|opt)\/.*?)(?:\/jre)?\/lib\/security\/cacerts$/;

/** The keytool of the JDK that the keystore belongs to, else the one in the PATH; gives undefined where there is none. */
function keytoolFor({ engine, containerId }: TrustTask, keystore: string) {
  const home = SYSTEM_JDK.exec(keystore)?.[1];
  const programs = home === undefined ? ['keytool'] : [`${home}/bin/keytool`, 'keytool'];
  return async (args: readonly string[]) => {
    for (const program of programs) {
      const ran = await runInside(engine, containerId, [program, ...args]);
      if (!ran.absent) return ran;
    }
    return undefined;
  };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
