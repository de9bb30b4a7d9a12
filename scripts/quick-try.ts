/**
 * The stage of `npm start`: an origin and a resolver for names of .test, a CA, and outcalld before them, all on
 * loopback. The origin has a certificate of a CA made for the run, which only this outcalld trusts (--upstream-ca).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import type { AuditRecord } from '../src/domain/record.ts';
import { testCa } from '../test/kit/pki.ts';
import { startResolver } from '../test/kit/resolver.ts';

export const ROOT = path.resolve(import.meta.dirname, '..');
export const API_HOST = 'api.example.test';
export const OTHER_HOST = 'elsewhere.example.test';
const RULES = 'compose/rules/quick-try.yaml';
const PROXY_PORT = 8080;
const ORIGIN_PORT = 8443;
const READY_DEADLINE_MS = 20_000;
const RECORD_DEADLINE_MS = 5_000;
const STOP_DEADLINE_MS = 5_000;
const POLL_MS = 50;

export interface Stage extends AsyncDisposable {
  readonly proxy: string;
  readonly originPort: number;
  /** Paths as the reader types them, from the folder of the checkout. */
  readonly caCert: string;
  readonly adminSocket: string;
  readonly rules: string;
  readonly recordsFile: string;
  /** `METHOD path` of each request that reached the origin. */
  readonly reached: readonly string[];
  /** Settles when outcalld has exited. */
  readonly exited: Promise<unknown>;
  /** Audit records so far, once there are this many. */
  records(atLeast: number): Promise<readonly AuditRecord[]>;
}

/** Sets everything up below `folder`; rejects with what the operator can do about it. */
export async function setStage(folder: string): Promise<Stage> {
  mkdirSync(path.resolve(ROOT, folder), { recursive: true });
  const caFolder = path.join(folder, 'ca');
  makeCa(caFolder);
  const originCa = testCa('Outcall quick try, origin');
  const originCaFile = path.join(folder, 'origin-ca.pem');
  writeFileSync(path.resolve(ROOT, originCaFile), originCa.certPem);
  const reached: string[] = [];
  const origin = await startOrigin(originCa.issue({ names: [API_HOST, OTHER_HOST] }), reached);
  const resolver = await startResolver({ [API_HOST]: '127.0.0.1', [OTHER_HOST]: '127.0.0.1' });
  const port = await freePort(PROXY_PORT);
  const files = { recordsFile: path.join(folder, 'records.log'), logFile: path.join(folder, 'outcalld.log') };
  const adminSocket = path.join(folder, 'admin.sock');
  const daemon = startDaemon(files, {
    listen: `127.0.0.1:${port}`,
    rules: RULES,
    workers: '1',
    'drain-secs': '1',
    'ca-cert': path.join(caFolder, 'ca.crt'),
    'ca-key': path.join(caFolder, 'ca.key'),
    'admin-socket': adminSocket,
    'upstream-dns': resolver.address,
    'upstream-ca': originCaFile,
    'allow-private': '127.0.0.0/8',
  });
  const exited = once(daemon, 'exit');
  const stage: Stage = {
    proxy: `http://127.0.0.1:${port}`,
    originPort: (origin.address() as AddressInfo).port,
    caCert: path.join(caFolder, 'ca.crt'),
    adminSocket,
    rules: RULES,
    recordsFile: files.recordsFile,
    reached,
    exited,
    records: (atLeast) => readRecords(files.recordsFile, atLeast),
    [Symbol.asyncDispose]: async () => {
      await stopDaemon(daemon, exited);
      origin.closeAllConnections();
      await Promise.all([resolver[Symbol.asyncDispose](), new Promise((resolve) => origin.close(resolve))]);
    },
  };
  try {
    await untilHealthy(stage, daemon);
  } catch (error) {
    await stage[Symbol.asyncDispose]();
    const log = readFileSync(path.resolve(ROOT, files.logFile), 'utf8');
    throw new Error(`${(error as Error).message}; it said:\n${log}`, { cause: error });
  }
  return stage;
}

function makeCa(caFolder: string): void {
  if (existsSync(path.resolve(ROOT, caFolder, 'ca.crt'))) return;
  const made = spawnSync('bin/outcall', ['ca', 'init', '--out', caFolder], { cwd: ROOT });
  if (made.status !== 0) throw new Error(`outcall ca init failed: ${made.stderr.toString()}`);
}

async function startOrigin(pair: { certPem: string; keyPem: string }, reached: string[]): Promise<https.Server> {
  const server = https.createServer({ cert: pair.certPem, key: pair.keyPem }, (request, response) => {
    reached.push(`${request.method} ${request.url}`);
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify({ origin: request.headers.host, did: `${request.method} ${request.url}` })}\n`);
  });
  const port = await freePort(ORIGIN_PORT);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}

/** The port if nobody has it, else one that the system picks. */
async function freePort(wanted: number): Promise<number> {
  for (const port of [wanted, 0]) {
    const server = net.createServer();
    const free = await new Promise<number | undefined>((resolve) => {
      server.once('error', () => resolve(undefined));
      server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
    });
    if (free === undefined) continue;
    await new Promise((resolve) => server.close(resolve));
    return free;
  }
  throw new Error('no free port on 127.0.0.1');
}

function startDaemon(
  files: { readonly recordsFile: string; readonly logFile: string },
  options: Readonly<Record<string, string>>,
): ChildProcess {
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  const records = openSync(path.resolve(ROOT, files.recordsFile), 'w');
  const log = openSync(path.resolve(ROOT, files.logFile), 'w');
  const child = spawn('bin/outcalld', args, { cwd: ROOT, stdio: ['ignore', records, log] });
  closeSync(records);
  closeSync(log);
  return child;
}

async function stopDaemon(daemon: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  daemon.kill('SIGTERM');
  const timer = setTimeout(() => daemon.kill('SIGKILL'), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(timer);
}

async function untilHealthy({ proxy }: Stage, daemon: ChildProcess): Promise<void> {
  const deadline = Date.now() + READY_DEADLINE_MS;
  while (Date.now() < deadline) {
    if (daemon.exitCode !== null || daemon.signalCode !== null) throw new Error('outcalld exited');
    const answer = await fetch(`${proxy}/outcall-health`).catch(() => undefined);
    if (answer?.ok === true) return;
    await pause();
  }
  throw new Error('outcalld was not ready in time');
}

async function readRecords(file: string, atLeast: number): Promise<readonly AuditRecord[]> {
  const deadline = Date.now() + RECORD_DEADLINE_MS;
  for (;;) {
    const lines = readFileSync(path.resolve(ROOT, file), 'utf8').split('\n').slice(0, -1);
    if (lines.length >= atLeast || Date.now() > deadline) return lines.map((line) => JSON.parse(line) as AuditRecord);
    await pause();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, POLL_MS);
  });
}
