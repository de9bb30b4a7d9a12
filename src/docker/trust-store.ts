/**
 * One store of a container's trust: how our certificates come in, and how those that are no more go out again. A store that
 * is as it should be is left alone; what cannot be done is reported and stops nothing.
 */
import { fingerprintOf, holdsCertificate, type NamedCertificate } from './certificate-text.ts';
import type { Engine } from './engine.ts';
import { runInside } from './exec.ts';
import { exists, readFile, rewrite, writeFile } from './files.ts';
import { withBlock, withoutBlock } from './marked-block.ts';
import type { Anchor } from './trust-search.ts';
import { BUNDLE_FILE, TRUST_FOLDER } from './variables.ts';

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
  /** What is to be trusted: one, or two and three while the CA is replaced. */
  readonly wanted: readonly NamedCertificate[];
  /** What was to be trusted before, and is no more. */
  readonly former: readonly NamedCertificate[];
}

/** The JDK's own, which nobody changes: what is in the file is public. */
const STORE_PASSWORD = 'changeit';

/** Where tools inside the container read one certificate. */
export function certificateFile({ alias }: NamedCertificate): string {
  return `${TRUST_FOLDER}/${alias}.crt`;
}

/** Puts the certificates where the distribution's tool finds them, one in each file, and runs the tool where there is one. */
export async function addAnchor(task: TrustTask, anchor: Anchor): Promise<StoreReport> {
  const { engine, containerId, wanted } = task;
  const report = { kind: 'system', path: `${anchor.folder}/outcall-*${anchor.ending}` } as const;
  const there = await Promise.all(wanted.map((one) => exists(engine, containerId, anchorFile(anchor, one))));
  const missing = wanted.filter((_, index) => there[index] !== true);
  for (const one of missing) await writeFile(engine, containerId, anchorFile(anchor, one), one.pem);
  const gone = await removeAnchorFiles(task, anchor);
  const tool = gone ? (anchor.toolForRemoval ?? anchor.tool) : anchor.tool;
  const { absent, code, err } = await runInside(engine, containerId, tool);
  if (absent) return { ...report, result: 'added', detail: `there is no ${anchor.tool[0]}` };
  if (code !== 0) return { ...report, result: 'failed', detail: lastLine(err) };
  return { ...report, result: missing.length > 0 ? 'added' : 'there' };
}

export async function removeAnchor(task: TrustTask, anchor: Anchor): Promise<StoreReport | undefined> {
  if (!(await removeAnchorFiles(task, anchor))) return undefined;
  await runInside(task.engine, task.containerId, anchor.toolForRemoval ?? anchor.tool);
  return { kind: 'system', path: `${anchor.folder}/outcall-*${anchor.ending}`, result: 'removed' };
}

/** True where there was one. */
async function removeAnchorFiles({ engine, containerId, former }: TrustTask, anchor: Anchor): Promise<boolean> {
  let removed = false;
  for (const one of former) {
    const file = anchorFile(anchor, one);
    if (!(await exists(engine, containerId, file))) continue;
    await runInside(engine, containerId, ['rm', '-f', file]);
    removed = true;
  }
  return removed;
}

function anchorFile({ folder, ending }: Anchor, { alias }: NamedCertificate): string {
  return `${folder}/${alias}${ending}`;
}

/** For bundles of roots as text: what they do not have already in a block of ours at the end. */
export async function addToBundle(task: TrustTask, kind: StoreKind, file: string): Promise<StoreReport | undefined> {
  const found = await readFile(task.engine, task.containerId, file);
  if (found === undefined) return undefined;
  const text = found.entry.content.toString('utf8');
  const rest = withoutBlock(text);
  const missing = task.wanted.filter(({ pem }) => !holdsCertificate(rest, pem)).map(({ pem }) => pem);
  const wanted = missing.length === 0 ? rest : withBlock(rest, missing.join(''), '#');
  if (text === wanted) return { kind, path: found.path, result: 'there' };
  await rewrite(task.engine, task.containerId, found, wanted);
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
  for (const { alias } of task.former) await keytool(['-delete', '-alias', alias, ...store]);
  const missing = task.wanted.filter(({ pem }) => !listed.out.includes(fingerprintOf(pem)));
  for (const one of missing) {
    const from = ['-alias', one.alias, '-file', certificateFile(one)];
    const imported = await keytool(['-importcert', '-noprompt', ...from, ...store]);
    if (imported?.code === 0) continue;
    return { kind: 'java', path: file, result: 'failed', detail: lastLine(imported?.out ?? '') };
  }
  return { kind: 'java', path: file, result: missing.length > 0 ? 'added' : 'there' };
}

export async function removeFromKeystore(task: TrustTask, file: string): Promise<StoreReport | undefined> {
  const store = ['-keystore', file, '-storepass', STORE_PASSWORD];
  let removed = false;
  for (const { alias } of task.former) {
    const deleted = await keytoolFor(task, file)(['-delete', '-alias', alias, ...store]);
    removed ||= deleted?.code === 0;
  }
  return removed ? { kind: 'java', path: file, result: 'removed' } : undefined;
}

export async function addToNss(task: TrustTask, folder: string): Promise<StoreReport> {
  const certutil = certutilFor(task, folder);
  for (const { alias } of task.former) await certutil(['-D', '-n', alias]);
  let result: StoreReport['result'] = 'there';
  for (const one of task.wanted) {
    const removed = await certutil(['-D', '-n', one.alias]);
    if (removed.absent) return { kind: 'nss', path: folder, result: 'failed', detail: 'there is no certutil' };
    const added = await certutil(['-A', '-t', 'C,,', '-n', one.alias, '-i', certificateFile(one)]);
    if (added.code !== 0) return { kind: 'nss', path: folder, result: 'failed', detail: lastLine(added.err) };
    if (removed.code !== 0) result = 'added';
  }
  return { kind: 'nss', path: folder, result };
}

export async function removeFromNss(task: TrustTask, folder: string): Promise<StoreReport | undefined> {
  const certutil = certutilFor(task, folder);
  let removed = false;
  for (const { alias } of task.former) {
    const { code } = await certutil(['-D', '-n', alias]);
    removed ||= code === 0;
  }
  return removed ? { kind: 'nss', path: folder, result: 'removed' } : undefined;
}

function certutilFor({ engine, containerId }: TrustTask, folder: string) {
  return (args: readonly string[]) => runInside(engine, containerId, ['certutil', ...args, '-d', `sql:${folder}`]);
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
