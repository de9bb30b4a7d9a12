/**
 * A tunnel: dial the pinned addresses, pass on what was peeked, relay, record (S006).
 */
import type { Socket } from 'node:net';
import { asFailure, FlowFailure } from '../domain/failure.ts';
import type { Allow } from '../domain/verdict.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import type { Flow } from './flow.ts';
import { type Known, stillAllowed } from './known.ts';
import { failedFlow, verdictFields } from './outcome.ts';
import type { Hello } from './peek.ts';
import { closeWithAlert } from './refuse.ts';
import { type RelayResult, relay } from './relay.ts';
import { HelloGate } from './second-hello.ts';
import { WideReader } from './wide-reader.ts';

export interface TunnelRequest {
  readonly origin: OriginRequest;
  readonly verdict: Allow;
  /** Of the rule set that gave the verdict. */
  readonly generation: number;
  /** Why the verdict was given; a new rule set is asked with it again. */
  readonly known: Known;
  /** The connection that was opened to decide, if any. */
  readonly opened?: Opened | undefined;
  /** From upstream.resolve: classified already. undefined: the name is yet to be resolved. */
  readonly addresses: readonly string[] | undefined;
  /** Bytes read from the agent so far; they go first. */
  readonly first: Buffer;
  /** What they begin with, where a second one may come yet. */
  readonly hello: Hello | undefined;
  /** `tunnel`: TLS whose hello was checked. `direct`: any protocol, under a direct_ip rule. */
  readonly taken: 'tunnel' | 'direct';
  /** `CONNECT` where the agent said so. */
  readonly method: string | null;
}

/** A connection to the origin on which a TLS handshake has begun. */
export interface Opened {
  readonly socket: Socket;
  /** What the origin has said, for the agent; undefined where the agent has it. */
  readonly flight: Buffer | undefined;
  /** What the agent has said and the origin has not been told. */
  readonly rest: Buffer;
  /** What the origin has been told. */
  readonly sentBytes: number;
}

/** Takes the flow's socket over. Never throws: each outcome is recorded. */
export function tunnel(flow: Flow, request: TunnelRequest): void {
  flow.raw.pause();
  flow.raw.allowHalfOpen = true;
  void dialAndRelay(flow, request);
}

async function dialAndRelay(flow: Flow, request: TunnelRequest): Promise<void> {
  const { origin, verdict } = request;
  const { upstream } = flow.deps;
  const permittedBy: NonNullable<Flow['handler']>['permittedBy'] = (rules) =>
    stillAllowed(request.known, verdict, rules);
  flow.handler = {
    onTimeout: () => undefined,
    onDrain: () => undefined,
    permittedBy,
    abort: () => flow.raw.resetAndDestroy(),
  };
  try {
    const { opened, hello } = request;
    const gate = hello && new HelloGate(flow.raw, hello, request.first.subarray(hello.bytes));
    const reader = opened === undefined ? new WideReader(gate && ((chunk) => gate.look(chunk))) : undefined;
    const dialling = { allowHalfOpen: true, onread: reader?.onread };
    const socket = opened?.socket ?? (await upstream.dial(origin, request.addresses, dialling));
    const address = socket.remoteAddress ?? null;
    if (flow.raw.destroyed) {
      socket.destroy();
      throw new FlowFailure('client_closed', { detail: 'while the host was being connected' });
    }
    const first = opened?.rest ?? request.first.subarray(0, hello?.bytes);
    relay(
      flow,
      { stream: flow.raw, raw: flow.raw, first: first.length > 0 ? first : undefined, gate },
      { stream: socket, raw: socket, first: opened?.flight, reader },
      permittedBy,
      (result) => recordTunnel(flow, request, address, result),
    );
  } catch (error) {
    const failure = asFailure(error);
    if (failure.reason === 'internal_error') flow.deps.log.error({ err: error, flow: flow.id }, 'tunnel failed');
    failedFlow(flow, failure, {
      host: origin.host,
      port: origin.port,
      method: request.method,
      ...verdictFields(verdict),
      generation: request.generation,
    });
    if (request.taken === 'tunnel') closeWithAlert(flow, 'internal_error');
    else flow.raw.resetAndDestroy();
  }
}

const FAILED_BY = {
  closed: null,
  agent_reset: null,
  origin_reset: 'origin_closed',
  idle: 'idle_timeout',
  draining: 'draining',
  rules_changed: 'rules_changed',
  gate: null,
} as const;

function recordTunnel(flow: Flow, request: TunnelRequest, address: string | null, result: RelayResult): void {
  const { origin, verdict } = request;
  const { failure } = result;
  const fields = {
    event: 'flow',
    startedAt: flow.startedAt,
    verdict: failure === undefined ? 'allow' : 'failed',
    rule: verdict.ruleId,
    mode: verdict.grant.mode,
    would_block: verdict.wouldBlock?.ruleId ?? null,
    taken: request.taken,
    reason: failure?.reason ?? FAILED_BY[result.ended],
    detail: failure?.detail ?? (result.ended === 'closed' ? null : result.ended),
    host: origin.host,
    port: origin.port,
    scheme: null,
    method: request.method,
    path: null,
    http_version: null,
    status: 200,
    body_size: 0,
    bytes_up: result.bytesUp + (request.opened?.sentBytes ?? 0),
    bytes_down: result.bytesDown,
    upstream: address,
    generation: request.generation,
  } as const;
  if (verdict.log || failure !== undefined) flow.record(fields);
  else flow.leaveOut(fields);
}
