/**
 * Runs a program inside a container. What it prints is the container's word and may be anything: it is
 * capped, and waited for only so long.
 */
import { Writable } from 'node:stream';
import { type Engine, said } from './engine.ts';
import { DockerFailure } from './failure.ts';

/** keytool and update-ca-certificates with its Java hook take a few seconds on a busy machine. */
const DEADLINE_MS = 120_000;
/** A list of files, a keystore's listing: far below. */
const MAX_OUTPUT_BYTES = 8 * 1024 * 1024;
/** How shells and container runtimes say that there is no such program, or that it cannot be run. */
const NOT_RUN = new Set([126, 127]);

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** The container has no such program. */
  readonly absent: boolean;
}

/** root: as root, with the system's own programs; itself: as the user and with the environment that the container has. */
export type RunAs = 'root' | 'itself';

/** As root, nothing may be run that a user of the container could have put into its PATH. */
const SYSTEM_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Rejects with DockerFailure where the engine cannot run it at all (stopped, paused), or it takes longer than 2 min. */
export async function runInside(
  engine: Engine,
  containerId: string,
  command: readonly string[],
  as: RunAs = 'root',
): Promise<Ran> {
  const doing = `running ${command[0]}`;
  const container = engine.docker.getContainer(containerId);
  const identity = as === 'root' ? { User: '0', Env: [SYSTEM_PATH] } : {};
  const spec = { Cmd: [...command], ...identity, AttachStdout: true, AttachStderr: true };
  const exec = await said(doing, container.exec(spec));
  const stream = await said(doing, exec.start({ Detach: false, Tty: false }));
  const out = new Collected();
  const err = new Collected();
  engine.docker.modem.demuxStream(stream, out, err);
  await untilEnd(stream, doing);
  const { ExitCode } = await said(doing, exec.inspect());
  const code = ExitCode ?? 1;
  return { code, out: out.text, err: err.text, absent: NOT_RUN.has(code) };
}

export class Collected extends Writable {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#bytes += chunk.length;
    if (this.#bytes <= MAX_OUTPUT_BYTES) this.#chunks.push(chunk);
    done();
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}

/** Settles when the stream has ended; destroys one that does not. */
export function untilEnd(stream: NodeJS.ReadableStream, doing: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const deadline = setTimeout(() => {
    reject(new DockerFailure('engine', `${doing}: not done after ${DEADLINE_MS / 1000} s`));
    (stream as unknown as { destroy?(): void }).destroy?.();
  }, DEADLINE_MS);
  stream.once('end', resolve);
  stream.once('close', resolve);
  stream.once('error', reject);
  return promise.finally(() => clearTimeout(deadline));
}
