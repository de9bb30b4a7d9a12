/**
 * A TLS connection that rules decide by the server's certificate: from need_certificate to the verdict (threats 1, 33, 34).
 * Where they want another mode than a tunnel in the end, the client has not noticed anything yet and is served that way.
 */
import { FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import type { NeedCertificate, Verdict } from '../domain/verdict.ts';
import { readSecondHello } from '../wire/client-hello.ts';
import { type Gate, openGate, unlessAborted } from './certificate-gate.ts';
import type { AbortReason, Flow } from './flow.ts';
import { type Known, verdictOn } from './known.ts';
import { type Hello, type Peeked, peek } from './peek.ts';
import { secondHelloProblem } from './second-hello.ts';
import type { Opened } from './tunnel.ts';

export interface MetadataRequest {
  /** With the ClientHello's facts. */
  readonly known: Known & Required<Pick<Known, 'tls'>>;
  readonly need: NeedCertificate;
  /** From upstream.resolve; undefined where the name is yet to be resolved. */
  readonly addresses: readonly string[] | undefined;
  readonly hello: Hello;
  /** All that the client sent so far. */
  readonly bytes: Buffer;
}

export interface Decided {
  /** Of the rules in force now. */
  readonly verdict: Verdict;
  readonly known: Known;
  /** The connection to the origin, where it is to be a tunnel. */
  readonly opened: Opened | undefined;
}

/** Takes the flow's handler over; the client's socket stays paused. Throws FlowFailure. */
export async function decideByCertificate(flow: Flow, request: MetadataRequest): Promise<Decided> {
  const { known, need, addresses, bytes } = request;
  const signal = holdClient(flow, known);
  const origin = { agentIp: flow.agent.ip, host: known.host, port: known.port, grant: need.grant };
  const name = known.tls.sni === '' ? known.host : (known.tls.sni as Host);
  const hello = bytes.subarray(0, request.hello.bytes);
  const gate = await openGate(flow, { origin, addresses, hello, name, need }, signal);
  return conclude(flow, request, gate, signal);
}

/** The deadline, a drain and a reload abort whichever part is under way. */
function holdClient(flow: Flow, known: Known): AbortSignal {
  const control = new AbortController();
  flow.expectWithin(flow.deps.options.helloTimeoutMs);
  flow.handler = {
    onTimeout: () => control.abort(new FlowFailure('upstream_handshake_failed', { detail: 'timeout' })),
    onDrain: () => undefined,
    permittedBy: (rules) => rules.decideConnect(known).action === 'allow',
    abort: (why: AbortReason) => {
      control.abort(new FlowFailure(why));
      flow.raw.resetAndDestroy();
    },
  };
  return control.signal;
}

async function conclude(flow: Flow, request: MetadataRequest, gate: Gate, signal: AbortSignal): Promise<Decided> {
  const { certificate } = gate;
  const known: Known = certificate === undefined ? request.known : { ...request.known, certificate };
  const verdict = verdictOn(known, flow.deps.rules());
  try {
    if (flow.raw.destroyed) throw new FlowFailure('client_closed', { detail: 'while the host was being connected' });
    if (verdict.action === 'block' && verdict.cause === 'default' && gate.problem !== undefined) {
      // Nothing vouches for the server, so what would have allowed it did not match: a fault of the server's.
      throw new FlowFailure('certificate_unverified', { detail: gate.problem });
    }
    if (verdict.action === 'block' || verdict.grant.mode === 'intercept') {
      gate.socket.resetAndDestroy();
      return { verdict, known, opened: undefined };
    }
    // Another rule may have decided than the one that it was dialled by.
    const { host, port } = known;
    flow.deps.upstream.readmit(gate.address, { agentIp: flow.agent.ip, host, port, grant: verdict.grant });
    return { verdict, known, opened: await opened(flow, request, gate, signal) };
  } catch (error) {
    gate.socket.resetAndDestroy();
    throw error;
  }
}

async function opened(flow: Flow, { hello, bytes }: MetadataRequest, gate: Gate, signal: AbortSignal): Promise<Opened> {
  const { socket, flight } = gate;
  const rest = bytes.subarray(hello.bytes);
  if (!gate.retry) return { socket, flight, rest, sentBytes: hello.bytes };
  flow.raw.write(flight);
  return {
    socket,
    flight: undefined,
    rest: await secondHello(flow, hello, rest, signal),
    sentBytes: hello.bytes,
  };
}

async function secondHello(flow: Flow, first: Hello, rest: Buffer, signal: AbortSignal): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Peeked>();
  peek(flow.raw, rest, resolve, readSecondHello);
  const second = await unlessAborted(promise, signal);
  const problem = secondHelloProblem(first, second);
  if (problem !== undefined) throw problem;
  return second.kind === 'hello' ? second.bytes : rest;
}
