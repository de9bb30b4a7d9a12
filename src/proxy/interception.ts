/**
 * The seam between the doors and TLS interception. The doors know this interface alone, so that without a CA
 * not one line of the interception code is loaded (S011-FR-022).
 */
import type { Allow } from '../domain/verdict.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import type { Flow } from './flow.ts';
import type { Known } from './known.ts';

/** What is known when the client's ClientHello has been read and its bytes put back on the socket. */
export interface InterceptRequest {
  readonly origin: OriginRequest;
  readonly verdict: Allow;
  /** Of the rule set that gave the verdict. */
  readonly generation: number;
  /** With the ClientHello's facts; why the verdict was given. */
  readonly known: Known & Required<Pick<Known, 'tls'>>;
}

export interface Interception {
  /** Takes the flow's socket over for good. Never rejects: each outcome is recorded and the socket closed. */
  serve(flow: Flow, request: InterceptRequest): Promise<void>;
}
