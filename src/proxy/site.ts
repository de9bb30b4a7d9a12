/**
 * Where the requests of one HTTP/1.1 connection may go, and how their origin is reached. One connection code serves
 * the explicit door, plain HTTP inside a CONNECT, and decrypted TLS; they differ only in their site.
 */

import type { Scheme, TlsFacts } from '../domain/facts.ts';
import type { FailureReason, FlowFailure } from '../domain/failure.ts';
import { type Host, hostInUrl } from '../domain/hostname.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import type { UpstreamTcp, UpstreamTls } from '../upstream/upstream.ts';
import { parseAbsoluteForm, parseHostField } from '../wire/authority.ts';
import type { RequestHead } from '../wire/http1-head.ts';
import type { Flow } from './flow.ts';
import type { OutcomeFields } from './outcome.ts';

/** A connection to an origin, plain or verified TLS. */
export type UpstreamConnection = UpstreamTcp | UpstreamTls;

export type Located =
  | {
      readonly ok: true;
      readonly host: Host;
      readonly port: number;
      readonly target: string;
      /** Host as it goes upstream: as it came where it is canonical, so that the head can be passed on unchanged. */
      readonly hostField: string;
    }
  | Refused;

interface Refused {
  readonly ok: false;
  readonly reason: FailureReason;
  readonly detail: string;
}

export interface Site {
  readonly scheme: Scheme;
  readonly taken: 'intercept' | 'forward';
  /** Of the ClientHello, where the connection was decrypted. */
  readonly tls: TlsFacts | undefined;
  /** What every audit record of this connection says, beside what a request adds. */
  readonly fields: OutcomeFields;
  /** Where this request wants to go, or why it may not. */
  locate(head: RequestHead): Located;
  /** An idle connection to the origin, if there is one. */
  take(origin: OriginRequest): UpstreamConnection | undefined;
  /** A new connection; rejects with FlowFailure. */
  dial(origin: OriginRequest): Promise<UpstreamConnection>;
  /** Whether none like this one rests, for this agent and origin. */
  lacks(connection: UpstreamConnection): boolean;
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
    locate: fixedLocator(host, port, HTTP_PORT),
  };
}

/** Origin-form requests whose Host must be the connection's own (threat 2); also absolute-form naming the same. */
export function fixedLocator(host: Host, port: number, defaultPort: number): Site['locate'] {
  const bare = hostInUrl(host);
  const full = `${bare}:${port}`;
  const usual = port === defaultPort ? bare : full;
  return (head) => {
    // Nearly every request has one of the two canonical spellings.
    const isOwn = head.host === full || head.host === usual;
    const wrong = isOwn ? undefined : hostProblem(head.host, host, port, defaultPort);
    if (wrong !== undefined) return wrong;
    if (head.target.startsWith('/') || (head.target === '*' && head.method === 'OPTIONS')) {
      return { ok: true, host, port, target: head.target, hostField: isOwn ? (head.host as string) : usual };
    }
    return { ok: false, reason: 'bad_request', detail: 'the request target must begin with / here' };
  };
}

/** Why this Host field may not stand on a connection for `host`; clients differ in whether they repeat its port. */
function hostProblem(field: string | undefined, host: Host, port: number, defaultPort: number): Refused | undefined {
  if (field === undefined) return { ok: false, reason: 'bad_request', detail: 'no Host field (RFC 9112 section 3.2)' };
  const named = parseHostField(field, defaultPort);
  if (!named.ok) return { ok: false, reason: 'invalid_host', detail: named.detail };
  if (named.value.host === host && (named.value.port === port || named.value.port === defaultPort)) return undefined;
  return { ok: false, reason: 'misdirected_request', detail: `Host ${named.value.host} on a connection for ${host}` };
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
  const { host, port } = target.value;
  const full = `${hostInUrl(host)}:${port}`;
  const hostField = port === HTTP_PORT && head.host !== full ? hostInUrl(host) : full;
  return { ok: true, ...target.value, hostField };
}

function plainUpstream(flow: Flow): Omit<Site, 'locate' | 'fields'> {
  const { upstream } = flow.deps;
  return {
    scheme: 'http',
    taken: 'forward',
    tls: undefined,
    unreachable: undefined,
    take: (origin) => upstream.takePlain(origin),
    dial: (origin) => upstream.dialPlain(origin),
    lacks: (connection) => upstream.lacksPlain(connection),
    release: (connection) => upstream.releasePlain(connection),
  };
}
