/**
 * Text from the wire as it may stand in a record, a header or a terminal: printable ASCII on one line (threats 5, 39).
 */

/**
 * Escapes whatever is not printable ASCII, and the backslash itself, as \xNN or \uNNNN.
 * At most `maxChars` characters of the input are shown; what is cut is marked by `...`.
 */
export function escapeForLog(text: string, maxChars: number): string {
  const shown = Math.min(text.length, maxChars);
  let out = '';
  for (let i = 0; i < shown; i++) out += escapeUnit(text.charCodeAt(i));
  return shown < text.length ? `${out}...` : out;
}

/** As escapeForLog, without what of a target or an authority may be secret: userinfo, query, fragment (threat 39). */
export function escapeTargetForLog(target: string, maxChars: number): string {
  const end = target.search(/[?#]/);
  const shown = end === -1 ? target : `${target.slice(0, end + 1)}[redacted]`;
  return escapeForLog(shown.replace(/^(https?:\/\/)?[^/]*@/i, '$1[redacted]@'), maxChars);
}

function escapeUnit(code: number): string {
  if (code === 0x5c) return '\\\\';
  if (code >= 0x20 && code < 0x7f) return String.fromCharCode(code);
  const hex = code.toString(16);
  return code < 0x100 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`;
}
