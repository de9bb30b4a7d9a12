/**
 * The seam between the doors and TLS interception. The doors know this interface alone, so that without a CA
 * not one line of the interception code is loaded (S011-FR-022).
 */
import type { Allow } from '../domain/verdict.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import type { Flow } from './flow.ts';

/** What is known when the client's ClientHello has been read and its bytes put back on the socket. */
export interface InterceptRequest {
  readonly origin: OriginRequest;
  readonly verdict: Allow;
  /** Of the rule set that gave the verdict. */
  readonly generation: number;
  /** ALPN protocols that the client offered, in its order; empty for none. */
  readonly offered: readonly string[];
}

export interface Interception {
  /** Takes the flow's socket over for good. Never rejects: each outcome is recorded and the socket closed. */
  serve(flow: Flow, request: InterceptRequest): Promise<void>;
}
