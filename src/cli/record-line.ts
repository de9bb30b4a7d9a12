/**
 * One audit record as one line for a terminal. What agents and origins chose (host, path, detail) is shown without
 * control characters, so that no record can move the cursor or change the title.
 */
import { styleText } from 'node:util';
import type { AuditRecord } from '../domain/record.ts';

type Verdict = AuditRecord['verdict'];

const COLOURS = { allow: 'green', block: 'red', failed: 'yellow' } as const satisfies Record<Verdict, string>;
const VERDICT_CHARS = 6;
const METHOD_CHARS = 7;
/** C0, DEL, C1, and what changes the direction of the text after it (Unicode TR9). */
const UNSAFE = /[\p{Cc}\p{Bidi_Control}]/gu;

/** `12:00:01 web-1 allow  POST    https://api.example.com/v1/messages  messages-only  200  12 ms`, without a line feed. */
export function recordLine(record: AuditRecord, colour: boolean): string {
  const verdict = record.verdict.padEnd(VERDICT_CHARS);
  return [
    record.started_at.slice('2026-01-01T'.length, '2026-01-01T00:00:00'.length),
    printable(record.agent === '' ? record.agent_ip : record.agent),
    colour ? styleText(colourOf(record), verdict, { validateStream: false }) : verdict,
    printable(record.method ?? '-').padEnd(METHOD_CHARS),
    printable(whereText(record)),
    ` ${printable(whyText(record))}`,
    ...(record.status === null ? [] : [` ${record.status}`]),
    ` ${Math.round(record.duration_ms)} ms`,
  ].join(' ');
}

function colourOf({ verdict, would_block }: AuditRecord): 'green' | 'red' | 'yellow' | 'magenta' {
  return would_block === null ? COLOURS[verdict] : 'magenta';
}

/** What was asked for, as a URL where there is a scheme. May hold control characters. */
export function whereText({ scheme, host, port, path }: AuditRecord): string {
  if (host === null) return '-';
  const named = host.includes(':') ? `[${host}]` : host;
  const usual = (scheme === 'https' && port === 443) || (scheme === 'http' && port === 80) || port === null;
  const authority = usual ? named : `${named}:${port}`;
  return scheme === null ? authority : `${scheme}://${authority}${path ?? ''}`;
}

function whyText({ rule, reason, detail, would_block }: AuditRecord): string {
  const cause = reason === 'rule' || reason === 'default' ? null : reason;
  const audit = would_block === null ? null : `WOULD BLOCK: ${would_block}`;
  const shownDetail = detail === null ? null : `(${detail})`;
  return [rule, cause, shownDetail, audit].filter((part) => part !== null).join(' ') || '-';
}

/** Without what moves a cursor or turns text around. */
export function printable(text: string): string {
  return text.replace(UNSAFE, '\ufffd');
}
