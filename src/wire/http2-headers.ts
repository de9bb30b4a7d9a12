/**
 * The header lists of HTTP/2, requests' checked before anything is decided or sent (threat 10), responses' before an agent
 * sees them. RFC 9113 sections 8.2 and 8.3, and RFC 8441 for extended CONNECT. Refuses, never repairs; does not judge the
 * target or the host, and leaves cookie crumbs as they came.
 */
import type { HeaderList } from '../domain/facts.ts';
import type { Parsed } from './authority.ts';
import { escapeForLog } from './escape.ts';
import { parseLength } from './http1-fields.ts';
import { everyOctet, FIELD_VALUE, HTAB, isToken, SP, TOKEN, VISIBLE } from './octets.ts';
import { isForbiddenTrailer } from './trailers.ts';

export interface H2Request {
  readonly method: string;
  /** Empty for a plain CONNECT, which has no scheme and no path. */
  readonly scheme: string;
  /** `:authority`, or the Host field where that is absent. */
  readonly authority: string;
  readonly path: string;
  /** `:protocol` of RFC 8441. */
  readonly protocol: string | undefined;
  /** Flat name, value; regular fields only, without Host: `authority` is the one place for it. */
  readonly headers: HeaderList;
}

/** Enough to recognise the field. */
const MAX_SHOWN_CHARS = 64;
const PSEUDO_NAMES = [':method', ':scheme', ':authority', ':path', ':protocol'] as const;
type PseudoName = (typeof PSEUDO_NAMES)[number];
type Pseudo = { [name in PseudoName]?: string };

/**
 * RFC 9113 section 8.2.2; HTTP2-Settings belongs to the upgrade from HTTP/1.1. The names with an underscore are taken
 * for framing by CGI and WSGI.
 */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  'connection',
  'content_length',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'transfer_encoding',
  'upgrade',
]);

/** `raw`: flat names and values as they were decoded, pseudo-header fields included. */
export function readH2RequestHeaders(raw: readonly string[]): Parsed<H2Request> {
  if (raw.length % 2 !== 0) return { ok: false, detail: 'a field without a value' };
  const pseudo: Pseudo = {};
  const headers: string[] = [];
  const singles: Singles = { host: undefined, length: undefined };
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    const problem = name.startsWith(':')
      ? notePseudo(pseudo, name, value, headers.length > 0 || singles.host !== undefined)
      : noteRegular(singles, name, value);
    if (problem !== undefined) return { ok: false, detail: `${problem}: ${escapeForLog(name, MAX_SHOWN_CHARS)}` };
    if (!name.startsWith(':') && name !== 'host') headers.push(name, value);
  }
  const problem = requestProblem(pseudo, singles.host);
  if (problem !== undefined) return { ok: false, detail: problem };
  return {
    ok: true,
    value: {
      method: pseudo[':method'] ?? '',
      scheme: pseudo[':scheme'] ?? '',
      authority: pseudo[':authority'] ?? singles.host ?? '',
      path: pseudo[':path'] ?? '',
      protocol: pseudo[':protocol'],
      headers,
    },
  };
}

export interface H2ResponseHead {
  readonly status: number;
  /** Content-Length. */
  readonly length: number | undefined;
}

/** RFC 9113 section 8.3.2, RFC 9110 sections 8.6 and 15.2. `raw` as above; interim heads too. */
export function readH2ResponseHead(raw: HeaderList): Parsed<H2ResponseHead> {
  const status = raw[0] === ':status' && /^[1-9][0-9]{2}$/.test(raw[1] ?? '') ? Number(raw[1]) : 0;
  // 101 is no status of HTTP/2 (RFC 9113 section 8.6).
  if (status === 0 || status === 101) return { ok: false, detail: 'no :status in front, or one that is none' };
  const singles: Singles = { host: undefined, length: undefined };
  for (let i = 2; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const problem = noteRegular(singles, name, raw[i + 1] as string);
    if (problem !== undefined) return { ok: false, detail: `${problem}: ${escapeForLog(name, MAX_SHOWN_CHARS)}` };
  }
  const length = singles.length === undefined ? undefined : Number(singles.length);
  if (length !== undefined && (status < 200 || (status === 204 && length > 0))) {
    return { ok: false, detail: `a length with status ${status}` };
  }
  return { ok: true, value: { status, length } };
}

/** What is wrong with a trailer section (RFC 9113 section 8.1, RFC 9110 section 6.5.1), or undefined. */
export function h2TrailerProblem(raw: readonly string[], message: 'request' | 'response'): string | undefined {
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const problem = isForbiddenTrailer(name, message)
      ? 'a field that must not come as a trailer'
      : fieldProblem(name, raw[i + 1] ?? '');
    if (problem !== undefined) return `${problem}: ${escapeForLog(name, MAX_SHOWN_CHARS)}`;
  }
  return undefined;
}

/** Fields that may come once. */
interface Singles {
  host: string | undefined;
  length: string | undefined;
}

function notePseudo(pseudo: Pseudo, name: string, value: string, afterRegular: boolean): string | undefined {
  if (!isPseudoName(name)) return 'an unknown pseudo-header field';
  if (pseudo[name] !== undefined) return 'a pseudo-header field twice';
  if (afterRegular) return 'a pseudo-header field after a regular one';
  if (value.length === 0 || !everyOctet(value, VISIBLE))
    return 'a pseudo-header value that is empty or not visible ASCII';
  pseudo[name] = value;
  return undefined;
}

function isPseudoName(name: string): name is PseudoName {
  return (PSEUDO_NAMES as readonly string[]).includes(name);
}

function noteRegular(singles: Singles, name: string, value: string): string | undefined {
  const problem = fieldProblem(name, value);
  if (problem !== undefined) return problem;
  if (name === 'host') {
    if (singles.host !== undefined) return 'a field that may come once only';
    singles.host = value;
  } else if (name === 'content-length') {
    if (singles.length !== undefined) return 'a field that may come once only';
    if (parseLength(value) < 0) return 'a length that is not a plain number';
    singles.length = value;
  }
  return undefined;
}

/** RFC 9113 sections 8.2.1 and 8.2.2. */
function fieldProblem(name: string, value: string): string | undefined {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code >= 0x41 && code <= 0x5a) return 'an upper-case field name';
    if (TOKEN[code] !== 1) return 'a field name that is not a token';
  }
  if (name.length === 0) return 'an empty field name';
  if (CONNECTION_SPECIFIC.has(name)) return 'a connection-specific field';
  if (name === 'te' && value !== 'trailers') return 'te other than trailers';
  if (!everyOctet(value, FIELD_VALUE)) return 'a field value with a control byte';
  return isWhite(value.charCodeAt(0)) || isWhite(value.charCodeAt(value.length - 1))
    ? 'a field value with white space around it'
    : undefined;
}

function isWhite(code: number): boolean {
  return code === SP || code === HTAB;
}

/** RFC 9113 sections 8.3.1 and 8.5, RFC 8441 section 4. */
function requestProblem(pseudo: Pseudo, host: string | undefined): string | undefined {
  const method = pseudo[':method'];
  const authority = pseudo[':authority'];
  const path = pseudo[':path'];
  if (method === undefined || !isToken(method)) return 'no :method, or one that is not a token';
  if (authority === undefined && (host === undefined || host.length === 0)) return 'neither :authority nor host';
  if (authority !== undefined && host !== undefined && host !== authority) return 'host differs from :authority';
  if (pseudo[':protocol'] !== undefined && method !== 'CONNECT') return ':protocol with a method other than CONNECT';
  if (method === 'CONNECT' && pseudo[':protocol'] === undefined) {
    return pseudo[':scheme'] === undefined && path === undefined ? undefined : ':scheme or :path with CONNECT';
  }
  if (pseudo[':scheme'] === undefined) return 'no :scheme';
  if (path === undefined) return 'no :path';
  if (!path.startsWith('/') && !(path === '*' && method === 'OPTIONS')) return ':path that is not origin-form';
  return undefined;
}
