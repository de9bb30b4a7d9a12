/**
 * The head of an HTTP/1.x message as it goes on to the other side. The bytes that came in where nothing has to
 * change; else written anew from what was parsed, so that there is only ever one reading of it (threats 8, 9).
 * Adds no Via and no X-Forwarded field: origins see the agent's request, less what belongs to one hop.
 */
import type { HeaderList } from '../domain/facts.ts';
import { HOP_BY_HOP } from './http1-fields.ts';
import type { Framing, RequestHead, ResponseHead } from './http1-head.ts';

export interface ForwardRequestOptions {
  /** Normalised origin-form, or `*`. */
  readonly target: string;
  /** Value of the Host field. */
  readonly host: string;
  /** Keep Upgrade, with `Connection: upgrade`. */
  readonly upgrade: boolean;
  readonly dropExpect: boolean;
  /** In place of the framing that came, after buffering. */
  readonly framing?: Framing;
}

export interface ForwardResponseOptions {
  /** Add `Connection: close`. */
  readonly close: boolean;
  /** Keep Upgrade, with `Connection: upgrade`. */
  readonly upgrade: boolean;
}

/**
 * The request head for the origin. `raw` is exactly the head's bytes and is returned itself when nothing changes.
 * Hop-by-hop fields go; TE stays where it asks for trailers. The version stays the agent's, so that an HTTP/1.0
 * agent is never sent the chunked coding that it cannot read.
 */
export function forwardRequestHead(raw: Buffer, head: RequestHead, options: ForwardRequestOptions): Buffer {
  const dropExpect = options.dropExpect && head.expectContinue;
  const asItCame = !head.hopByHop && !dropExpect && options.framing === undefined;
  if (asItCame && options.target === head.target && options.host === head.host) return raw;

  let text = `${head.method} ${options.target} HTTP/1.${head.minor}\r\n`;
  if (head.host === undefined) text += `Host: ${options.host}\r\n`;
  text += keptFields(head.headers, (name) => {
    if (name === 'host') return options.host;
    if (name === 'expect') return dropExpect ? DROP : KEEP;
    if (options.framing !== undefined && FRAMING_FIELDS.has(name)) return DROP;
    return HOP_BY_HOP.has(name) ? DROP : KEEP;
  });
  if (options.framing !== undefined) text += framingField(options.framing);
  text += connectionFields(asksForTrailers(head.headers) ? ['te'] : [], options.upgrade ? head.upgrade : undefined);
  return Buffer.from(`${text}\r\n`, 'latin1');
}

/**
 * The response head for the agent, always HTTP/1.1. `raw` is exactly the head's bytes and is returned itself
 * when nothing changes. For `until_close` framing the caller asks for `close` and ends the connection.
 */
export function forwardResponseHead(raw: Buffer, head: ResponseHead, options: ForwardResponseOptions): Buffer {
  if (!head.hopByHop && !options.close && !options.upgrade && head.minor === 1) return raw;

  const named = head.hopByHop ? fieldsNamedByConnection(head.headers) : NOTHING_NAMED;
  let text = `HTTP/1.1 ${head.status} ${head.reason}\r\n`;
  text += keptFields(head.headers, (name) => (HOP_BY_HOP.has(name) || named.has(name) ? DROP : KEEP));
  text += connectionFields(options.close ? ['close'] : [], options.upgrade ? head.upgrade : undefined);
  return Buffer.from(`${text}\r\n`, 'latin1');
}

/** Answers of a field choice: leave the field as it is, leave it out, or (any other text) give it this value. */
const KEEP = undefined;
const DROP = null;

const NOTHING_NAMED: ReadonlySet<string> = new Set();
/** What says how long the body is, or promises what a buffered body no longer has. */
const FRAMING_FIELDS: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding', 'trailer']);
/** RFC 9112 section 6.1: framing, never removed because Connection named it. */
const TRANSFER_ENCODING = 'transfer-encoding';

function keptFields(headers: HeaderList, choose: (lowerName: string) => string | undefined | null): string {
  let text = '';
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const chosen = choose(name.toLowerCase());
    if (chosen !== DROP) text += `${name}: ${chosen === KEEP ? headers[i + 1] : chosen}\r\n`;
  }
  return text;
}

function connectionFields(options: string[], upgrade: string | undefined): string {
  if (upgrade !== undefined) options.push('upgrade');
  let text = options.length > 0 ? `Connection: ${options.join(', ')}\r\n` : '';
  if (options.includes('te')) text += 'TE: trailers\r\n';
  if (upgrade !== undefined) text += `Upgrade: ${upgrade}\r\n`;
  return text;
}

function framingField(framing: Framing): string {
  switch (framing.kind) {
    case 'length':
      return `Content-Length: ${framing.bytes}\r\n`;
    case 'chunked':
      return 'Transfer-Encoding: chunked\r\n';
    case 'none':
    case 'until_close':
      return '';
  }
}

function asksForTrailers(headers: HeaderList): boolean {
  return valuesOf(headers, 'te').some((value) => value === 'trailers');
}

function fieldsNamedByConnection(headers: HeaderList): ReadonlySet<string> {
  const named = new Set(valuesOf(headers, 'connection'));
  named.delete(TRANSFER_ENCODING);
  return named;
}

/** Lower-case members of a comma list over all fields of the name. */
function valuesOf(headers: HeaderList, lowerName: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() !== lowerName) continue;
    for (const part of (headers[i + 1] as string).split(',')) values.push(part.trim().toLowerCase());
  }
  return values;
}
