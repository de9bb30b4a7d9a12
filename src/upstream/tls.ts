/**
 * TLS to an origin over a connection that is pinned already. The origin is verified before anyone sees this socket:
 * chain, dates, purpose, and the name that the agent asked for (threats 3, 34). There is no way to turn that off.
 */
import type { Socket } from 'node:net';
import { checkServerIdentity, connect, type PeerCertificate, type SecureContext, type TLSSocket } from 'node:tls';
import { type Host, isAddress } from '../domain/hostname.ts';
import { abortFailure } from './dial.ts';
import { tlsFailure, tlsTimeout } from './tls-failure.ts';

export type HttpProtocol = 'h2' | 'http/1.1';

export interface HandshakeRequest {
  readonly host: Host;
  readonly context: SecureContext;
  readonly offer: readonly HttpProtocol[];
  readonly timeoutMs: number;
  /** A session of an earlier handshake with this very host under this very context. */
  readonly session: Buffer | undefined;
  /** Called for each session that the origin hands out, only after it was verified; with TLS 1.3 at any later time. */
  readonly onSession: (session: Buffer) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Performs the handshake on `raw` and takes it over. The socket carries an error listener that does nothing; see
 * `socket.errored`. Throws what tlsFailure gives, or the reason of the signal; `raw` is of no use then.
 */
export async function handshake(raw: Socket, request: HandshakeRequest): Promise<TLSSocket> {
  const { host, signal } = request;
  const socket = connect({
    socket: raw,
    host,
    secureContext: request.context,
    ALPNProtocols: [...request.offer],
    rejectUnauthorized: true,
    // Always the host of the request, whatever the socket or the session say.
    checkServerIdentity: (_name: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate),
    // RFC 6066 section 3: no addresses in SNI.
    ...(isAddress(host) ? {} : { servername: host }),
    ...(request.session === undefined ? {} : { session: request.session }),
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(tlsTimeout()), request.timeoutMs);
  const onAbort = () => reject(abortFailure(signal as AbortSignal));
  signal?.addEventListener('abort', onAbort, { once: true });
  socket.once('secureConnect', resolve);
  socket.on('session', request.onSession);
  socket.on('error', (error) => reject(tlsFailure(error, { certificateSeen: hasPeerCertificate(socket) })));
  try {
    if (signal?.aborted) throw abortFailure(signal);
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

/** What the origin chose. One that does not know ALPN speaks HTTP/1.1 (RFC 9113 section 3.2 needs ALPN for h2). */
export function chosenProtocol(socket: TLSSocket): HttpProtocol {
  return socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1';
}

function hasPeerCertificate(socket: TLSSocket): boolean {
  // While the error is being told the handle is still there; later this gives null.
  return Object.keys(socket.getPeerCertificate() ?? {}).length > 0;
}
