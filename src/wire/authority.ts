/**
 * Host and port as an agent writes them: CONNECT target, Host or :authority, absolute-form URI.
 * Gives the canonical host or refuses with words for the record (threats 4, 5, 6). Never repairs: what has two
 * readings (userinfo, octal IPv4, zone ids, non-ASCII) has none here. Does not resolve.
 */
import { canonicalHost, type Host } from '../domain/hostname.ts';
import { escapeTargetForLog } from './escape.ts';

export interface HostPort {
  readonly host: Host;
  readonly port: number;
}

/** A value, or one line for the record that says which rule was broken, what was sent escaped. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly detail: string };

/** Enough to recognise what was sent. */
const MAX_SHOWN_CHARS = 64;
const HTTP_PORT = 80;
const MAX_PORT = 65_535;

/** `host:port` of a CONNECT request; the port is required (RFC 9110 section 9.3.6). */
export function parseConnectTarget(target: string): Parsed<HostPort> {
  return parseAuthority(target, undefined);
}

/** A Host field or :authority: `host` or `host:port` (RFC 9110 section 7.2). */
export function parseHostField(field: string, defaultPort: number): Parsed<HostPort> {
  return parseAuthority(field, defaultPort);
}

/**
 * The absolute-form target of a proxied request, `http://` only (RFC 9112 section 3.2.2).
 * `target` is the rest as origin-form, raw: `/` where the path is empty.
 */
export function parseAbsoluteForm(uri: string): Parsed<HostPort & { readonly target: string }> {
  const scheme = uri.slice(0, 8).toLowerCase();
  if (scheme === 'https://') return refused('https in absolute form; use CONNECT', uri);
  if (!scheme.startsWith('http://')) return refused('not an absolute http URI', uri);
  if (uri.includes('#')) return refused('a fragment in the request target', uri);
  let end = 7;
  while (end < uri.length && uri[end] !== '/' && uri[end] !== '?') end++;
  const authority = parseAuthority(uri.slice(7, end), HTTP_PORT);
  if (!authority.ok) return authority;
  const rest = uri.slice(end);
  const target = rest.startsWith('/') ? rest : `/${rest}`;
  return { ok: true, value: { ...authority.value, target } };
}

function parseAuthority(text: string, defaultPort: number | undefined): Parsed<HostPort> {
  const problem = characterProblem(text);
  if (problem !== undefined) return refused(problem, text);
  const hostEnd = endOfHost(text);
  if (hostEnd === undefined) return refused('an IPv6 address without brackets, or more than one colon', text);
  const hostText = text.slice(0, hostEnd);
  const host = canonicalHost(hostText);
  if (host === undefined) return refused(hostProblem(hostText), text);
  if (hostEnd === text.length) {
    return defaultPort === undefined ? refused('no port', text) : { ok: true, value: { host, port: defaultPort } };
  }
  const port = parsePort(text.slice(hostEnd + 1));
  return port === undefined
    ? refused('a port that is not a plain number from 1 to 65535', text)
    : { ok: true, value: { host, port } };
}

/** Index of the colon before the port, or the length; undefined where the text is neither host nor host:port. */
function endOfHost(text: string): number | undefined {
  if (text.startsWith('[')) {
    const end = text.indexOf(']') + 1;
    return end > 0 && (end === text.length || text[end] === ':') ? end : undefined;
  }
  const colon = text.indexOf(':');
  if (colon === -1) return text.length;
  return text.indexOf(':', colon + 1) === -1 ? colon : undefined;
}

/** 1 to 65535 in plain decimal: no sign, no leading zero. */
function parsePort(text: string): number | undefined {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= MAX_PORT ? port : undefined;
}

function characterProblem(text: string): string | undefined {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0) return 'a NUL byte in the host';
    if (code === 0x0d || code === 0x0a) return 'CR or LF in the host';
    if (code === 0x20 || code === 0x09) return 'white space in the host';
    if (code < 0x20 || code === 0x7f) return 'a control byte in the host';
    if (code > 0x7f) return 'a host that is not ASCII; write it in punycode';
    if (code === 0x40) return 'userinfo before the host';
    if (code === 0x2f || code === 0x5c || code === 0x3f || code === 0x23) return 'a path in the host';
  }
  return undefined;
}

function hostProblem(host: string): string {
  if (host.length === 0) return 'an empty host';
  if (host.startsWith('[')) return host.includes('%') ? 'an IPv6 zone id' : 'not an IPv6 address';
  if (host.includes('%')) return 'a percent sign in the host';
  const lastLabel = host.replace(/\.$/, '').split('.').at(-1) ?? '';
  if (/^(?:[0-9]+|0x[0-9a-f]*)$/i.test(lastLabel)) return 'an IPv4 address that is not four plain decimal numbers';
  return 'not a DNS name';
}

function refused(rule: string, text: string): { ok: false; detail: string } {
  return { ok: false, detail: `${rule}: ${escapeTargetForLog(text, MAX_SHOWN_CHARS)}` };
}
