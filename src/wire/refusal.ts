/**
 * The answer that an agent sees when policy blocks it or a flow fails, the same for HTTP/1.1 and HTTP/2.
 * Says why in one header and one line of text, or in JSON for who asks for it. Status and words come from the
 * verdict and the failure table alone; nothing that the agent sent is ever echoed (threat 5).
 */
import type { HeaderList } from '../domain/facts.ts';
import { FAILURES, type FailureReason } from '../domain/failure.ts';
import type { Block } from '../domain/verdict.ts';
import { acceptedForm } from './accept.ts';
import { escapeForLog } from './escape.ts';

export interface Refusal {
  readonly status: number;
  /** Flat name, value; Content-Length is always among them, Connection never. */
  readonly headers: HeaderList;
  readonly body: Buffer;
}

const BLOCK_STATUS = 403;
/** One line of text stays one line: a rule's reason is cut here. */
const MAX_REASON_CHARS = 1024;
/** Rule ids have at most 128 characters (policy). */
const MAX_RULE_CHARS = 128;

/** 403 with the rule's id, or `default` where no rule matched. `accept` is the request's Accept value. */
export function blockRefusal(block: Block, accept: string | undefined): Refusal {
  const rule = escapeForLog(block.ruleId, MAX_RULE_CHARS);
  const body = wantsJson(accept)
    ? json({ error: 'blocked', reason: escapeForLog(block.reason, MAX_REASON_CHARS), rule })
    : plain(blockText(block.reason));
  return { status: BLOCK_STATUS, headers: [...body.headers, 'X-Outcall-Block-Reason', rule], body: body.bytes };
}

/** The status and text of the failure table. `accept` is the request's Accept value. */
export function failureRefusal(reason: FailureReason, accept: string | undefined): Refusal {
  const { status, text } = FAILURES[reason];
  const body = wantsJson(accept) ? json({ error: 'failed', reason, text }) : plain(failureText(reason));
  return { status, headers: [...body.headers, 'X-Outcall-Failure-Reason', reason], body: body.bytes };
}

/** What an agent reads of a block, wherever it reads it: in HTTP, or in the extended error of a DNS answer. */
export function blockText(reason: string): string {
  return `Blocked by outcall: ${escapeForLog(reason, MAX_REASON_CHARS)}`;
}

/** As blockText, of a failure. */
export function failureText(reason: FailureReason): string {
  return `Outcall could not complete the request: ${FAILURES[reason].text}`;
}

/** The refusal as an HTTP/1.1 message. `head`: the request was HEAD, so the body is announced and not sent. */
export function refusalBytes(refusal: Refusal, options: { readonly head: boolean; readonly close: boolean }): Buffer {
  let text = `HTTP/1.1 ${refusal.status} ${REASON_PHRASES[refusal.status] ?? ''}\r\n`;
  for (let i = 0; i < refusal.headers.length; i += 2) text += `${refusal.headers[i]}: ${refusal.headers[i + 1]}\r\n`;
  if (options.close) text += 'Connection: close\r\n';
  const head = Buffer.from(`${text}\r\n`, 'latin1');
  return options.head ? head : Buffer.concat([head, refusal.body]);
}

/** RFC 9110 section 15, for the statuses that the failure table holds. */
const REASON_PHRASES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  421: 'Misdirected Request',
  431: 'Request Header Fields Too Large',
  499: 'Client Closed Request',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

interface Body {
  readonly headers: HeaderList;
  readonly bytes: Buffer;
}

function plain(text: string): Body {
  return body(text, 'text/plain; charset=utf-8');
}

function json(value: Readonly<Record<string, string>>): Body {
  return body(JSON.stringify(value), 'application/json');
}

function body(text: string, contentType: string): Body {
  const bytes = Buffer.from(text, 'utf8');
  return { headers: ['Content-Type', contentType, 'Content-Length', String(bytes.length)], bytes };
}

/** Wildcards keep the text, which is what a person with curl wants to read. */
function wantsJson(accept: string | undefined): boolean {
  return acceptedForm(accept) === 'json';
}
