/**
 * From a request head to the facts that policy sees, or the reason to refuse it before policy is asked.
 */

import type { RequestFacts } from '../domain/facts.ts';
import type { FailureReason } from '../domain/failure.ts';
import type { RequestHead } from '../wire/http1-head.ts';
import { normaliseTarget } from '../wire/target.ts';
import type { Flow } from './flow.ts';
import type { Site } from './site.ts';

export type ReadRequest =
  | { readonly ok: true; readonly head: RequestHead; readonly facts: RequestFacts; readonly hostField: string }
  | { readonly ok: false; readonly head: RequestHead; readonly reason: FailureReason; readonly detail: string };

export function readRequest(flow: Flow, site: Site, head: RequestHead): ReadRequest {
  const refused = methodProblem(head);
  if (refused !== undefined) return { ok: false, head, ...refused };
  const located = site.locate(head);
  if (!located.ok) return { ok: false, head, reason: located.reason, detail: located.detail };
  const target = located.target === '*' ? { ok: true as const, value: '*' } : normaliseTarget(located.target);
  if (!target.ok) return { ok: false, head, reason: 'ambiguous_request', detail: target.detail };
  const { host, port, hostField } = located;
  return {
    ok: true,
    head,
    hostField,
    facts: {
      agent: flow.agent,
      host,
      port,
      scheme: site.scheme,
      method: head.method,
      target: target.value,
      headers: head.headers,
      bodySize: head.framing.kind === 'length' ? head.framing.bytes : 0,
      body: undefined,
      tls: site.tls,
    },
  };
}

/**
 * Methods that are never forwarded. Lower case too: methods are case-sensitive (RFC 9110 section 9.1), but an origin that
 * takes `delete` for DELETE would do what a block rule for DELETE did not see.
 */
export function isRefusedMethod(method: string): boolean {
  return method === 'CONNECT' || method === 'TRACE' || method !== method.toUpperCase();
}

/** What is refused whatever the rules say (threat 11). */
function methodProblem(head: RequestHead): { readonly reason: FailureReason; readonly detail: string } | undefined {
  if (isRefusedMethod(head.method)) return { reason: 'method_refused', detail: head.method };
  if (
    head.upgrade !== undefined &&
    (head.upgrade !== 'websocket' || head.method !== 'GET' || head.framing.kind !== 'none')
  ) {
    return { reason: 'upgrade_refused', detail: head.upgrade };
  }
  return undefined;
}
