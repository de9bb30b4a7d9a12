/**
 * The head of an HTTP/1.x message: start line, fields, framing. Our own and strict, so that what is evaluated
 * is what is forwarded (threats 9, 11). RFC 9112, and where it leaves a choice the refusal is taken.
 * Does not judge the target or the host (target.ts, authority.ts) and never looks past the head.
 */
import type { HeaderList } from '../domain/facts.ts';
import { type FieldSection, HOP_BY_HOP, readFields } from './http1-fields.ts';
import { CR, FIELD_VALUE, LF, SP, TOKEN, VISIBLE } from './octets.ts';

export interface HeadLimits {
  /** Start line, fields and the final CRLF together. */
  readonly maxHeadBytes: number;
  readonly maxHeaders: number;
}

/** How the end of the body is found. `until_close` is for responses only. */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until_close' };

interface MessageHead {
  readonly minor: 0 | 1;
  readonly headers: HeaderList;
  readonly framing: Framing;
  /** Length of the head, final CRLF included. */
  readonly bytes: number;
  /** Whether the sender keeps the connection open after this message. */
  readonly keepAlive: boolean;
  /** Lower-case Upgrade value, only where Connection names it. */
  readonly upgrade: string | undefined;
  /** True when a field must be removed or rewritten before the head may be forwarded. */
  readonly hopByHop: boolean;
}

export interface RequestHead extends MessageHead {
  readonly method: string;
  /** As sent: visible ASCII, not yet normalised. */
  readonly target: string;
  /** The one Host value; undefined is possible in HTTP/1.0 only. */
  readonly host: string | undefined;
  readonly expectContinue: boolean;
}

export interface ResponseHead extends MessageHead {
  readonly status: number;
  readonly reason: string;
}

export type HeadResult<T> =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'bad'; readonly reason: 'bad_request' | 'header_too_large'; readonly detail: string }
  | { readonly kind: 'head'; readonly head: T };

const INCOMPLETE = { kind: 'incomplete' } as const;
const NONE: Framing = { kind: 'none' };
const CHUNKED: Framing = { kind: 'chunked' };
const UNTIL_CLOSE: Framing = { kind: 'until_close' };
const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');
/** `HTTP/1.1`; the version is compared as text because nothing else is served. */
const VERSION_CHARS = 8;

/**
 * Reads the request head that starts at `start` of `input`. What follows the head is not looked at.
 * `bad` for anything that two readers could take differently; the size caps hold for a partial head too.
 */
export function parseRequestHead(input: Buffer, start: number, limits: HeadLimits): HeadResult<RequestHead> {
  const text = headText(input, start, limits);
  if (typeof text !== 'string') return text;

  let i = 0;
  while (TOKEN[text.charCodeAt(i)] === 1) i++;
  if (i === 0 || text.charCodeAt(i) !== SP) return bad('the request line does not start with a method and one space');
  const method = text.slice(0, i);
  const targetStart = ++i;
  while (VISIBLE[text.charCodeAt(i)] === 1) i++;
  if (i === targetStart || text.charCodeAt(i) !== SP) return bad(targetProblem(text, targetStart, i));
  const target = text.slice(targetStart, i);
  const minor = minorVersion(text, i + 1);
  if (minor === undefined) return bad('the request line does not end with one space and HTTP/1.1 or HTTP/1.0');
  const fieldsAt = i + 1 + VERSION_CHARS;
  if (text.charCodeAt(fieldsAt) !== CR || text.charCodeAt(fieldsAt + 1) !== LF)
    return bad('bytes after the HTTP version');

  const section = readFields(text, fieldsAt + 2, limits.maxHeaders);
  if (section.problem !== undefined) return refuseSection(section);
  const problem = requestProblem(section, minor, method);
  if (problem !== undefined) return bad(problem);
  return { kind: 'head', head: requestHead(method, target, minor, section, text.length) };
}

/**
 * Reads a response head to a request of `requestMethod` (anything but CONNECT).
 * 1xx, 204, 304 and answers to HEAD have no body (RFC 9112 section 6.3).
 */
export function parseResponseHead(
  input: Buffer,
  start: number,
  requestMethod: string,
  limits: HeadLimits,
): HeadResult<ResponseHead> {
  const text = headText(input, start, limits);
  if (typeof text !== 'string') return text;

  const minor = minorVersion(text, 0);
  if (minor === undefined || text.charCodeAt(VERSION_CHARS) !== SP)
    return bad('the status line does not start with HTTP/1.1 or HTTP/1.0');
  const status = statusCode(text, VERSION_CHARS + 1);
  if (status === undefined) return bad('the status code is not three digits');
  let i = VERSION_CHARS + 4;
  const lineEnd = text.indexOf('\r', i);
  // Some origins leave out the space before an absent reason; nothing else can be read into that.
  if (i !== lineEnd && text.charCodeAt(i++) !== SP) return bad('no space after the status code');
  const reason = text.slice(i, lineEnd);
  while (i < lineEnd) if (FIELD_VALUE[text.charCodeAt(i++)] !== 1) return bad('a control byte in the reason phrase');
  if (text.charCodeAt(lineEnd + 1) !== LF) return bad('bare CR in the status line');

  const section = readFields(text, lineEnd + 2, limits.maxHeaders);
  if (section.problem !== undefined) return refuseSection(section);
  const problem = responseProblem(section, minor, status);
  if (problem !== undefined) return bad(problem);
  return { kind: 'head', head: responseHead(status, reason, minor, section, text.length, requestMethod) };
}

/** The head's text, or the result where there is none yet. */
function headText(
  input: Buffer,
  start: number,
  limits: HeadLimits,
): string | Exclude<HeadResult<never>, { kind: 'head' }> {
  const found = input.indexOf(HEAD_END, start);
  if (found === -1) return partialHead(input, start, limits);
  const end = found + HEAD_END.length;
  if (end - start > limits.maxHeadBytes) return tooLarge(`a head of more than ${limits.maxHeadBytes} bytes`);
  return input.toString('latin1', start, end);
}

/** A head that is not complete: refused as soon as it can no longer become a good one. */
function partialHead(input: Buffer, start: number, limits: HeadLimits): Exclude<HeadResult<never>, { kind: 'head' }> {
  if (input.length - start > limits.maxHeadBytes) return tooLarge(`a head of more than ${limits.maxHeadBytes} bytes`);
  let lines = 0;
  for (let at = input.indexOf(LF, start); at !== -1; at = input.indexOf(LF, at + 1)) {
    // Without this a client that ends its lines with LF alone would only meet the head timeout.
    if (at === start || input[at - 1] !== CR) return bad('bare LF');
    if (++lines > limits.maxHeaders + 1) return tooLarge(`more than ${limits.maxHeaders} header fields`);
  }
  return INCOMPLETE;
}

function requestHead(method: string, target: string, minor: 0 | 1, section: FieldSection, bytes: number): RequestHead {
  const { connection } = section;
  return {
    method,
    target,
    minor,
    headers: section.headers,
    framing: section.chunked ? CHUNKED : section.length >= 0 ? { kind: 'length', bytes: section.length } : NONE,
    bytes,
    host: section.host,
    keepAlive: keepsAlive(section, minor),
    upgrade: connection?.includes('upgrade') ? section.upgrade?.toLowerCase() : undefined,
    expectContinue: minor === 1 && section.expect === '100-continue',
    hopByHop: section.hopByHop || mustRewriteConnection(section, minor),
  };
}

function responseHead(
  status: number,
  reason: string,
  minor: 0 | 1,
  section: FieldSection,
  bytes: number,
  requestMethod: string,
): ResponseHead {
  const framing = responseFraming(section, status, requestMethod);
  return {
    status,
    reason,
    minor,
    headers: section.headers,
    framing,
    bytes,
    keepAlive: framing.kind !== 'until_close' && keepsAlive(section, minor),
    upgrade: section.connection?.includes('upgrade') ? section.upgrade?.toLowerCase() : undefined,
    hopByHop: section.hopByHop || mustRewriteConnection(section, minor),
  };
}

function responseFraming(section: FieldSection, status: number, requestMethod: string): Framing {
  if (requestMethod === 'HEAD' || status < 200 || status === 204 || status === 304) return NONE;
  if (section.chunked) return CHUNKED;
  return section.length >= 0 ? { kind: 'length', bytes: section.length } : UNTIL_CLOSE;
}

/** RFC 9112 section 9.3. */
function keepsAlive(section: FieldSection, minor: 0 | 1): boolean {
  const { connection } = section;
  if (connection === undefined) return minor === 1;
  if (connection.includes('close')) return false;
  return minor === 1 || connection.includes('keep-alive');
}

/** `Connection: keep-alive` between HTTP/1.1 peers is what we would say ourselves, so it may stay. */
function mustRewriteConnection(section: FieldSection, minor: 0 | 1): boolean {
  const { connection } = section;
  return connection !== undefined && !(minor === 1 && connection.length === 1 && connection[0] === 'keep-alive');
}

function requestProblem(section: FieldSection, minor: 0 | 1, method: string): string | undefined {
  if (section.host === undefined && minor === 1) return 'no Host field';
  if (section.chunked && minor === 0) return 'Transfer-Encoding in HTTP/1.0';
  // What follows the head of a CONNECT is the tunnel; a body there has two readings (RFC 9110 section 9.3.6).
  if (method === 'CONNECT' && (section.chunked || section.length > 0)) return 'a body announced with CONNECT';
  if (section.connection === undefined) return undefined;
  for (const option of section.connection) {
    // Naming a field removes it at this hop: what rules saw would not be what the origin gets.
    if (KEPT_FIELDS.has(option)) return `Connection names the field ${option}`;
    if (!HOP_BY_HOP.has(option) && hasField(section.headers, option)) return `Connection names the field ${option}`;
  }
  return undefined;
}

function responseProblem(section: FieldSection, minor: 0 | 1, status: number): string | undefined {
  if (section.chunked && minor === 0) return 'Transfer-Encoding in HTTP/1.0';
  if ((status < 200 || status === 204) && (section.chunked || section.length > 0))
    return `a body announced with status ${status}`;
  // Transfer-Encoding is named by real origins; it is framing and stays (RFC 9112 section 6.1).
  if (section.connection?.includes('content-length')) return 'Connection names the field content-length';
  return undefined;
}

/** Fields that Connection must never name in a request, present or not (RFC 9110 section 7.6.1). */
const KEPT_FIELDS: ReadonlySet<string> = new Set([
  'authorization',
  'content-encoding',
  'content-length',
  'content-type',
  'cookie',
  'expect',
  'host',
  'transfer-encoding',
]);

function hasField(headers: HeaderList, lowerName: string): boolean {
  for (let i = 0; i < headers.length; i += 2) if ((headers[i] as string).toLowerCase() === lowerName) return true;
  return false;
}

function minorVersion(text: string, at: number): 0 | 1 | undefined {
  if (text.startsWith('HTTP/1.1', at)) return 1;
  return text.startsWith('HTTP/1.0', at) ? 0 : undefined;
}

function statusCode(text: string, at: number): number | undefined {
  let status = 0;
  for (let i = at; i < at + 3; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    status = status * 10 + digit;
  }
  return status >= 100 ? status : undefined;
}

function targetProblem(text: string, start: number, at: number): string {
  const code = text.charCodeAt(at);
  if (at === start) return 'no request target, or more than one space before it';
  if (code >= 0x80) return 'a raw non-ASCII byte in the request target';
  if (code === CR || code === LF) return 'no HTTP version in the request line';
  return 'a control byte in the request target';
}

function refuseSection(section: FieldSection): {
  kind: 'bad';
  reason: 'bad_request' | 'header_too_large';
  detail: string;
} {
  const detail = section.problem ?? '';
  return section.tooMany ? tooLarge(detail) : bad(detail);
}

function bad(detail: string): { kind: 'bad'; reason: 'bad_request'; detail: string } {
  return { kind: 'bad', reason: 'bad_request', detail };
}

function tooLarge(detail: string): { kind: 'bad'; reason: 'header_too_large'; detail: string } {
  return { kind: 'bad', reason: 'header_too_large', detail };
}
