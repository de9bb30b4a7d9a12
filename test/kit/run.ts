/**
 * Runs real programs (curl, Python, git, openssl, node) as clients, each in an environment with no proxy or CA variable
 * but those a test gives, and ends them by pid when they are late.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const RUN_DEADLINE_MS = 20_000;
/** What of our own environment a client may see. */
const KEPT = ['PATH', 'HOME', 'LANG', 'PYENV_ROOT', 'JAVA_HOME'];

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Buffer;
  readonly cwd?: string;
  readonly timeoutMs?: number;
}

export interface RunResult {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end. Rejects when the program cannot start or does not end in time. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const child = spawn(command, args, { cwd: options.cwd, env: environment(options.env), stdio: 'pipe' });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => undefined); // It may end before it has read its input.
  child.stdin.end(options.input ?? '');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, options.timeoutMs ?? RUN_DEADLINE_MS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearTimeout(timer));
  const result = { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
  if (late) throw new Error(`${command} did not end in time; ${JSON.stringify(result)}`);
  return result;
}

/** True when `command` is in the PATH. For `describe.skipIf`, so that a missing tool is a reported skip. */
export function hasProgram(command: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The variables with which clients use an explicit proxy. */
export function proxyEnv(door: { readonly port: number }): Record<string, string> {
  const url = `http://127.0.0.1:${door.port}`;
  return { http_proxy: url, https_proxy: url, HTTP_PROXY: url, HTTPS_PROXY: url, no_proxy: '', NO_PROXY: '' };
}

function environment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const kept = KEPT.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]));
  return { ...Object.fromEntries(kept), ...extra };
}
