/**
 * The way to the Docker Engine: finds it, settles on an API version that both know (20.10, 26 and 28 were tried), and
 * turns what it answers into DockerFailure. The one importer of dockerode, which is loaded only when a command needs it.
 */
import type Dockerode from 'dockerode';
import { DockerFailure } from './failure.ts';

/** Engine 20.10: the first whose internal networks, capabilities and archive answers are all as we use them. */
const OLDEST_API = '1.41';
/** Engine 26: the newest whose answers the tests have seen. Newer engines still speak it. */
const NEWEST_API = '1.45';

export interface Engine {
  readonly docker: Dockerode;
  /** As `26.1.5`. */
  readonly version: string;
  /** As `1.45`: the one that is spoken. */
  readonly apiVersion: string;
}

/** Without `socketPath`, DOCKER_HOST and its like say where. Rejects with DockerFailure. */
export async function openEngine(socketPath?: string): Promise<Engine> {
  const { default: Docker } = await import('dockerode');
  const place = socketPath === undefined ? {} : { socketPath };
  const { Version, ApiVersion, MinAPIVersion } = (await said('asking the engine', new Docker(place).version())) as {
    Version: string;
    ApiVersion: string;
    MinAPIVersion?: string;
  };
  const apiVersion = apiVersionFor(ApiVersion, MinAPIVersion ?? OLDEST_API);
  if (apiVersion === undefined) {
    const message = `this engine is ${Version} with API ${ApiVersion}, and API ${OLDEST_API} is the oldest that is known to lock`;
    throw new DockerFailure('unsupported', message, ['install Docker Engine 20.10 or newer']);
  }
  return { docker: new Docker({ ...place, version: `v${apiVersion}` }), version: Version, apiVersion };
}

/** The version to speak with an engine that speaks `oldest` to `newest`; undefined where it is too old for us. */
export function apiVersionFor(newest: string, oldest: string): string | undefined {
  if (compareVersions(newest, OLDEST_API) < 0) return undefined;
  const ours = compareVersions(newest, NEWEST_API) < 0 ? newest : NEWEST_API;
  return compareVersions(ours, oldest) < 0 ? oldest : ours;
}

/** Passes on what the engine answers; its refusals and its absence become DockerFailure. `doing`: as in "reading x". */
export async function said<T>(doing: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw asFailure(doing, error);
  }
}

/** Like `said`, and undefined where the engine says that there is no such thing. */
export async function saidOrAbsent<T>(doing: string, answer: Promise<T>): Promise<T | undefined> {
  try {
    return await said(doing, answer);
  } catch (error) {
    if (error instanceof DockerFailure && error.kind === 'absent') return undefined;
    throw error;
  }
}

interface EngineError {
  readonly code?: string;
  readonly statusCode?: number;
  readonly json?: { readonly message?: string } | null;
  readonly message?: string;
}

function asFailure(doing: string, error: unknown): DockerFailure {
  if (error instanceof DockerFailure) return error;
  const { code, statusCode, json, message } = error as EngineError;
  if (statusCode === undefined && code !== undefined) {
    const remedies = [WORDS[code] ?? 'see that the engine runs, and that DOCKER_HOST names it'];
    return new DockerFailure('unreachable', `no Docker Engine answers (${code})`, remedies, { cause: error });
  }
  const kind = statusCode === 404 ? 'absent' : 'engine';
  // Where the answer would be a stream, dockerode has put the words into its own message.
  const words = json?.message ?? message?.replace(/^\(HTTP code [0-9]+\) .*? - /, '') ?? String(error);
  return new DockerFailure(kind, `${doing}: ${words.trim()}`, [], { cause: error });
}

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'start the Docker Engine, or name its socket in DOCKER_HOST (unix:///path/docker.sock)',
  ECONNREFUSED: 'start the Docker Engine, or name its socket in DOCKER_HOST (unix:///path/docker.sock)',
  EACCES: 'run as root, or as a member of the group docker',
};

function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number)) as [number[], number[]];
  return (left[0] ?? 0) - (right[0] ?? 0) || (left[1] ?? 0) - (right[1] ?? 0);
}
