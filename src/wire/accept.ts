/**
 * Which of the two forms that we answer in an agent asked for (RFC 9110 section 12.5.1). Only what is named counts:
 * a wildcard says that either will do, and the caller knows which fits then.
 */

export type Form = 'json' | 'text';

/** What lies behind is not read: no client names so many types. */
const MAX_ACCEPT_CHARS = 1_024;
/** `application/vnd.github+json` is JSON to whoever asks for it. */
const JSON_TYPE = /^application\/(?:[^;,\s]+\+)?json$/;
const TEXT_TYPE = /^text\/(?:plain|\*)$/;
const WEIGHT = /^q=([01](?:\.[0-9]{0,3})?)$/;

/** The form that an Accept value names, JSON where it wants both alike; undefined where it names neither. */
export function acceptedForm(accept: string | undefined): Form | undefined {
  if (accept === undefined) return undefined;
  let json = 0;
  let text = 0;
  for (const range of accept.slice(0, MAX_ACCEPT_CHARS).toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    if (JSON_TYPE.test(type)) json = Math.max(json, weightOf(parameters));
    else if (TEXT_TYPE.test(type)) text = Math.max(text, weightOf(parameters));
  }
  if (json === 0 && text === 0) return undefined;
  return json >= text ? 'json' : 'text';
}

function weightOf(parameters: readonly string[]): number {
  const weights = parameters.map((parameter) => WEIGHT.exec(parameter)?.[1]);
  return Number(weights.find((weight) => weight !== undefined) ?? 1);
}
