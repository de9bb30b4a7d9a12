/**
 * What can be known to be wrong before anything is served, and the words for it. Each message names the option to change.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { hostInUrl } from '../domain/hostname.ts';
import type { HostAndPort } from './option-checks.ts';
import type { DaemonOptions } from './options.ts';
import { StartFailure } from './worker-pool.ts';

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Why the daemon does not start; each line is for the operator. */
export class StartRefused extends Error {
  readonly lines: readonly string[];

  constructor(lines: readonly string[]) {
    super(lines.join('\n'));
    this.lines = lines;
  }
}

/** The certificates in the file of --upstream-ca, one PEM text each. Throws StartRefused where it holds none that can be read. */
export function readUpstreamCa(file: string | undefined): readonly string[] {
  if (file === undefined) return [];
  try {
    const texts = readFileSync(file, 'latin1').match(PEM_CERTIFICATE) ?? [];
    if (texts.length === 0) throw new Error('it holds no BEGIN CERTIFICATE line');
    for (const text of texts) new X509Certificate(text);
    return texts;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new StartRefused([`--upstream-ca: cannot use ${file}: ${code ?? message}; write a file of PEM certificates`]);
  }
}

/**
 * Opens and closes the address alone. The workers share their port (SO_REUSEPORT), so without this a second daemon
 * would share it too and take every other connection.
 */
export async function probePort({ host, port }: HostAndPort): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const probe = net.createServer();
  probe.once('error', reject);
  probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve()));
  await promise;
}

/** Throws StartRefused where another user is asked for and this one may not hand a process over. */
export function checkUsers({ workerUser, signerUser }: DaemonOptions): void {
  const flag = workerUser === undefined ? '--signer-user' : '--worker-user';
  if ((workerUser === undefined && signerUser === undefined) || process.geteuid?.() === 0) return;
  throw new StartRefused([
    `${flag}: only root can run a process as another user; start outcalld as root, or leave it out`,
  ]);
}

/** Any error of the start as StartRefused. */
export function startRefusal(error: unknown, options: DaemonOptions): StartRefused {
  if (error instanceof StartRefused) return error;
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (syscall === 'spawn' && code === 'EPERM') {
    return new StartRefused([
      '--worker-user, --signer-user: a process cannot be handed to another user (EPERM); add cap_add: [SETUID, SETGID, KILL]',
    ]);
  }
  const listens = syscall === 'listen' || (error instanceof StartFailure && code !== 'worker_died');
  if (!listens) return new StartRefused([message]);
  const { host, port } = options.listen;
  return new StartRefused([`--listen: cannot listen on ${hostInUrl(host)}:${port}: ${listenText(code ?? message)}`]);
}

export function listenText(code: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'the port is in use (EADDRINUSE); stop what listens there, or write another port';
    case 'EACCES':
      return 'this user may not (EACCES); write a port from 1024 up';
    case 'EADDRNOTAVAIL':
      return 'this machine has no such address (EADDRNOTAVAIL); write one of its own, or 0.0.0.0';
    default:
      return code;
  }
}
