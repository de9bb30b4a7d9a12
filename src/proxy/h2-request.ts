/**
 * From an HTTP/2 header section to the facts that policy sees, and to the section that goes to the origin
 * (RFC 9113 sections 8.2, 8.3; RFC 8441; threats 2, 8, 10, 11).
 */

import { fieldValue, type HeaderList, type RequestFacts, type ResponseFacts, type TlsFacts } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import { hostInUrl } from '../domain/hostname.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import { parseHostField } from '../wire/authority.ts';
import { type H2Request, readH2RequestHeaders } from '../wire/http2-headers.ts';
import { normaliseTarget } from '../wire/target.ts';
import type { Flow } from './flow.ts';
import { isRefusedMethod } from './request.ts';

const HTTPS_PORT = 443;
const UPGRADE_FIELDS = ['connection', 'upgrade', 'upgrade', 'websocket'];

/** Depends on nothing but the list and the connection, so that a list that comes again is not read again. */
export interface ReadH2Request {
  readonly request: H2Request;
  readonly facts: RequestFacts;
  /** Content-Length; below zero where there is none. */
  readonly length: number;
  readonly expectsContinue: boolean;
  /** For the origin: canonical authority, normalised path, all else as it came. */
  readonly section: HeaderList;
}

/** What the connection was opened for, and what its ClientHello said. */
interface OpenedFor {
  readonly origin: OriginRequest;
  readonly tls: TlsFacts;
}

/** `raw`: flat names and values as they were decoded. */
export function readH2Request(flow: Flow, { origin, tls }: OpenedFor, raw: HeaderList): ReadH2Request | FlowFailure {
  const parsed = readH2RequestHeaders(raw);
  if (!parsed.ok) return new FlowFailure('bad_request', { detail: parsed.detail });
  const request = parsed.value;
  const refused = authorityProblem(request, origin) ?? methodProblem(request);
  if (refused !== undefined) return refused;
  if (request.scheme !== 'https') return new FlowFailure('bad_request', { detail: 'the :scheme is not https' });
  const star = request.path === '*' && request.method === 'OPTIONS';
  const target = star ? ({ ok: true, value: '*' } as const) : normaliseTarget(request.path);
  if (!target.ok) return new FlowFailure('ambiguous_request', { detail: target.detail });
  const { host, port } = origin;
  const length = Number(fieldValue(request.headers, 'content-length') ?? -1);
  const asUpgrade = request.protocol !== undefined;
  const facts: RequestFacts = {
    agent: flow.agent,
    host,
    port,
    scheme: 'https',
    // RFC 8441 section 4: extended CONNECT is h2's form of a GET with Upgrade, and rules see it as that.
    method: asUpgrade ? 'GET' : request.method,
    target: target.value,
    // Rules see the authority as Host, as they do over HTTP/1.1 (threat 13).
    headers: ['host', request.authority, ...(asUpgrade ? UPGRADE_FIELDS : []), ...request.headers],
    bodySize: Math.max(length, 0),
    body: undefined,
    tls,
  };
  const expectsContinue = fieldValue(request.headers, 'expect') !== undefined;
  return { request, facts, length, expectsContinue, section: sectionOf(request, facts) };
}

/** Without the expectation that was met already. */
export function withoutExpect(section: HeaderList): HeaderList {
  return section.filter((_, i) => section[i - (i % 2)] !== 'expect');
}

function sectionOf(request: H2Request, facts: RequestFacts): string[] {
  const name = hostInUrl(facts.host);
  const authority = facts.port === HTTPS_PORT ? name : `${name}:${facts.port}`;
  const section = [':method', request.method, ':scheme', 'https', ':authority', authority, ':path', facts.target];
  if (request.protocol !== undefined) section.push(':protocol', request.protocol);
  return [...section, ...request.headers];
}

/**
 * The head of an answer as rules see it. The 2xx to an extended CONNECT is to HTTP/2 what a 101 is to HTTP/1.1
 * (RFC 8441 section 5), and rules see it as that.
 */
export function h2ResponseFacts({ request }: ReadH2Request, raw: HeaderList): ResponseFacts {
  const at = raw.indexOf(':status');
  const status = Number(raw[at + 1]);
  const headers = raw.filter((_, i) => i !== at && i !== at + 1);
  const switched = request.protocol !== undefined && status >= 200 && status < 300;
  return switched ? { status: 101, headers: [...UPGRADE_FIELDS, ...headers] } : { status, headers };
}

function authorityProblem(request: H2Request, { host, port }: OriginRequest): FlowFailure | undefined {
  const authority = parseHostField(request.authority, HTTPS_PORT);
  if (!authority.ok) return new FlowFailure('invalid_host', { detail: authority.detail });
  const named = authority.value;
  if (named.host !== host || (named.port !== port && named.port !== HTTPS_PORT)) {
    return new FlowFailure('misdirected_request', { detail: `:authority ${named.host} on a connection for ${host}` });
  }
  return undefined;
}

function methodProblem(request: H2Request): FlowFailure | undefined {
  if (request.protocol !== undefined && request.protocol !== 'websocket') {
    return new FlowFailure('upgrade_refused', { detail: 'a :protocol other than websocket' });
  }
  if (request.protocol === undefined && isRefusedMethod(request.method)) {
    return new FlowFailure('method_refused', { detail: request.method });
  }
  return undefined;
}
