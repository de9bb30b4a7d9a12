/** A witness: something that listens in a network namespace and should not be reached. Counts who comes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { KIT_DEADLINE_MS, within } from './within.ts';

/** A command and its first arguments. */
export type Enter = readonly [string, ...string[]];

export class NamespaceListener implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #connected = Promise.withResolvers<void>();
  accepted = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** `enter` is the command that runs a program in the namespace. Listens on all its addresses. */
  static async open(enter: Enter, port: number): Promise<NamespaceListener> {
    const [command, ...args] = enter;
    const child = spawn(command, [...args, process.execPath, CHILD, String(port)], {
      env: { PATH: process.env['PATH'] ?? '' },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const listener = new NamespaceListener(child);
    const listening = new Promise<void>((resolve) => {
      child.on('message', (message) => {
        if (message === 'listening') resolve();
        else listener.#count();
      });
    });
    await within(listening, KIT_DEADLINE_MS, `a listener on port ${port}`);
    return listener;
  }

  /** Resolves with the first connection. */
  get connection(): Promise<void> {
    return within(this.#connected.promise, KIT_DEADLINE_MS, 'a connection');
  }

  #count(): void {
    this.accepted++;
    this.#connected.resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.disconnect();
    await exit;
  }
}

const CHILD = join(import.meta.dirname, 'listener-child.ts');
