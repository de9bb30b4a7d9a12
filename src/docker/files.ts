/**
 * Files of a container through the engine's archive API, which needs no program inside and works where there is no
 * shell. Follows links itself, because the engine would replace a link by what is written. Never runs anything.
 */
import path from 'node:path';
import { type Engine, said, saidOrAbsent } from './engine.ts';
import { DockerFailure } from './failure.ts';
import { type FileEntry, firstFile, packTar } from './tar.ts';

/** The largest bundle of roots is some 500 KiB, a Java keystore 200 KiB. */
const MAX_FILE_BYTES = 8 * 1024 * 1024;
const MAX_LINKS = 8;
const S_IFLNK_OF_GO = 0x0800_0000;

export interface FoundFile {
  /** Where the file is when all links are followed. */
  readonly path: string;
  readonly entry: FileEntry;
}

interface PathStat {
  readonly mode: number;
  readonly linkTarget?: string;
}

/** Undefined where there is nothing, or something that is no file, or one too large to be what was looked for. */
export async function readFile(engine: Engine, containerId: string, file: string): Promise<FoundFile | undefined> {
  const real = await realPath(engine, containerId, file);
  if (real === undefined) return undefined;
  const answer = engine.docker.getContainer(containerId).getArchive({ path: real });
  const stream = await saidOrAbsent(`reading ${file}`, answer);
  if (stream === undefined) return undefined;
  const archive = await collect(stream);
  const entry = archive === undefined ? undefined : firstFile(archive);
  return entry === undefined ? undefined : { path: real, entry };
}

export async function textOf(engine: Engine, containerId: string, file: string): Promise<string | undefined> {
  return (await readFile(engine, containerId, file))?.entry.content.toString('utf8');
}

export async function exists(engine: Engine, containerId: string, file: string): Promise<boolean> {
  return (await stat(engine, containerId, file)) !== undefined;
}

/** Writes over a file that was read, with the owner and mode that it had. */
export async function rewrite(engine: Engine, containerId: string, found: FoundFile, content: string): Promise<void> {
  const entry = { ...found.entry, name: path.posix.basename(found.path), content: Buffer.from(content) };
  await unpack(engine, containerId, path.posix.dirname(found.path), [entry]);
}

/** Writes a file of root's, readable for all, and makes the folders that it needs; those that are there keep their mode. */
export async function writeFile(engine: Engine, containerId: string, file: string, content: string): Promise<void> {
  const existing = await nearestFolder(engine, containerId, file);
  const relative = path.posix.relative(existing, file).split('/');
  const folders = relative.slice(0, -1).map((_, depth) => folder(`${relative.slice(0, depth + 1).join('/')}/`));
  const entry = { name: relative.join('/'), content: Buffer.from(content), mode: 0o644, uid: 0, gid: 0 };
  await unpack(engine, containerId, existing, [...folders, entry]);
}

async function nearestFolder(engine: Engine, containerId: string, file: string): Promise<string> {
  let at = path.posix.dirname(file);
  while (at !== '/' && !(await exists(engine, containerId, at))) at = path.posix.dirname(at);
  return at;
}

function folder(name: string): FileEntry {
  return { name, content: Buffer.alloc(0), mode: 0o755, uid: 0, gid: 0 };
}

async function unpack(engine: Engine, id: string, target: string, entries: readonly FileEntry[]): Promise<void> {
  const answer = engine.docker.getContainer(id).putArchive(packTar(entries), { path: target });
  await said(`writing below ${target}`, answer);
}

async function realPath(engine: Engine, containerId: string, file: string): Promise<string | undefined> {
  let at = file;
  for (let links = 0; links < MAX_LINKS; links++) {
    const found = await stat(engine, containerId, at);
    if (found === undefined || (found.mode & S_IFLNK_OF_GO) === 0) return found === undefined ? undefined : at;
    if (!found.linkTarget) return undefined;
    at = path.posix.resolve(path.posix.dirname(at), found.linkTarget);
  }
  return undefined;
}

async function stat(engine: Engine, containerId: string, file: string): Promise<PathStat | undefined> {
  const answer = engine.docker.getContainer(containerId).infoArchive({ path: file });
  const response = (await saidOrAbsent(`looking at ${file}`, answer)) as unknown as Answer | undefined;
  if (response === undefined) return undefined;
  response.resume();
  const header = response.headers['x-docker-container-path-stat'];
  if (header === undefined) throw new DockerFailure('engine', `looking at ${file}: the engine's answer says nothing`);
  return JSON.parse(Buffer.from(header, 'base64').toString('utf8')) as PathStat;
}

interface Answer {
  readonly headers: Readonly<Record<string, string | undefined>>;
  resume(): void;
}

/** Undefined beyond the cap. */
async function collect(stream: NodeJS.ReadableStream): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_FILE_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
