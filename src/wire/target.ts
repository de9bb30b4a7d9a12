/**
 * A request target in the one spelling that is both evaluated and forwarded (threat 8).
 * What servers read in different ways is refused: dot segments and backslashes in any encoding, control bytes,
 * non-ASCII, malformed escapes. `%2F`, `//` and `;` are kept: registries and GitLab need them.
 * Resolves nothing: a dot segment is an error here, not an instruction.
 */
import type { Parsed } from './authority.ts';
import { escapeTargetForLog } from './escape.ts';
import { hexDigit } from './octets.ts';

/** Enough to recognise what was sent. */
const MAX_SHOWN_CHARS = 128;
/** Servers behind servers decode twice at most; what goes on changing after this many rounds hides something. */
const MAX_DECODE_ROUNDS = 3;

const PERCENT = 0x25;
const DOT = 0x2e;
const SLASH = 0x2f;

/**
 * Normalises an origin-form target (`/path?query`): unreserved escapes are decoded and the hex digits of the
 * others upper-cased (RFC 3986 section 6.2.2), in path and query. Returns the input itself where nothing changes.
 * `*` is refused here: it is for OPTIONS, and the caller's to allow.
 */
export function normaliseTarget(target: string): Parsed<string> {
  if (target.charCodeAt(0) !== SLASH) return refused('not origin-form', target);
  let escaped = false;
  let inPath = true;
  for (let i = 1; i < target.length; i++) {
    const code = target.charCodeAt(i);
    switch (code) {
      case PERCENT:
        escaped = true;
        break;
      case 0x3f: // ?
        inPath = false;
        break;
      case DOT:
        if (inPath && target.charCodeAt(i - 1) === SLASH && isDotSegment(target, i))
          return refused('a dot segment', target);
        break;
      case 0x5c:
        if (inPath) return refused('a backslash', target);
        break;
      case 0x23:
        return refused('a fragment', target);
      default:
        if (code <= 0x20 || code === 0x7f) return refused('a control byte', target);
        if (code > 0x7e) return refused('a raw non-ASCII character', target);
    }
  }
  return escaped ? normaliseEscaped(target) : { ok: true, value: target };
}

/** The dot at `at` starts a segment: is the segment `.` or `..`, with or without `;parameters`? */
function isDotSegment(text: string, at: number): boolean {
  const next = text.charCodeAt(at + 1) === DOT ? at + 2 : at + 1;
  // charCodeAt past the end is NaN. Some servers drop `;parameters` first and so see `..;x` as `..`.
  return next >= text.length || '/?;\\'.includes(text.charAt(next));
}

function normaliseEscaped(target: string): Parsed<string> {
  const value = normaliseEscapes(target);
  if (value === undefined) return refused('a malformed percent-encoding', target);
  const query = value.indexOf('?');
  const problem = pathProblem(query === -1 ? value : value.slice(0, query));
  return problem === undefined ? { ok: true, value: value === target ? target : value } : refused(problem, target);
}

/** undefined where a percent sign is not followed by two hex digits. */
function normaliseEscapes(target: string): string | undefined {
  let out = '';
  let copied = 0;
  for (let at = target.indexOf('%'); at !== -1; at = target.indexOf('%', at + 3)) {
    const octet = octetAt(target, at);
    if (octet === -1) return undefined;
    out +=
      target.slice(copied, at) +
      (isUnreserved(octet) ? String.fromCharCode(octet) : target.slice(at, at + 3).toUpperCase());
    copied = at + 3;
  }
  return out + target.slice(copied);
}

/** What a server that decodes once, twice or thrice would find in this path. */
function pathProblem(path: string): string | undefined {
  let octets = decodeOnce(path);
  if (/[\x00-\x1f\x7f]/.test(octets)) return 'an encoded control byte';
  if (octets.includes('\\')) return 'an encoded backslash';
  if (OVERLONG_UTF8.test(octets)) return 'an overlong UTF-8 encoding';
  for (let round = 1; ; round++) {
    if (hasDotSegment(octets)) return 'an encoded dot segment';
    const deeper = decodeOnce(octets);
    if (deeper === octets) return undefined;
    if (round === MAX_DECODE_ROUNDS) return 'a path percent-encoded too many times';
    octets = deeper;
  }
}

/** Two, three or four bytes for what needs fewer: `%c0%ae` is a dot to a careless decoder (RFC 3629 section 10). */
const OVERLONG_UTF8 = /[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]/;

function hasDotSegment(octets: string): boolean {
  for (let at = octets.indexOf('.'); at !== -1; at = octets.indexOf('.', at + 1)) {
    const before = octets.charAt(at - 1);
    if ((before === '/' || before === '\\') && isDotSegment(octets, at)) return true;
  }
  return false;
}

/** Decodes each well-formed escape to one latin1 character. */
function decodeOnce(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function octetAt(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at + 1));
  const low = hexDigit(text.charCodeAt(at + 2));
  return high === -1 || low === -1 ? -1 : high * 16 + low;
}

/** RFC 3986 section 2.3. */
function isUnreserved(octet: number): boolean {
  const letter = octet | 0x20;
  if (letter >= 0x61 && letter <= 0x7a) return true;
  if (octet >= 0x30 && octet <= 0x39) return true;
  return octet === 0x2d || octet === DOT || octet === 0x5f || octet === 0x7e;
}

function refused(rule: string, target: string): { ok: false; detail: string } {
  return { ok: false, detail: `${rule} in the request target: ${escapeTargetForLog(target, MAX_SHOWN_CHARS)}` };
}
