// What the bench asks of the machine: which cores serve whom, child processes that are always ended again, free ports,
// and what a process tree costs in CPU time and memory (Linux /proc). It starts nothing outside loopback.
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

const START_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 8_000;
const POLL_MS = 5;
const CLOCK_TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** The cores of each part. Parts that carry the same number compete with each other; the report says so. */
export interface Cores {
  readonly proxy: number;
  readonly generator: number;
  readonly origin: number;
  readonly pinned: boolean;
  /** How many the machine gives us. */
  readonly count: number;
}

/** The proxy under test gets a core of its own; generator and origin share what is left. */
export function layOutCores(pin: boolean): Cores {
  const count = os.availableParallelism();
  const last = count - 1;
  return { proxy: 0, generator: Math.min(1, last), origin: Math.min(2, last), pinned: pin && last > 0, count };
}

export interface Running {
  readonly pid: number;
  stop(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a command on one core, or on several. The command replaces taskset, so the pid is the command's own. */
export function startPinned(
  cores: Cores,
  core: number | readonly number[],
  command: readonly string[],
  options: SpawnOptions,
): ChildProcess & { readonly pid: number } {
  const whole = cores.pinned ? ['taskset', '-c', String(core), ...command] : command;
  const [file = '', ...args] = whole;
  const child = spawn(file, args, options);
  if (child.pid === undefined) throw new Error(`${command[0]} could not be started`);
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child as ChildProcess & { readonly pid: number };
}

/** Moves a process that is up, all its threads, to another core. */
export function moveTo(cores: Cores, core: number, pid: number): void {
  if (cores.pinned) execFileSync('taskset', ['-acp', String(core), String(pid)], { stdio: 'ignore' });
}

/** SIGTERM, then SIGKILL after a bounded wait. Only ever a process that startPinned returned. */
export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await gone;
  clearTimeout(killer);
}

/** Waits until the process says that it serves; throws when it ends first or the limit passes. */
export async function untilReady(child: ChildProcess, isReady: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS;
  while (!(await isReady())) {
    if (child.exitCode !== null) throw new Error(`${what} ended with code ${child.exitCode} before it served`);
    if (Date.now() > deadline) throw new Error(`${what} did not serve in ${START_LIMIT_MS} ms`);
    await pause(POLL_MS);
  }
}

/** Whether somebody accepts on 127.0.0.1:port. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** How many files a process may have open: Node raises its own limit to the hard one, and children inherit it. */
export function maxOpenFiles(): number {
  return Number(/^Max open files +(\d+)/m.exec(readProc(process.pid, 'limits'))?.[1] ?? 0);
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** CPU seconds (user and system) that a process and all its living descendants have used. */
export function cpuSeconds(root: number): number {
  let ticks = 0;
  for (const { stat } of processTree(root)) ticks += Number(stat[11]) + Number(stat[12]);
  return ticks / CLOCK_TICKS_PER_SECOND;
}

/** Proportional set size in KiB of a process and all its living descendants: shared pages are counted once. */
export function pssKib(root: number): number {
  let sum = 0;
  for (const { pid } of processTree(root)) {
    const line = /^Pss:\s+(\d+) kB/m.exec(readProc(pid, 'smaps_rollup'));
    sum += Number(line?.[1] ?? 0);
  }
  return sum;
}

interface ProcessStat {
  readonly pid: number;
  /** /proc/PID/stat from its third field on: [0] state, [1] parent, [11] utime, [12] stime (proc(5)). */
  readonly stat: readonly string[];
}

/** A process and all its living descendants. */
export function processTree(root: number): ProcessStat[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({
      pid: Number(name),
      stat: readProc(Number(name), 'stat')
        .replace(/^.*\) /s, '')
        .split(' '),
    }));
  const tree = all.filter(({ pid }) => pid === root);
  for (const member of tree) tree.push(...all.filter(({ stat }) => Number(stat[1]) === member.pid));
  return tree;
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return ''; // ended between the listing and the read
  }
}
