/**
 * One child process that is kept alive: started, told its beginning, started again when it dies (threats row 36).
 * Knows nothing of what a worker or signer does. A child that keeps dying is started ever more slowly, up to a bound.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { ROLE_VARIABLE, type Role } from './messages.ts';
import type { UserAndGroup } from './option-checks.ts';
import { type OutputChannel, openOutputChannel } from './output-channel.ts';

/** First wait after a quick death; doubles up to the last. */
const FIRST_RESTART_MS = 50;
const LAST_RESTART_MS = 5_000;
/** A child that lived this long died of something new: no wait. */
const HEALTHY_AFTER_MS = 10_000;
/** Options come by message; and nothing around us may turn off the verification of origins, or load code into the signer. */
const STRIPPED_VARIABLES: ReadonlySet<string> = new Set(['NODE_TLS_REJECT_UNAUTHORIZED', 'NODE_OPTIONS']);

export interface ChildExit {
  readonly pid: number | undefined;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Milliseconds until the next start; undefined when it is not started again. */
  readonly restartInMs: number | undefined;
}

export interface ChildHooks<Incoming> {
  /** The file that the process runs: this program's own entry. */
  readonly entry: string;
  readonly role: Role;
  readonly environment: NodeJS.ProcessEnv;
  /** Options of node beyond this process's own. */
  readonly execArgv: readonly string[];
  /** Whom it runs as, without any capability; undefined for whom we run as. */
  readonly user: UserAndGroup | undefined;
  /** A descriptor of ours that it inherits as its fourth; undefined for none. */
  readonly inherit: number | undefined;
  /** Takes the standard output of the process that is started next (bytes that are reused after the call); without, nobody does. */
  takeOutput?(): (bytes: Buffer) => void;
  /** A new process is there, and nothing was sent to it yet. `output` is its standard output where that is taken. */
  onStart(process: ChildProcess, output: Socket | undefined): void;
  onMessage(message: Incoming): void;
  onExit(exit: ChildExit): void;
}

export class KeptChild<Outgoing extends object, Incoming> {
  readonly #hooks: ChildHooks<Incoming>;
  #process: ChildProcess | undefined;
  #startedAt = 0;
  #quickDeaths = 0;
  #restarts = 0;
  #stopping = false;
  #timer: NodeJS.Timeout | undefined;
  #gone = Promise.withResolvers<void>();

  constructor(hooks: ChildHooks<Incoming>) {
    this.#hooks = hooks;
  }

  /** Undefined between a death and the next start. */
  get process(): ChildProcess | undefined {
    return this.#process;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /** Rejects with the system's error where no process can be made, or not as another user (EPERM). */
  async start(): Promise<void> {
    const take = this.#hooks.takeOutput?.();
    this.#run(take === undefined ? undefined : await openOutputChannel(take));
  }

  /** False when there is no process to take it. `socket` is the child's from then on. */
  send(message: Outgoing, socket?: Socket): boolean {
    const child = this.#process;
    if (child?.connected !== true) return false;
    child.send(message, socket, () => {}); // a failed send is a dead child, and that is told by 'exit'
    return true;
  }

  /** From now on a death is final. Resolves when the process is gone and its output read (at once where there is none). */
  stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    if (this.#process === undefined) this.#gone.resolve();
    return this.#gone.promise;
  }

  kill(): void {
    this.#process?.kill('SIGKILL');
  }

  #run(channel: OutputChannel | undefined): void {
    if (this.#stopping) {
      channel?.ours.destroy();
      channel?.theirs.destroy();
      return;
    }
    const { entry, role, environment, execArgv, user, inherit } = this.#hooks;
    const child = fork(entry, [], {
      env: childEnvironment(environment, role),
      execArgv: [...process.execArgv, ...execArgv],
      stdio: ['ignore', channel?.theirs ?? 'ignore', 'inherit', 'ipc', ...(inherit === undefined ? [] : [inherit])],
      serialization: 'advanced',
      // setuid(2) from root to another drops every capability, and so does what execve(2) makes of them.
      ...user,
    });
    channel?.theirs.destroy();
    this.#process = child;
    this.#startedAt = Date.now();
    // A process that could not even be started has no 'exit'; a failed send or kill is told by 'exit'.
    child.on('error', () => child.pid === undefined && this.#exited(child, null, null));
    child.on('message', (message) => this.#hooks.onMessage(message as Incoming));
    child.once('exit', (code, signal) => this.#exited(child, code, signal));
    this.#awaitEnd(child, channel?.ours);
    this.#hooks.onStart(child, channel?.ours);
  }

  /** Later than 'exit': its last output has been read as well. */
  #awaitEnd(child: ChildProcess, output: Socket | undefined): void {
    const open = new Set<EventEmitter>(output === undefined ? [child] : [child, output]);
    for (const each of open) {
      each.once('close', () => {
        open.delete(each);
        if (open.size === 0 && this.#stopping) this.#gone.resolve();
      });
    }
  }

  #exited(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#process !== child) return;
    this.#process = undefined;
    this.#died(child.pid, code, signal);
  }

  #died(pid: number | undefined, code: number | null, signal: NodeJS.Signals | null): void {
    const restartInMs = this.#stopping ? undefined : this.#nextDelay();
    this.#hooks.onExit({ pid, code, signal, restartInMs });
    if (pid === undefined && this.#stopping) this.#gone.resolve();
    if (restartInMs === undefined) return;
    this.#timer = setTimeout(() => {
      this.#restarts++;
      this.start().catch(() => this.#died(undefined, null, null));
    }, restartInMs);
  }

  #nextDelay(): number {
    if (Date.now() - this.#startedAt >= HEALTHY_AFTER_MS) this.#quickDeaths = 0;
    const delay =
      this.#quickDeaths === 0 ? 0 : Math.min(FIRST_RESTART_MS * 2 ** (this.#quickDeaths - 1), LAST_RESTART_MS);
    this.#quickDeaths++;
    return delay;
  }
}

function childEnvironment(environment: NodeJS.ProcessEnv, role: Role): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(
    ([name]) => !name.startsWith('OUTCALL') && !STRIPPED_VARIABLES.has(name),
  );
  return { ...Object.fromEntries(kept), [ROLE_VARIABLE]: role };
}
