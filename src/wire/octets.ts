/**
 * Octet classes of HTTP grammar as 256-entry tables, so that a parser can walk a head without a regex.
 * Indexed by charCodeAt of latin1 text or by byte. Holds no parsing itself.
 */

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const COLON = 0x3a;

/** RFC 9110 section 5.6.2: tchar. */
export const TOKEN = table((code) => {
  const isAlnum = (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
  return isAlnum || (code < 0x80 && "!#$%&'*+-.^_`|~".includes(String.fromCharCode(code)));
});

/** RFC 9110 section 5.5: what a field value may hold: HTAB, SP, VCHAR and obs-text. */
export const FIELD_VALUE = table((code) => code === HTAB || (code >= SP && code !== 0x7f));

/** Visible US-ASCII: all that a request target may hold. */
export const VISIBLE = table((code) => code > SP && code < 0x7f);

/** True for a non-empty token of RFC 9110. */
export function isToken(text: string): boolean {
  return text.length > 0 && everyOctet(text, TOKEN);
}

/** True where each UTF-16 unit is below 0x100 and in the class. */
export function everyOctet(text: string, octets: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (octets[text.charCodeAt(i)] !== 1) return false;
  return true;
}

/** Value of one hex digit by its code, -1 for anything else. */
export function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function table(accepts: (code: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, code) => (accepts(code) ? 1 : 0));
}
