/**
 * Header lists to header blocks of HPACK (RFC 7541), one encoder for one direction of one connection. Strings go as they
 * are, without the Huffman code: most fields of a connection are sent once and are an octet or two from then on. What came
 * as "never indexed" goes on so (section 7.1.3). Judges no names and values. Never throws, given the room it asks for.
 */
import type { HeaderList } from '../domain/facts.ts';
import { HpackIndex } from './hpack-index.ts';

/** The initial size of the peer's table (RFC 9113 section 6.5.2), and as much as we ever use of it. */
const MAX_TABLE_BYTES = 4_096;
/** An integer of 31 bits after any prefix (section 5.1). */
const MAX_INTEGER_OCTETS = 6;
/** Two at most in one block (section 4.2). */
const MAX_TABLE_SIZE_OCTETS = 2 * MAX_INTEGER_OCTETS;
/** Beside name and value: the first octet with an index, and two lengths. */
const MAX_FIELD_OCTETS = 3 * MAX_INTEGER_OCTETS;
/** Above it, a call into the runtime is faster than a loop. */
const MAX_LOOPED_CHARS = 20;
/** Of a block that is kept to be sent again. */
const MAX_KEPT_OCTETS = 256;

/** Their values are of one message, or of a few: they would only drive out others. */
const ONCE_ONLY: ReadonlySet<string> = new Set([
  'age',
  'content-length',
  'content-range',
  'date',
  'etag',
  'if-modified-since',
  'if-none-match',
  'last-modified',
  'location',
  'range',
  'set-cookie',
]);

/** What the first bits of a field's first octet say (section 6), and the prefix that they leave for an integer. */
const INDEXED = 0x80;
const INDEXED_MASK = 0x7f;
const INDEXING = 0x40;
const INDEXING_MASK = 0x3f;
const TABLE_SIZE = 0x20;
const TABLE_SIZE_MASK = 0x1f;
const NEVER_INDEXED = 0x10;
const LITERAL_MASK = 0x0f;
const LENGTH_MASK = 0x7f;

/** More octets than a block of this list can have. */
export function worstCaseBytes(list: HeaderList): number {
  let bytes = MAX_TABLE_SIZE_OCTETS + (list.length / 2) * MAX_FIELD_OCTETS;
  for (let i = 0; i < list.length; i++) bytes += (list[i] as string).length;
  return bytes;
}

export class HpackEncoder {
  readonly #index = new HpackIndex(MAX_TABLE_BYTES);
  #tableBytes = MAX_TABLE_BYTES;
  /** The smallest size of the table since the last block; -1 where it has not changed. */
  #leastTableBytes = -1;
  #out: Buffer = Buffer.alloc(0);
  #at = 0;
  /** A list whose block changed no table, that block, and the table's changes when it did. */
  #keptList: HeaderList | undefined;
  #keptNever: ReadonlySet<string> | undefined;
  readonly #keptOctets = Buffer.alloc(MAX_KEPT_OCTETS);
  #keptLength = 0;
  #keptAtChange = 0;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. The next block says what we use of it (section 4.2). */
  limitTable(bytes: number): void {
    const tableBytes = Math.min(bytes, MAX_TABLE_BYTES);
    if (tableBytes === this.#tableBytes) return;
    this.#tableBytes = tableBytes;
    this.#leastTableBytes = this.#leastTableBytes < 0 ? tableBytes : Math.min(this.#leastTableBytes, tableBytes);
    this.#index.resize(tableBytes);
  }

  /**
   * Writes the block of `list` into `out` at `at`, and gives its end. There is room for worstCaseBytes; each char is an
   * octet; a list that was given once is not changed any more, since its block may be kept. `neverIndexed`: names.
   */
  encode(list: HeaderList, neverIndexed: ReadonlySet<string> | undefined, out: Buffer, at: number): number {
    if (list === this.#keptList && this.#keptAtChange === this.#index.changes && neverIndexed === this.#keptNever) {
      this.#keptOctets.copy(out, at, 0, this.#keptLength);
      return at + this.#keptLength;
    }
    const { changes } = this.#index;
    this.#out = out;
    this.#at = at;
    const resized = this.#leastTableBytes >= 0;
    if (resized) this.#writeTableSizes();
    for (let i = 0; i < list.length; i += 2) {
      const name = list[i] as string;
      this.#writeField(name, list[i + 1] as string, neverIndexed?.has(name) === true);
    }
    if (!resized && this.#index.changes === changes) this.#keep(list, neverIndexed, at);
    return this.#at;
  }

  #keep(list: HeaderList, neverIndexed: ReadonlySet<string> | undefined, start: number): void {
    const length = this.#at - start;
    if (length > MAX_KEPT_OCTETS) return;
    this.#out.copy(this.#keptOctets, 0, start, this.#at);
    this.#keptLength = length;
    this.#keptList = list;
    this.#keptNever = neverIndexed;
    this.#keptAtChange = this.#index.changes;
  }

  #writeTableSizes(): void {
    if (this.#leastTableBytes < this.#tableBytes)
      this.#writeInteger(TABLE_SIZE, TABLE_SIZE_MASK, this.#leastTableBytes);
    this.#writeInteger(TABLE_SIZE, TABLE_SIZE_MASK, this.#tableBytes);
    this.#leastTableBytes = -1;
  }

  #writeField(name: string, value: string, never: boolean): void {
    const index = this.#index.find(name, value);
    if (never) this.#writeLiteral(NEVER_INDEXED, LITERAL_MASK, Math.abs(index), name, value);
    else if (index > 0) this.#writeInteger(INDEXED, INDEXED_MASK, index);
    else if (mayComeAgain(name, value) && this.#index.isWorth(name, value)) {
      this.#writeLiteral(INDEXING, INDEXING_MASK, -index, name, value);
      this.#index.insert(name, value);
    } else this.#writeLiteral(0, LITERAL_MASK, -index, name, value);
  }

  #writeLiteral(kind: number, mask: number, nameIndex: number, name: string, value: string): void {
    this.#writeInteger(kind, mask, nameIndex);
    if (nameIndex === 0) this.#writeText(name);
    this.#writeText(value);
  }

  /** Section 5.1. */
  #writeInteger(kind: number, mask: number, value: number): void {
    const out = this.#out;
    if (value < mask) {
      out[this.#at++] = kind | value;
      return;
    }
    out[this.#at++] = kind | mask;
    let rest = value - mask;
    for (; rest >= 0x80; rest >>>= 7) out[this.#at++] = (rest & 0x7f) | 0x80;
    out[this.#at++] = rest;
  }

  /** Section 5.2, one octet for each char. */
  #writeText(text: string): void {
    this.#writeInteger(0, LENGTH_MASK, text.length);
    const out = this.#out;
    if (text.length > MAX_LOOPED_CHARS) {
      this.#at += out.write(text, this.#at, 'latin1');
      return;
    }
    for (let i = 0; i < text.length; i++) out[this.#at++] = text.charCodeAt(i);
  }
}

function mayComeAgain(name: string, value: string): boolean {
  return !ONCE_ONLY.has(name) && (name !== ':path' || !value.includes('?'));
}
