/**
 * TCP to pinned addresses. Takes addresses and never names, so what was judged is what is dialled (threats 3, 18).
 * Tries one address after the other, each with its share of the time.
 */
import { connect, type LookupFunction, type OnReadOpts, type Socket } from 'node:net';
import { FlowFailure } from '../domain/failure.ts';
import { errorCode } from './errno.ts';

/** RFC 8305 has no figure; four cover two addresses of each family. */
const MAX_TRIES = 4;
/** A peer that vanished without a word is noticed within minutes, not hours. */
const KEEP_ALIVE_DELAY_MS = 60_000;

export interface DialOptions {
  /** Aborted: the caller no longer wants the connection. A FlowFailure as the reason is what is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** An end from the origin is for the caller to pass on, not answered by ours (for relays). */
  readonly allowHalfOpen?: boolean | undefined;
  /** Reads go into the caller's buffer instead of the stream (for relays). */
  readonly onread?: OnReadOpts | undefined;
}

export interface DialTarget {
  /** Canonical IP addresses that were admitted, in the order of their answers; at least one. */
  readonly addresses: readonly string[];
  readonly port: number;
  /** For all tries together. */
  readonly timeoutMs: number;
}

/**
 * A connected socket, without Nagle's delay and with TCP keep-alive. It carries an error listener that does nothing, so
 * that an error before the caller listens ends this socket and not the process; `socket.errored` tells of it.
 * Throws FlowFailure `connect_failed`, `connect_timeout`, or the reason of the signal.
 */
export async function dialTcp(target: DialTarget, options: DialOptions = {}): Promise<Socket> {
  const { addresses, port, timeoutMs } = target;
  const tries = inTurn(addresses).slice(0, MAX_TRIES);
  const deadline = performance.now() + timeoutMs;
  const failures: FlowFailure[] = [];
  for (const [i, address] of tries.entries()) {
    const shareMs = (deadline - performance.now()) / (tries.length - i);
    try {
      return await connectOnce(address, port, shareMs, options);
    } catch (error) {
      if (!(error instanceof FlowFailure) || options.signal?.aborted) throw error;
      failures.push(error);
    }
  }
  // A family that the appliance cannot reach fails at once; the address that kept silent says more.
  throw failures.find(({ reason }) => reason === 'connect_timeout') ?? failures[0] ?? noAddress();
}

/** The reason of an aborted signal as a FlowFailure. */
export function abortFailure(signal: AbortSignal): FlowFailure {
  return signal.reason instanceof FlowFailure
    ? signal.reason
    : new FlowFailure('client_closed', { cause: signal.reason });
}

/** IPv4, IPv6, IPv4... (RFC 8305 section 4): a family that goes nowhere uses up no more than each second try. */
function inTurn(addresses: readonly string[]): readonly string[] {
  const v6 = addresses.filter((address) => address.includes(':'));
  const v4 = addresses.filter((address) => !address.includes(':'));
  const turns = Math.max(v4.length, v6.length);
  const ordered = Array.from({ length: turns }, (_, i) => [v4[i], v6[i]]).flat();
  return ordered.filter((address) => address !== undefined);
}

async function connectOnce(address: string, port: number, timeoutMs: number, options: DialOptions): Promise<Socket> {
  const { signal, onread, allowHalfOpen = false } = options;
  if (signal?.aborted) throw abortFailure(signal);
  const socket = connect({
    host: address,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
    allowHalfOpen,
    lookup: refuseNames,
    ...(onread === undefined ? {} : { onread }),
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(timedOut(address)), timeoutMs);
  const onAbort = () => reject(abortFailure(signal as AbortSignal));
  signal?.addEventListener('abort', onAbort, { once: true });
  socket.once('connect', resolve);
  socket.on('error', (error) => reject(connectFailure(address, error)));
  try {
    await promise;
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function connectFailure(address: string, cause: Error): FlowFailure {
  const code = errorCode(cause);
  if (code === 'ETIMEDOUT') return timedOut(address);
  return new FlowFailure('connect_failed', { detail: `${code} from ${address}`, cause });
}

/** Not called for an address; a name that came this far by mistake ends here and reaches no resolver. */
const refuseNames: LookupFunction = (hostname, _options, callback) => {
  callback(Object.assign(new Error(`${hostname} is not an address`), { code: 'ENOTFOUND' }), '');
};

function timedOut(address: string): FlowFailure {
  return new FlowFailure('connect_timeout', { detail: `no answer from ${address}` });
}

function noAddress(): FlowFailure {
  return new FlowFailure('connect_failed', { detail: 'no address to dial' });
}
