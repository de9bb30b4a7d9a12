/**
 * Where the requests of one HTTP/1.1 connection may go, and how their origin is reached. One connection code serves
 * the explicit door, plain HTTP inside a CONNECT, and decrypted TLS; they differ only in their site.
 */

import type { Scheme } from '../domain/facts.ts';
import type { FailureReason, FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import type { UpstreamTcp, UpstreamTls } from '../upstream/upstream.ts';
import { parseAbsoluteForm, parseHostField } from '../wire/authority.ts';
import type { RequestHead } from '../wire/http1-head.ts';
import type { Flow } from './flow.ts';
import type { OutcomeFields } from './outcome.ts';

/** A connection to an origin, plain or verified TLS. */
export type UpstreamConnection = UpstreamTcp | UpstreamTls;

export type Located =
  | { readonly ok: true; readonly host: Host; readonly port: number; readonly target: string }
  | { readonly ok: false; readonly reason: FailureReason; readonly detail: string };

export interface Site {
  readonly scheme: Scheme;
  readonly taken: 'intercept' | 'forward';
  /** What every audit record of this connection says, beside what a request adds. */
  readonly fields: OutcomeFields;
  /** Where this request wants to go, or why it may not. */
  locate(head: RequestHead): Located;
  /** An idle connection to the origin, if there is one. */
  take(origin: OriginRequest): UpstreamConnection | undefined;
  /** A new connection; rejects with FlowFailure. */
  dial(origin: OriginRequest): Promise<UpstreamConnection>;
  /** After a complete exchange, with our listeners taken off. */
  release(connection: UpstreamConnection): void;
  /** Set where the origin is known to be out of reach: what policy allows is answered with this. */
  readonly unreachable: FlowFailure | undefined;
}

const HTTP_PORT = 80;

/** The explicit door's own site: absolute-form requests, each to its own host. */
export function absoluteSite(flow: Flow): Site {
  return { ...plainUpstream(flow), fields: { taken: 'forward', scheme: 'http' }, locate: locateAbsolute };
}

/** Plain HTTP on a connection that was opened for one host. */
export function plainSite(flow: Flow, host: Host, port: number): Site {
  return {
    ...plainUpstream(flow),
    fields: { taken: 'forward', scheme: 'http', host, port },
    locate: (head) => locateFixed(head, host, port, HTTP_PORT),
  };
}

/** Origin-form requests whose Host must be the connection's own (threat 2); also absolute-form naming the same. */
export function locateFixed(head: RequestHead, host: Host, port: number, defaultPort: number): Located {
  if (head.host === undefined) {
    return { ok: false, reason: 'bad_request', detail: 'no Host field (RFC 9112 section 3.2)' };
  }
  const named = parseHostField(head.host, defaultPort);
  if (!named.ok) return { ok: false, reason: 'invalid_host', detail: named.detail };
  // Clients differ in whether they repeat a port that the connection already names.
  if (named.value.host !== host || (named.value.port !== port && named.value.port !== defaultPort)) {
    return { ok: false, reason: 'misdirected_request', detail: `Host ${named.value.host} on a connection for ${host}` };
  }
  if (head.target.startsWith('/') || (head.target === '*' && head.method === 'OPTIONS')) {
    return { ok: true, host, port, target: head.target };
  }
  return { ok: false, reason: 'bad_request', detail: 'the request target must begin with / here' };
}

function locateAbsolute(head: RequestHead): Located {
  const target = parseAbsoluteForm(head.target);
  if (!target.ok)
    return { ok: false, reason: head.target.startsWith('/') ? 'bad_request' : 'invalid_host', detail: target.detail };
  if (head.host !== undefined) {
    const named = parseHostField(head.host, HTTP_PORT);
    // RFC 9112 section 3.2.2 lets the target win; two names in one request are refused here instead.
    if (!named.ok || named.value.host !== target.value.host || named.value.port !== target.value.port) {
      return {
        ok: false,
        reason: 'misdirected_request',
        detail: `Host differs from the target's ${target.value.host}`,
      };
    }
  }
  return { ok: true, ...target.value };
}

function plainUpstream(flow: Flow): Omit<Site, 'locate' | 'fields'> {
  const { upstream } = flow.deps;
  return {
    scheme: 'http',
    taken: 'forward',
    unreachable: undefined,
    take: (origin) => upstream.takePlain(origin),
    dial: (origin) => upstream.dialPlain(origin),
    release: (connection) => upstream.releasePlain(connection),
  };
}
