// What the bench asks of its load generator and what it gets back, and the handle by which the bench holds the generator's
// process. The generator itself is generator.ts, in a process of its own.
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { type Cores, startPinned, stopChild } from './machine.ts';

/** How to reach the origin: straight at `port`, or by CONNECT through the proxy that listens there. All on 127.0.0.1. */
export interface Route {
  readonly port: number;
  readonly connect: boolean;
  /** The origin's port, as named in CONNECT. */
  readonly originPort: number;
  /** PEM of the one CA that the TLS peer's certificate must come from; undefined: no TLS. */
  readonly ca: string | undefined;
  /** Addresses that connections come from, in turns: to the proxy each is an agent. 127.0.0.1 unless given. */
  readonly sources?: readonly string[];
}

export interface Exchange {
  readonly host: string;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly requestBytes: number;
  /** HTTP/2 with so many requests open at a time on each connection; HTTP/1.1 unless given. */
  readonly streams?: number;
}

export type Job =
  /** Request, whole answer, next request, on each of `connections` open connections. */
  | { kind: 'keep-alive'; route: Route; exchange: Exchange; connections: number; seconds: number }
  /** Connect, CONNECT, full handshake, one request, close; `connections` at a time. */
  | { kind: 'new-connections'; route: Route; exchange: Exchange; connections: number; seconds: number }
  /** A request every so often, whatever becomes of those before; times count from when each was due. */
  | {
      kind: 'open-loop';
      route: Route;
      exchange: Exchange;
      connections: number;
      perSecond: number;
      seconds: number;
    }
  /** 'keep-alive' on `connections`, with 'new-connections' of `newAtOnce` beside it. */
  | { kind: 'flood'; route: Route; exchange: Exchange; connections: number; newAtOnce: number; seconds: number }
  | Queries
  /** One new connection and one request to each host, one after another. */
  | { kind: 'first-contact'; route: Route; exchange: Exchange; hosts: readonly string[] }
  /** Opens connections, one request on each, and keeps them open until 'release'. */
  | { kind: 'hold'; route: Route; exchange: Exchange; connections: number }
  | { kind: 'release' };

/** A-queries over UDP: each address has one on its way at a time, and all names take their turns. Every one must have an answer. */
export interface Queries {
  readonly kind: 'query';
  readonly port: number;
  readonly sources: readonly string[];
  readonly names: readonly string[];
  readonly seconds: number;
}

export interface Latency {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
}

export interface Outcome {
  readonly requests: number;
  readonly seconds: number;
  readonly bodyBytes: number;
  readonly latency: Latency;
  /** From connect to the end of the TLS handshake; of jobs that open connections. */
  readonly handshake: Latency;
}

export interface Generator {
  run(job: Job): Promise<Outcome>;
  readonly pid: number;
  /** Another process of the same kind on the same core, for load beside load. */
  another(): Generator;
  stop(): Promise<void>;
}

export type Reply = { outcome: Outcome } | { error: string };

/** Starts the generator's process on its core. */
export function startGenerator(cores: Cores): Generator {
  const script = path.join(import.meta.dirname, 'generator.ts');
  const child = startPinned(cores, cores.generator, [process.execPath, script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  return {
    pid: child.pid,
    run: (job) => runJob(child, job),
    another: () => startGenerator(cores),
    stop: () => stopChild(child),
  };
}

function runJob(child: ChildProcess, job: Job): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const settle = (reply: Reply | undefined): void => {
      child.off('exit', onExit);
      child.off('message', settle);
      if (reply !== undefined && 'outcome' in reply) resolve(reply.outcome);
      else reject(new Error(reply?.error ?? 'the generator ended'));
    };
    const onExit = (): void => settle(undefined);
    child.once('message', settle);
    child.once('exit', onExit);
    child.send(job);
  });
}
