/**
 * Answers leaf requests that come over a port: in the signer from its cache, in the supervisor, between a worker and the
 * signer, from the signer of the moment. Keeps nothing.
 */
import { FlowFailure } from '../domain/failure.ts';
import { canonicalHost, type Host } from '../domain/hostname.ts';
import type { Leaf } from './leaf.ts';
import type { Port } from './port.ts';
import { type LeafReply, readMessage } from './signer-protocol.ts';

/** `leafFor` may reject, or throw; the asker gets leaf_refused either way. A host not in canonical form never reaches it. */
export function serveLeaves(port: Port, leafFor: (host: Host) => Promise<Leaf>): void {
  port.onMessage((message) => {
    const request = readMessage('leaf_request', message);
    if (request === undefined) return;
    void answer(request.id, request.host, leafFor).then((reply) => port.send(reply));
  });
}

async function answer(id: number, text: string, leafFor: (host: Host) => Promise<Leaf>): Promise<LeafReply> {
  const host = canonicalHost(text);
  if (host === undefined || host !== text) return { type: 'leaf_refused', id, detail: 'not a canonical host' };
  try {
    return { type: 'leaf_reply', id, leaf: await leafFor(host) };
  } catch (error) {
    return { type: 'leaf_refused', id, detail: detailOf(error) };
  }
}

function detailOf(error: unknown): string {
  return error instanceof FlowFailure ? (error.detail ?? error.reason) : (error as Error).message;
}
