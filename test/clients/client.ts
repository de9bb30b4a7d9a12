/** What every real client of these tests can do: one GET through the daemon, trusting one CA alone. */
import type { FailureReason } from '../../src/domain/failure.ts';
import type { ClientScene } from './scene.ts';

export interface Got {
  /** Of the origin's or the proxy's answer inside TLS; undefined where there was none. */
  readonly status: number | undefined;
  readonly body: string;
  /** All that the client told its user. */
  readonly said: string;
}

export interface RealClient {
  readonly name: string;
  readonly httpVersion: '1.1' | '2';
  /** False where the program is not on this machine: its tests are skipped, and reported so. */
  readonly present: boolean;
  /** How it words the refusal of its CONNECT. */
  readonly saysRefused: RegExp;
  /** What the record says when it does not trust the CA: some send an alert, some just go. */
  readonly distrust: { readonly reason: FailureReason; readonly detail: string };
  get(scene: ClientScene, url: string, caFile: string): Promise<Got>;
}

/** Reads what a client printed as JSON `{ status, body }` in its last line; whatever else it printed is kept as said. */
export function gotFromLine(stdout: string, stderr: string): Got {
  const said = stdout + stderr;
  const line = stdout.split('\n').findLast((text) => text.startsWith('{"status":'));
  if (line === undefined) return { status: undefined, body: '', said };
  const { status, body } = JSON.parse(line) as { status: number; body: string };
  return { status, body, said };
}
