/** Containers as users start them, and the commands that attach them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { type RunOptions, type RunResult, run } from '../../kit/run.ts';
import { docker, LAB_RUN, ROOT, tryDocker } from './lab.ts';

const CLI = join(ROOT, 'src/cli/main.ts');
const ENGINE = { DOCKER_HOST: `unix://${join(LAB_RUN, 'docker.sock')}` };
/** A JVM or a few helper containers on a busy machine. */
export const SLOW_MS = 120_000;

/** The real command, from source, with the lab's engine. */
export function outcall(...args: readonly string[]): Promise<RunResult> {
  return run(process.execPath, [CLI, ...args], { env: ENGINE, timeoutMs: SLOW_MS });
}

/** A container on the engine's own network, as users start them; removed when disposed. */
export class Container implements AsyncDisposable {
  readonly name: string;

  static async start(name: string, image: string, ...args: readonly string[]): Promise<Container> {
    await docker(['run', '--detach', '--init', '--name', name, ...args, image, 'sleep', 'infinity']);
    return new Container(name);
  }

  private constructor(name: string) {
    this.name = name;
  }

  exec(command: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return tryDocker(['exec', ...(options.input === undefined ? [] : ['-i']), this.name, ...command], options);
  }

  /** An HTTP request with nothing but bash, so that it works in every image. `seconds`: what is blocked may never be answered. */
  get(host: string, path: string, seconds = 8): Promise<RunResult> {
    const request = `GET ${path} HTTP/1.0\\r\\nHost: ${host}\\r\\n\\r\\n`;
    return this.exec([
      'timeout',
      `${seconds}`,
      'bash',
      '-c',
      `exec 3<>/dev/tcp/${host}/80 && printf '${request}' >&3 && cat <&3`,
    ]);
  }

  async networks(): Promise<readonly string[]> {
    const text = await docker(['inspect', '-f', '{{json .NetworkSettings.Networks}}', this.name]);
    return Object.keys(JSON.parse(text) as object).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const names = await docker(['ps', '--all', '--format', '{{.Names}}', '--filter', `name=^${this.name}`]);
    await tryDocker(['rm', '--force', '--volumes', ...names.split('\n')]);
  }
}

/** `outcall watch` until it is killed. */
export function startWatch(): ChildProcess {
  return spawn(process.execPath, [CLI, 'watch'], { env: { ...process.env, ...ENGINE }, stdio: 'ignore' });
}
