/**
 * Ends a connection by TCP reset, so that the peer cannot take a cut-off message for a whole one.
 * The order is what matters: destroying the TLS socket in the same tick as the reset crashes Node 24, and
 * TLSSocket.resetAndDestroy() throws.
 */
import type { Socket } from 'node:net';

/** Resets `raw`; `stream` is the TLS socket over it, or `raw` itself. Harmless on a connection that is gone already. */
export function resetConnection(raw: Socket, stream: Socket = raw): void {
  if (!raw.destroyed) {
    // On a socket without a handle resetAndDestroy reports an error, which nobody needs to hear any more.
    raw.on('error', ignore);
    raw.resetAndDestroy();
  }
  if (stream !== raw) setImmediate(() => stream.on('error', ignore).destroy());
}

function ignore(): void {}
