/**
 * The tables of HPACK as a decoder needs them: the static one (RFC 7541 appendix A), and a dynamic one with its
 * eviction (section 4), found by index. An encoder finds by name and value: see hpack-index.
 */

/** Section 4.1: what an entry takes beside its name and value. */
export const ENTRY_OVERHEAD_BYTES = 32;

/** Name and value by index; index 0 is no entry. */
const STATIC_TEXT = `
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate`;
const STATIC_LINES = STATIC_TEXT.split('\n');

export const STATIC_NAMES: readonly string[] = STATIC_LINES.map((line) => line.split(' ', 1)[0] as string);
export const STATIC_VALUES: readonly string[] = STATIC_LINES.map((line) =>
  line.slice(line.indexOf(' ') + 1 || Infinity),
);
export const LAST_STATIC_INDEX = STATIC_LINES.length - 1;

/** Entries by age, newest first. A ring, so that nothing moves. */
export class DynamicTable {
  /** Entries that are there. */
  count = 0;
  /** Their size by section 4.1. */
  bytes = 0;
  /** Goes up with each change: what was found before it may stand elsewhere now. */
  changes = 0;
  #maxBytes: number;
  readonly #names: string[];
  readonly #values: string[];
  readonly #mask: number;
  /** Where the next entry goes. */
  #next = 0;

  /** `capBytes`: the most that resize will be given. */
  constructor(capBytes: number, maxBytes: number) {
    const slots = 2 ** Math.ceil(Math.log2(Math.floor(capBytes / ENTRY_OVERHEAD_BYTES) + 1));
    this.#mask = slots - 1;
    this.#names = new Array<string>(slots).fill('');
    this.#values = new Array<string>(slots).fill('');
    this.#maxBytes = maxBytes;
  }

  /** `age` from 0, the newest, to count - 1. */
  name(age: number): string {
    return this.#names[(this.#next - 1 - age) & this.#mask] as string;
  }

  value(age: number): string {
    return this.#values[(this.#next - 1 - age) & this.#mask] as string;
  }

  /** Section 4.4: an entry that is larger than the table empties it. */
  insert(name: string, value: string): void {
    const size = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.changes++;
    this.#evictTo(this.#maxBytes - size);
    if (size > this.#maxBytes) return;
    this.#names[this.#next] = name;
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) & this.#mask;
    this.count++;
    this.bytes += size;
  }

  resize(maxBytes: number): void {
    this.changes++;
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
  }

  #evictTo(bytes: number): void {
    while (this.count > 0 && this.bytes > bytes) {
      const oldest = (this.#next - this.count) & this.#mask;
      this.bytes -=
        (this.#names[oldest] as string).length + (this.#values[oldest] as string).length + ENTRY_OVERHEAD_BYTES;
      this.#names[oldest] = '';
      this.#values[oldest] = '';
      this.count--;
    }
  }
}
