/**
 * The field section of an HTTP/1.x head, and what it says of framing and of the connection.
 * One walk over the text, strict by RFC 9112 section 5 and 6: refuses, never repairs (threats 9, 11).
 * Does not know whether the message is a request or a response: http1-head judges what is collected here.
 */
import { escapeForLog } from './escape.ts';
import { COLON, CR, FIELD_VALUE, HTAB, LF, SP, TOKEN } from './octets.ts';

/** Enough of a field name to find it in the client's code. */
const MAX_SHOWN_CHARS = 40;
/** RFC 9110 section 8.6 sets no limit; above 2^53-1 a number is no longer exact. 16 digits hold it. */
const MAX_LENGTH_DIGITS = 16;

/** What one field section says. Filled by readFields; `problem` set means: refuse, the rest is partial. */
export class FieldSection {
  /** Flat name, value, as received, values without outer white space. */
  readonly headers: string[] = [];
  problem: string | undefined = undefined;
  /** More fields than allowed; `problem` is set too. */
  tooMany = false;
  host: string | undefined = undefined;
  /** Content-Length, -1 when there is none. */
  length = -1;
  chunked = false;
  expect: string | undefined = undefined;
  /** Value of Upgrade, several joined by a comma. */
  upgrade: string | undefined = undefined;
  /** Lower-case options of all Connection fields; undefined when there is none. */
  connection: string[] | undefined = undefined;
  /** Some field must go before the head is forwarded (RFC 9110 section 7.6.1). */
  hopByHop = false;
}

/**
 * Reads the fields in `text` from index `at` to the empty line that ends `text`.
 * `text` must end with CRLF CRLF (or, without fields, `at` points at the final CRLF).
 */
export function readFields(text: string, at: number, maxHeaders: number): FieldSection {
  const section = new FieldSection();
  const headers = section.headers;
  const end = text.length - 2;
  let i = at;
  let count = 0;
  while (i < end) {
    const nameStart = i;
    while (TOKEN[text.charCodeAt(i)] === 1) i++;
    if (text.charCodeAt(i) !== COLON || i === nameStart) return refuseName(section, text, nameStart, i);
    const nameEnd = i++;
    let code = text.charCodeAt(i);
    while (code === SP || code === HTAB) code = text.charCodeAt(++i);
    const valueStart = i;
    while (FIELD_VALUE[code] === 1) code = text.charCodeAt(++i);
    if (code !== CR || text.charCodeAt(i + 1) !== LF) return refuseValue(section, text.slice(nameStart, nameEnd), code);
    const valueEnd = trimmedEnd(text, valueStart, i);
    i += 2;
    if (++count > maxHeaders) {
      section.tooMany = true;
      section.problem = `more than ${maxHeaders} header fields`;
      return section;
    }
    const name = text.slice(nameStart, nameEnd);
    const value = text.slice(valueStart, valueEnd);
    headers.push(name, value);
    if (mayBeNoted(name)) {
      noteField(section, name.toLowerCase(), value);
      // Legal, and yet llhttp does not see chunked before a TAB: what frames or routes must have one reading.
      if (text.slice(nameEnd, i).includes('\t')) section.problem ??= `a TAB in field ${name}`;
      if (section.problem !== undefined) return section;
    }
  }
  return section;
}

function noteField(section: FieldSection, name: string, value: string): void {
  switch (name) {
    case 'host':
      if (section.host !== undefined) section.problem = 'more than one Host field';
      section.host = value;
      return;
    case 'content-length':
      noteLength(section, value);
      return;
    case 'transfer-encoding':
      noteTransferEncoding(section, value);
      return;
    case 'content_length':
    case 'transfer_encoding':
      // CGI and WSGI know both spellings by one name, and may take this one for the framing.
      section.problem = `the field ${name}`;
      return;
    case 'connection':
      noteConnection(section, value);
      return;
    case 'expect':
      section.expect = value.toLowerCase();
      return;
    case 'upgrade':
      section.upgrade = section.upgrade === undefined ? value : `${section.upgrade}, ${value}`;
      section.hopByHop = true;
      return;
    default:
      if (HOP_BY_HOP.has(name)) section.hopByHop = true;
  }
}

/** Fields that end at this hop (RFC 9110 sections 7.6.1 and 11.7; RFC 7540 section 3.2.1). Connection is one too. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'upgrade',
]);

/**
 * By the code of a name's first letter, one bit for each length (all below 32) that a name noted here has.
 * Spares nearly all other fields the cost of being lower-cased and compared.
 */
const NOTED_LENGTHS = new Int32Array(256);
for (const name of [...HOP_BY_HOP, 'host', 'content-length', 'transfer-encoding', 'expect']) {
  const letter = name.charCodeAt(0);
  for (const code of [letter, letter - 0x20])
    NOTED_LENGTHS[code] = (NOTED_LENGTHS[code] as number) | (1 << name.length);
}

function mayBeNoted(name: string): boolean {
  return name.length < 32 && ((NOTED_LENGTHS[name.charCodeAt(0)] as number) & (1 << name.length)) !== 0;
}

/** RFC 9112 section 6.3 lets a recipient merge equal lengths; one in, one out is simpler to be right about. */
function noteLength(section: FieldSection, value: string): void {
  if (section.length >= 0) section.problem = 'more than one Content-Length field';
  else if (section.chunked) section.problem = BOTH_FRAMINGS;
  else {
    section.length = parseLength(value);
    if (section.length < 0)
      section.problem = `Content-Length is not a plain number: ${escapeForLog(value, MAX_SHOWN_CHARS)}`;
  }
}

const BOTH_FRAMINGS = 'both Content-Length and Transfer-Encoding';

/** Decimal digits without leading zero, at most 2^53-1; -1 for anything else. */
export function parseLength(value: string): number {
  const digits = value.length;
  if (digits === 0 || digits > MAX_LENGTH_DIGITS || (digits > 1 && value.charCodeAt(0) === 0x30)) return -1;
  let bytes = 0;
  for (let i = 0; i < digits; i++) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    bytes = bytes * 10 + digit;
  }
  return bytes <= Number.MAX_SAFE_INTEGER ? bytes : -1;
}

function noteTransferEncoding(section: FieldSection, value: string): void {
  if (section.chunked) section.problem = 'more than one Transfer-Encoding field';
  else if (section.length >= 0) section.problem = BOTH_FRAMINGS;
  else if (value.toLowerCase() !== 'chunked') {
    section.problem = `Transfer-Encoding other than chunked: ${escapeForLog(value, MAX_SHOWN_CHARS)}`;
  } else section.chunked = true;
}

function noteConnection(section: FieldSection, value: string): void {
  const options = section.connection ?? [];
  section.connection = options;
  if (value === 'keep-alive') {
    options.push(value);
    return;
  }
  for (const part of value.split(',')) {
    const option = trimWhite(part).toLowerCase();
    if (option.length === 0) continue;
    for (let i = 0; i < option.length; i++) {
      if (TOKEN[option.charCodeAt(i)] !== 1) {
        section.problem = `Connection is not a list of tokens: ${escapeForLog(value, MAX_SHOWN_CHARS)}`;
        return;
      }
    }
    options.push(option);
  }
}

function trimmedEnd(text: string, start: number, end: number): number {
  let last = end;
  while (last > start && (text.charCodeAt(last - 1) === SP || text.charCodeAt(last - 1) === HTAB)) last--;
  return last;
}

/** String.trim would also take NBSP and others that HTTP does not count as white space. */
function trimWhite(text: string): string {
  let start = 0;
  while (start < text.length && (text.charCodeAt(start) === SP || text.charCodeAt(start) === HTAB)) start++;
  return text.slice(start, trimmedEnd(text, start, text.length));
}

function refuseName(section: FieldSection, text: string, start: number, at: number): FieldSection {
  const code = text.charCodeAt(at);
  const name = escapeForLog(text.slice(start, at), MAX_SHOWN_CHARS);
  if (at === start && (code === SP || code === HTAB)) section.problem = 'obsolete line folding';
  else if (at === start && code === COLON) section.problem = 'a field without a name';
  else if (code === SP || code === HTAB) section.problem = `white space before the colon of field ${name}`;
  else if (code === CR || code === LF) section.problem = `a line without a colon, or a bare CR or LF: ${name}`;
  else section.problem = `a character that no field name may hold after "${name}": ${octetName(code)}`;
  return section;
}

function refuseValue(section: FieldSection, name: string, code: number): FieldSection {
  const field = escapeForLog(name, MAX_SHOWN_CHARS);
  if (code === CR) section.problem = `bare CR in field ${field}`;
  else if (code === LF) section.problem = `bare LF in field ${field}`;
  else section.problem = `control byte ${octetName(code)} in field ${field}`;
  return section;
}

function octetName(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`;
}
