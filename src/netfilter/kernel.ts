/**
 * The two programs through which the lock is set and read: nft and ip. They run one after the other, so that what is
 * read is what was set last. Their input is text of ruleset.ts on standard input, or fixed arguments and numbers.
 */
import { spawn } from 'node:child_process';
import type { Ipv4Range } from '../domain/ipv4-range.ts';
import { LockFailure } from './lock-failure.ts';
import { TABLE } from './ruleset.ts';

/** Both answer in milliseconds; a machine without processor time to spare takes longer. */
const RUN_TIMEOUT_MS = 10_000;
/** 8,192 grants are about one MiB of JSON. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** Where Debian and others keep them; the environment of the daemon has no say. */
const SEARCH_PATH = '/usr/sbin:/usr/bin:/sbin:/bin';

export interface Kernel {
  /** Runs nft commands as one transaction. Rejects with LockFailure, and then nothing was changed. */
  apply(text: string): Promise<void>;
  /** Our table as `nft -j` lists it; undefined where there is none. */
  listTable(): Promise<unknown>;
  /** Makes every address of the pool one of this namespace, so that it answers for them. */
  routePool(pool: Ipv4Range): Promise<void>;
  /** Takes that back; nothing happens where it is gone already. */
  unroutePool(pool: Ipv4Range): Promise<void>;
  /** Ranges whose addresses are all of this namespace, as CIDR. */
  localRoutes(): Promise<readonly string[]>;
}

/** The network namespace that this process is in. */
export function namespaceKernel(): Kernel {
  const queue = new Queue();
  const nft = (args: readonly string[], input: string) => queue.add(() => run('nft', args, input));
  const ip = (args: readonly string[]) => queue.add(() => run('ip', args, ''));
  return {
    apply: async (text) => {
      expectSuccess('nft', await nft(['-f', '-'], text));
    },
    listTable: async () => {
      const ended = await nft(['-j', 'list', 'table', 'inet', TABLE], '');
      if (ended.code !== 0 && ended.stderr.includes('No such file or directory')) return undefined;
      return parseJson('nft', expectSuccess('nft', ended));
    },
    routePool: async (pool) => {
      expectSuccess('ip', await ip(['-4', 'route', 'replace', 'local', pool.cidr, 'dev', 'lo']));
    },
    unroutePool: async (pool) => {
      await ip(['-4', 'route', 'del', 'local', pool.cidr, 'dev', 'lo']);
    },
    localRoutes: async () => {
      const args = ['-4', '-j', 'route', 'show', 'table', 'local', 'type', 'local', 'dev', 'lo'];
      const routes = parseJson('ip', expectSuccess('ip', await ip(args)));
      return Array.isArray(routes) ? (routes as readonly { dst: string }[]).map(({ dst }) => dst) : [];
    },
  };
}

/** Runs what is asked of it in order; a failure of one is not the next one's. */
class Queue {
  #last: Promise<unknown> = Promise.resolve();

  add<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(program: 'nft' | 'ip', args: readonly string[], input: string): Promise<Ended> {
  const child = spawn(program, args, {
    env: { PATH: SEARCH_PATH, LC_ALL: 'C' },
    timeout: RUN_TIMEOUT_MS,
    stdio: 'pipe',
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', (error: NodeJS.ErrnoException) => reject(notStarted(program, error)));
  child.once('close', resolve);
  child.stdin.on('error', () => undefined); // It may end before it has read all; its exit code says why.
  child.stdin.end(input);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  const code = await promise;
  return { code, stdout: stdout(), stderr: stderr() };
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= MAX_OUTPUT_BYTES) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

function notStarted(program: string, error: NodeJS.ErrnoException): LockFailure {
  const what = error.code === 'ENOENT' ? `${program} is not installed` : `${program} cannot be started: ${error.code}`;
  return new LockFailure(`${what}; the appliance's image has it (packages nftables and iproute2)`, { cause: error });
}

function expectSuccess(program: string, { code, stdout, stderr }: Ended): string {
  if (code === 0) return stdout;
  const said = stderr.trim().split('\n')[0] ?? '';
  if (/operation not permitted/i.test(stderr)) {
    throw new LockFailure(
      `${program} may not (${said}): the capability NET_ADMIN is missing; add cap_add: [NET_ADMIN]`,
    );
  }
  throw new LockFailure(`${program} failed (${code ?? 'no exit code'}): ${said}`);
}

function parseJson(program: string, text: string): unknown {
  try {
    return text.trim() === '' ? [] : JSON.parse(text);
  } catch (cause) {
    throw new LockFailure(`${program} answered with something that is not JSON`, { cause });
  }
}
