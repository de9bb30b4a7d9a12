/** What the tests of this folder share: a clock under their control, an Upstream on loopback, requests for origins. */
import type { Clock } from '../../../src/domain/clock.ts';
import { FlowFailure } from '../../../src/domain/failure.ts';
import type { Host } from '../../../src/domain/hostname.ts';
import { CidrSet } from '../../../src/domain/ip.ts';
import type { Grant } from '../../../src/domain/verdict.ts';
import type { OriginRequest } from '../../../src/upstream/origin.ts';
import { Upstream, type UpstreamOptions } from '../../../src/upstream/upstream.ts';

export class TestClock implements Clock {
  #now = Date.now();

  now(): number {
    return this.#now;
  }

  advance(ms: number): void {
    this.#now += ms;
  }
}

export class DisposableUpstream extends Upstream implements Disposable {
  [Symbol.dispose](): void {
    this.close();
  }
}

/** An Upstream that may dial loopback, and has no other means than `overrides` says. */
export function testUpstream(overrides: Partial<UpstreamOptions> = {}): DisposableUpstream {
  return new DisposableUpstream({
    dnsServers: [],
    upstreamCaPem: [],
    allowPrivate: cidrs('127.0.0.0/8', '::1'),
    ownAddresses: () => new Set(),
    connectTimeoutMs: 5_000,
    idleTimeoutMs: 55_000,
    maxIdlePerOrigin: 8,
    clock: new TestClock(),
    ...overrides,
  });
}

export interface RequestOverrides extends Partial<Grant> {
  readonly agentIp?: string;
}

export function requestFor(host: string, port: number, overrides: RequestOverrides = {}): OriginRequest {
  const { agentIp = '10.203.0.5', ...grant } = overrides;
  return {
    agentIp,
    host: host as Host,
    port,
    grant: { mode: 'intercept', allowPrivateIps: false, trustAnchors: [], tls: undefined, ...grant },
  };
}

export function cidrs(...list: string[]): CidrSet {
  const result = CidrSet.parse(list);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.value;
}

/** The FlowFailure that the promise must reject with, as `reason: detail`. */
export async function failureOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof FlowFailure) return error.message;
    throw error;
  }
  throw new Error('it did not fail');
}
