/**
 * Ends a client connection so that the client can read why.
 */
import type { Socket } from 'node:net';
import type { Flow } from './flow.ts';

/** How long a refused client may take to read the refusal and close (RFC 9112 section 9.6, lingering close). */
const LINGER_MS = 2_000;
/** Fatal TLS alerts (RFC 8446 section 6): what a client that waits for a ServerHello can read. */
const ALERTS = { access_denied: 49, internal_error: 80, unrecognized_name: 112 } as const;

/** Writes the refusal, closes our side, and discards what the client still sends until it closes or time is up. */
export function closeAfter(flow: Flow, stream: Socket, refusal: Buffer): void {
  stream.removeAllListeners('data');
  stream.removeAllListeners('end');
  stream.removeAllListeners('drain');
  flow.handler = {
    onTimeout: () => stream.destroy(),
    onDrain: () => undefined,
    permittedBy: () => true,
    abort: () => stream.destroy(),
  };
  flow.expectWithin(LINGER_MS);
  stream.on('data', () => undefined);
  // Both sides ended, the socket closes by itself.
  stream.allowHalfOpen = true;
  // Nothing is no write: an empty one would go all the way to the kernel.
  if (refusal.length > 0) stream.write(refusal);
  stream.end();
  stream.resume();
}

/** Refuses a client that has begun TLS and awaits our ServerHello: there is no HTTP to answer in. */
export function closeWithAlert(flow: Flow, why: keyof typeof ALERTS): void {
  closeAfter(flow, flow.raw, Buffer.from([0x15, 3, 3, 0, 2, 2, ALERTS[why]]));
}
