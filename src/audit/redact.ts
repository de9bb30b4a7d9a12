/**
 * What of a request target may stand in a record: the path, and the names of the query's parameters.
 * Values are secrets until the operator says otherwise (threats row 39; design.md decision 10).
 * Does not touch path segments: rules are written on them, so the operator must see them.
 */

import { CUT, REDACTED } from '../domain/record.ts';

/** Longest path in a record; a head may be 64 KiB, and one agent must not fill the log with it. */
const MAX_PATH_CHARS = 2048;

/**
 * `/a?token=x&b=1` becomes `/a?token=[redacted]&b=[redacted]`; a parameter without `=` is all value, and so
 * redacted whole. `keepValues` is the operator's opt-in. Longer than 2,048 characters is cut and says so.
 */
export function redactPath(target: string, options: { readonly keepValues?: boolean } = {}): string {
  const query = target.indexOf('?');
  const shown = query === -1 || options.keepValues === true ? target : redactQuery(target, query + 1);
  return shown.length <= MAX_PATH_CHARS ? shown : shown.slice(0, MAX_PATH_CHARS - CUT.length) + CUT;
}

function redactQuery(target: string, start: number): string {
  let out = target.slice(0, start);
  for (let from = start; from <= target.length && out.length <= MAX_PATH_CHARS; ) {
    const ampersand = target.indexOf('&', from);
    const to = ampersand === -1 ? target.length : ampersand;
    out += redactParameter(target.slice(from, to));
    if (ampersand !== -1) out += '&';
    from = to + 1;
  }
  return out;
}

function redactParameter(parameter: string): string {
  const equals = parameter.indexOf('=');
  if (equals === -1) return parameter === '' ? '' : REDACTED;
  const hasValue = equals < parameter.length - 1;
  return hasValue ? parameter.slice(0, equals + 1) + REDACTED : parameter;
}
