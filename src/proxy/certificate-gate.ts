/**
 * What stands between a client's ClientHello and its tunnel where a rule asks for the server's certificate (threats 1, 34).
 * The client's session is its own: nothing here answers it, and until the rules have decided nothing passes but this hello.
 *   1. dial; send the hello, and hold whatever the client says after it
 *   2. read the server's first flight, and hold it
 *   3. TLS 1.2 shows the certificate there; where it is hidden, our own handshake asks for it, if the rule says `probe`
 */
import type { Socket } from 'node:net';
import type { CertificateFacts } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import type { NeedCertificate } from '../domain/verdict.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import { type ServerFlight, ServerFlightReader } from '../wire/server-flight.ts';
import type { Flow } from './flow.ts';

export interface GateRequest {
  readonly origin: OriginRequest;
  readonly addresses: readonly string[] | undefined;
  /** The ClientHello as it came, and not a byte more. */
  readonly hello: Buffer;
  /** Under which the server is asked: the SNI, or the host where there is none. */
  readonly name: Host;
  readonly need: NeedCertificate;
}

export interface Gate {
  /** To the server, paused; the hello has gone out on it. */
  readonly socket: Socket;
  readonly address: string;
  /** What the server said so far, for the client. */
  readonly flight: Buffer;
  /** The server asks for a second ClientHello. */
  readonly retry: boolean;
  /** undefined: it could not be seen. */
  readonly certificate: CertificateFacts | undefined;
  /** Why the certificate is valid under none of the trust sets. */
  readonly problem: string | undefined;
}

type Answer = Exclude<ServerFlight, { kind: 'incomplete' }>;

/**
 * Throws FlowFailure; the server's socket is closed then. `signal` aborts with the failure to throw.
 */
export async function openGate(flow: Flow, request: GateRequest, signal: AbortSignal): Promise<Gate> {
  const { upstream } = flow.deps;
  const socket = await upstream.dial(request.origin, request.addresses, { allowHalfOpen: true, signal });
  try {
    const address = socket.remoteAddress ?? '';
    socket.write(request.hello);
    const reader = new ServerFlightReader();
    const answer = await firstFlight(socket, reader, signal);
    const seen = await certificateBehind(flow, request, address, answer, signal);
    const retry = answer.kind === 'hidden' && answer.why === 'tls13_retry';
    return {
      socket,
      address,
      flight: Buffer.from(reader.bytes),
      retry,
      certificate: seen?.facts,
      problem: seen?.problem,
    };
  } catch (error) {
    socket.resetAndDestroy();
    throw error;
  }
}

/** Leaves the socket paused, without listeners of ours. */
async function firstFlight(socket: Socket, reader: ServerFlightReader, signal: AbortSignal): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const onData = (chunk: Buffer): void => {
    const flight = reader.push(chunk);
    if (flight.kind === 'incomplete') return;
    socket.pause();
    resolve(flight);
  };
  const onClose = (): void => reject(handshakeFailed('reset'));
  socket.on('data', onData);
  socket.on('end', onClose);
  socket.on('close', onClose);
  try {
    return await unlessAborted(promise, signal);
  } finally {
    socket.off('data', onData);
    socket.off('end', onClose);
    socket.off('close', onClose);
  }
}

async function certificateBehind(
  flow: Flow,
  { origin, name, need }: GateRequest,
  address: string,
  answer: Answer,
  signal: AbortSignal,
): Promise<{ readonly facts: CertificateFacts; readonly problem: string | undefined } | undefined> {
  if (answer.kind === 'hidden' && need.tls13 !== 'probe') return undefined;
  const shown = answer.kind === 'hidden' ? undefined : certificateIn(answer);
  const asked = flow.deps.upstream.certificateOf({ origin, address, name, trustSets: need.trustSets, shown });
  return unlessAborted(asked, signal);
}

function certificateIn(answer: Exclude<Answer, { kind: 'hidden' }>): Buffer {
  switch (answer.kind) {
    case 'certificate':
      return answer.chain[0];
    case 'malformed':
      throw handshakeFailed(`protocol_error: ${answer.detail}`);
    case 'alert':
      throw handshakeFailed('handshake_refused');
    case 'outdated':
      throw handshakeFailed('protocol_version');
  }
}

/** The work itself goes on: others may wait for the same handshake. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function handshakeFailed(detail: string): FlowFailure {
  return new FlowFailure('upstream_handshake_failed', { detail });
}
