// What a thing under test is to the bench: it can be started afresh, it has an entrance for intercepted requests and one for
// tunnels, and it ends with all its helpers when stopped.
import type { Certificates } from './certificates.ts';
import type { Route } from './jobs.ts';
import { accepts, type Cores, type Running, startPinned, stopChild, untilReady } from './machine.ts';
import type { Origin } from './origin.ts';

/** What every target is given. */
export interface Site {
  readonly folder: string;
  readonly certificates: Certificates;
  readonly cores: Cores;
  readonly origin: Origin;
  readonly nameServerPort: number;
  /** A hosts file with every name the bench uses, for targets that cannot be pointed at a name server's port. */
  readonly hostsFile: string;
}

export interface RunningTarget extends Running {
  /** From exec to readiness. */
  readonly startMs: number;
  /** HTTP/1.1 inside TLS that the target ends. */
  readonly intercepted: Route | undefined;
  /** Where HTTP/2 is spoken, on to the origin as well; undefined where the target does not. */
  readonly h2?: Route;
  /** TLS end to end with the origin, relayed unopened; undefined where the target cannot. */
  readonly tunnel: Route | undefined;
  /** Where it answers names over UDP. */
  readonly dnsPort?: number;
  /** Bytes without TLS through the same door, to the origin's plain port. */
  readonly plainTunnel: Route | undefined;
}

export interface Target {
  readonly name: string;
  /** What it is and how it is set up, for the report. */
  readonly about: string;
  start(site: Site): Promise<RunningTarget>;
}

interface StartOptions {
  readonly output?: number | 'ignore';
  readonly isReady?: () => Promise<boolean>;
  readonly cores?: readonly number[];
}

/** Starts the command on the proxy's core and waits until it is ready, which is to accept on `port` unless it has a better sign. */
export async function startTarget(
  site: Site,
  command: readonly string[],
  port: number,
  routes: Pick<RunningTarget, 'intercepted' | 'h2' | 'tunnel' | 'plainTunnel'>,
  { output = 'ignore', isReady = () => accepts(port), cores = [site.cores.proxy] }: StartOptions = {},
): Promise<RunningTarget> {
  const startedMs = performance.now();
  const child = startPinned(site.cores, cores, command, { stdio: ['ignore', output, 'inherit'] });
  await untilReady(child, isReady, command[0] ?? '');
  return { ...routes, pid: child.pid, startMs: performance.now() - startedMs, stop: () => stopChild(child) };
}
