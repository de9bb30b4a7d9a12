/**
 * The real daemon as a process of its own, as an operator starts it: rules and CA in a temporary folder, an ephemeral
 * port of loopback. Its audit records come from its standard output, its log from standard error.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { ADMIN_PATHS, type StatusAnswer } from '../../src/domain/admin-api.ts';
import type { AuditRecord } from '../../src/domain/record.ts';
import { type RunOptions, type RunResult, run } from './run.ts';
import { Seen } from './seen.ts';
import { TempFolder } from './temp.ts';
import { within } from './within.ts';

const ROOT = join(import.meta.dirname, '../..');
const DAEMON = join(ROOT, 'src/daemon/main.ts');
const CLI = join(ROOT, 'src/cli/main.ts');
/** Most of a start is compiling; node keeps the result by content, between processes and between runs. */
const COMPILE_CACHE = { NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/outcall-tests') };
const START_DEADLINE_MS = 20_000;
const EXIT_DEADLINE_MS = 10_000;

export interface DaemonTestOptions {
  /** Rule files by name, or the text of one. */
  readonly rules: string | Readonly<Record<string, string>>;
  /** Makes a CA with `outcall ca init` and loads it. */
  readonly ca?: boolean | { readonly algorithm: 'rsa' | 'ecdsa' };
  /** Further arguments; they win over the kit's own. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly dnsServers?: readonly string[];
  /** PEM trusted for origins. */
  readonly trust?: string;
  /** Arguments of node itself. */
  readonly execArgv?: readonly string[];
}

/** One JSON line of the daemon's log; text that is none is in `msg`. */
export interface LogLine {
  readonly level?: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export class TestDaemon implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly process: ChildProcess;
  readonly records = new Seen<AuditRecord>('audit record on standard output');
  readonly log = new Seen<LogLine>('line of the log');
  /** Settles with the exit code, or the signal that ended it, when all that it wrote has been read. */
  readonly exited: Promise<number | NodeJS.Signals>;
  port = 0;

  constructor(folder: TempFolder, child: ChildProcess) {
    this.folder = folder;
    this.process = child;
    this.exited = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
    eachLine(child.stdout, (line) => this.records.push(JSON.parse(line) as AuditRecord));
    eachLine(child.stderr, (line) => this.log.push(parseLog(line)));
  }

  get adminSocket(): string {
    return join(this.folder.path, 'admin.sock');
  }

  get rulesFolder(): string {
    return join(this.folder.path, 'rules');
  }

  /** The CA's folder, made by `outcall ca init`. */
  get caFolder(): string {
    return join(this.folder.path, 'ca');
  }

  /** Runs `outcall` against this daemon. */
  cli(...args: readonly string[]): Promise<RunResult> {
    return outcall(args, { env: { OUTCALL_ADMIN_SOCKET: this.adminSocket } });
  }

  async status(): Promise<StatusAnswer> {
    return (await getJson(this.adminSocket, ADMIN_PATHS.status)) as StatusAnswer;
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** Sends SIGTERM and resolves with how it exited; kills and rejects when it does not. */
  async stop(): Promise<number | NodeJS.Signals> {
    if (this.process.exitCode === null && this.process.signalCode === null) this.signal('SIGTERM');
    return within(this.exited, EXIT_DEADLINE_MS, 'the exit of the daemon');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.stop();
    } finally {
      this.process.kill('SIGKILL');
      this.folder[Symbol.dispose]();
    }
  }
}

/** Starts the daemon and waits until it says that it is ready. Rejects with its log when it exits before. */
export async function startDaemon(options: DaemonTestOptions): Promise<TestDaemon> {
  const daemon = await spawnDaemon(options);
  try {
    await within(untilReady(daemon), START_DEADLINE_MS, 'a daemon that is ready');
    return daemon;
  } catch (error) {
    daemon.process.kill('SIGKILL');
    await daemon.exited;
    daemon.folder[Symbol.dispose]();
    throw new Error(
      `${(error as Error).message}; its log:\n${daemon.log.all.map((line) => JSON.stringify(line)).join('\n')}`,
    );
  }
}

/** Starts the daemon and does not wait: for starts that must fail. */
export async function spawnDaemon(options: DaemonTestOptions): Promise<TestDaemon> {
  const folder = new TempFolder();
  const args = [...(await prepare(folder, options)), ...(options.args ?? [])];
  const child = spawn(process.execPath, [...(options.execArgv ?? []), DAEMON, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...COMPILE_CACHE, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return new TestDaemon(folder, child);
}

/** Runs the CLI from its source. */
export function outcall(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return run(process.execPath, [CLI, ...args], { ...options, env: { ...COMPILE_CACHE, ...options.env } });
}

async function prepare(folder: TempFolder, options: DaemonTestOptions): Promise<string[]> {
  const files = typeof options.rules === 'string' ? { 'rules.yaml': options.rules } : options.rules;
  for (const [name, text] of Object.entries(files)) folder.write(join('rules', name), text);
  const args = ['--listen', '127.0.0.1:0', '--rules', join(folder.path, 'rules')];
  args.push(
    '--admin-socket',
    join(folder.path, 'admin.sock'),
    '--allow-private',
    '127.0.0.0/8',
    '--workers',
    '1',
    '--drain-secs',
    '1',
  );
  if (options.dnsServers !== undefined) args.push('--upstream-dns', options.dnsServers.join(','));
  if (options.trust !== undefined) args.push('--upstream-ca', folder.write('upstream.pem', options.trust));
  if (options.ca !== undefined && options.ca !== false)
    args.push(...(await makeCa(join(folder.path, 'ca'), options.ca)));
  return args;
}

async function makeCa(folder: string, ca: true | { readonly algorithm: 'rsa' | 'ecdsa' }): Promise<string[]> {
  const algorithm = ca === true ? 'ecdsa' : ca.algorithm;
  const made = await outcall(['ca', 'init', '--out', folder, '--algorithm', algorithm]);
  if (made.code !== 0) throw new Error(`outcall ca init: ${made.code} ${made.stderr}`);
  return ['--ca-cert', join(folder, 'ca.crt'), '--ca-key', join(folder, 'ca.key')];
}

/** Each line of the log may be the one that says so; the admin socket is what decides. */
async function untilReady(daemon: TestDaemon): Promise<void> {
  const gone = daemon.exited.then((how) => {
    throw new Error(`the daemon exited: ${how}`);
  });
  gone.catch(() => undefined);
  for (;;) {
    await Promise.race([daemon.log.next(), gone]);
    const status = await daemon.status().catch(() => undefined);
    if (status?.state !== 'ready') continue;
    daemon.port = Number(status.listen.slice(status.listen.lastIndexOf(':') + 1));
    return;
  }
}

function getJson(socketPath: string, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve(JSON.parse(text)));
    });
    request.on('error', reject);
  });
}

function eachLine(stream: Readable | null, handle: (line: string) => void): void {
  if (stream !== null) createInterface({ input: stream }).on('line', handle);
}

function parseLog(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}
