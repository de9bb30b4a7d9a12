/**
 * Header blocks of HPACK to header lists (RFC 7541), one decoder for one direction of one connection. Never throws, repairs
 * nothing, and does not judge names and values: wire/http2-headers does. Work and memory are bounded by the block's octets
 * and the limits, so that a small block that unfolds (an HPACK bomb) costs little (threats 10, 37).
 */
import type { HeaderList } from '../domain/facts.ts';
import { HpackReader } from './hpack-reader.ts';
import { DynamicTable, ENTRY_OVERHEAD_BYTES, LAST_STATIC_INDEX, STATIC_NAMES, STATIC_VALUES } from './hpack-table.ts';

export type DecodedBlock =
  | {
      readonly kind: 'fields';
      readonly list: HeaderList;
      /** Names whose field came as "never indexed" (section 6.2.3), and must go on so. */
      readonly neverIndexed: ReadonlySet<string> | undefined;
    }
  /** Over a limit on lists. It was decoded to its end, so the connection may go on. */
  | { readonly kind: 'too_large' }
  /** COMPRESSION_ERROR: the connection must end, and nothing more may be decoded. */
  | { readonly kind: 'broken'; readonly detail: string };

export interface HpackLimits {
  /** The SETTINGS_HEADER_TABLE_SIZE that we announce; below 4,096 the peer may still use those until it has read it. */
  readonly maxTableBytes: number;
  /** Of a list, by the count of section 4.1: 32 for each field beside its name and value. */
  readonly maxListBytes: number;
  readonly maxFields: number;
}

/** RFC 9113 section 6.5.2: until a peer is told otherwise. */
const INITIAL_TABLE_BYTES = 4_096;
/** A list that grows to this many times what is allowed was made to; 16 KiB of 1-octet indices reach it. */
const MAX_LISTS_OF_ONE_BLOCK = 16;
/** Longer blocks hold what will hardly come again as it is. */
const MAX_KEPT_OCTETS = 256;

/** What the first bits of a field's first octet say (section 6). Below NEVER_INDEXED: a literal without indexing. */
const INDEXED = 0x80;
const INDEXING = 0x40;
const TABLE_SIZE = 0x20;
const NEVER_INDEXED = 0x10;

export class HpackDecoder {
  readonly #limits: HpackLimits;
  readonly #table: DynamicTable;
  readonly #reader = new HpackReader();
  #list: string[] = [];
  #listBytes = 0;
  #tooLarge = false;
  #neverIndexed: Set<string> | undefined;
  /** Names and values that this block has put into the table. */
  #inserted: string[] = [];
  /** What this block means depends on what was in the table, or it has made that smaller. */
  #usesTable = false;
  /** A block, what it meant, and the table's changes when it did; -1 where it means the same over any table. */
  readonly #keptOctets = Buffer.alloc(MAX_KEPT_OCTETS);
  #keptLength = -1;
  #keptBlock: DecodedBlock | undefined;
  #keptInserted: readonly string[] = [];
  #keptAtChange = 0;

  constructor(limits: HpackLimits) {
    this.#limits = limits;
    const capBytes = Math.max(limits.maxTableBytes, INITIAL_TABLE_BYTES);
    this.#table = new DynamicTable(capBytes, Math.min(limits.maxTableBytes, INITIAL_TABLE_BYTES));
  }

  /**
   * One whole block, its CONTINUATION frames included: the octets from `start` to `end`. Of the same octets as the block
   * before, where they mean the same, it gives the same object: who has checked that list need not do so again.
   */
  decode(block: Buffer, start = 0, end = block.length): DecodedBlock {
    if (this.#isKept(block, start, end)) {
      const inserted = this.#keptInserted;
      for (let i = 0; i < inserted.length; i += 2) this.#table.insert(inserted[i] as string, inserted[i + 1] as string);
      return this.#keptBlock as DecodedBlock;
    }
    const changes = this.#table.changes;
    const decoded = this.#decode(block, start, end);
    if (!this.#usesTable || this.#table.changes === changes) this.#keep(block, start, end, decoded);
    return decoded;
  }

  #isKept(block: Buffer, start: number, end: number): boolean {
    const length = end - start;
    if (length !== this.#keptLength) return false;
    if (this.#keptAtChange >= 0 && this.#keptAtChange !== this.#table.changes) return false;
    const kept = this.#keptOctets;
    for (let i = 0; i < length; i++) if (kept[i] !== block[start + i]) return false;
    return true;
  }

  #keep(block: Buffer, start: number, end: number, decoded: DecodedBlock): void {
    if (end - start > MAX_KEPT_OCTETS || decoded.kind !== 'fields') return;
    block.copy(this.#keptOctets, 0, start, end);
    this.#keptLength = end - start;
    this.#keptBlock = decoded;
    this.#keptInserted = this.#inserted;
    this.#keptAtChange = this.#usesTable ? this.#table.changes : -1;
  }

  #decode(block: Buffer, start: number, end: number): DecodedBlock {
    this.#list = [];
    this.#listBytes = 0;
    this.#tooLarge = false;
    this.#neverIndexed = undefined;
    this.#inserted = [];
    this.#usesTable = false;
    this.#reader.open(block, start, end);
    const detail = this.#readFields();
    this.#reader.close();
    if (detail !== undefined) return { kind: 'broken', detail };
    if (this.#tooLarge) return { kind: 'too_large' };
    return { kind: 'fields', list: this.#list, neverIndexed: this.#neverIndexed };
  }

  /** Reads to the end of the block; gives what is broken in it. */
  #readFields(): string | undefined {
    const reader = this.#reader;
    const maxBytes = this.#limits.maxListBytes * MAX_LISTS_OF_ONE_BLOCK;
    let problem: string | undefined;
    // Section 4.2: changes of the table's size come before the first field.
    while (problem === undefined && reader.at < reader.end && isTableSize(reader.peek()))
      problem = this.#readTableSize();
    while (problem === undefined && reader.at < reader.end) {
      const octet = reader.peek();
      if (octet >= INDEXED) problem = this.#readIndexed();
      else if (isTableSize(octet)) problem = 'a table size after a field';
      else problem = this.#readLiteral(octet);
      if (this.#listBytes > maxBytes) problem ??= `a block that unfolds to more than ${maxBytes} bytes`;
    }
    return problem;
  }

  /** Section 6.3. */
  #readTableSize(): string | undefined {
    const bytes = this.#reader.integer(0x1f);
    if (bytes < 0) return this.#reader.problem;
    if (bytes > this.#limits.maxTableBytes)
      return `a table size of ${bytes}, over the ${this.#limits.maxTableBytes} allowed`;
    this.#table.resize(bytes);
    this.#usesTable = true;
    return undefined;
  }

  /** Section 6.1. */
  #readIndexed(): string | undefined {
    const index = this.#reader.integer(0x7f);
    if (index < 0) return this.#reader.problem;
    const age = index - LAST_STATIC_INDEX - 1;
    if (index === 0 || age >= this.#table.count) return noEntry(index);
    if (age >= 0) this.#usesTable = true;
    if (age < 0) this.#add(STATIC_NAMES[index] as string, STATIC_VALUES[index] as string);
    else this.#add(this.#table.name(age), this.#table.value(age));
    return undefined;
  }

  /** Section 6.2: with indexing, without, and never. */
  #readLiteral(octet: number): string | undefined {
    const reader = this.#reader;
    const index = reader.integer(octet >= INDEXING ? 0x3f : 0x0f);
    if (index < 0) return reader.problem;
    const age = index - LAST_STATIC_INDEX - 1;
    if (age >= this.#table.count) return noEntry(index);
    if (age >= 0) this.#usesTable = true;
    const name = index === 0 ? reader.text() : age < 0 ? STATIC_NAMES[index] : this.#table.name(age);
    if (name === undefined) return reader.problem;
    const value = reader.text();
    if (value === undefined) return reader.problem;
    this.#add(name, value);
    if (octet >= INDEXING) {
      this.#table.insert(name, value);
      this.#inserted.push(name, value);
    } else if (octet >= NEVER_INDEXED) {
      this.#neverIndexed ??= new Set();
      this.#neverIndexed.add(name);
    }
    return undefined;
  }

  #add(name: string, value: string): void {
    this.#listBytes += name.length + value.length + ENTRY_OVERHEAD_BYTES;
    if (this.#tooLarge) return;
    this.#list.push(name, value);
    if (this.#listBytes <= this.#limits.maxListBytes && this.#list.length <= 2 * this.#limits.maxFields) return;
    this.#tooLarge = true;
    this.#list = [];
    this.#neverIndexed = undefined;
  }
}

function isTableSize(octet: number): boolean {
  return (octet & 0xe0) === TABLE_SIZE;
}

function noEntry(index: number): string {
  return `an index without an entry: ${index}`;
}
