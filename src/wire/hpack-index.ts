/**
 * The tables of HPACK as an encoder needs them: from a name and a value to an index (RFC 7541 section 2.3), static entries
 * and its own dynamic ones, evicted as the peer's decoder evicts (section 4). Says too whether a field is worth an entry:
 * a name whose values do not come again gets no more of them, so that the others stay.
 */
import { ENTRY_OVERHEAD_BYTES, LAST_STATIC_INDEX, STATIC_NAMES, STATIC_VALUES } from './hpack-table.ts';

/** Entries of one name that were made since one of them was used. */
const MAX_UNUSED_ENTRIES = 4;
/** A larger entry would drive out most others. */
const MAX_SHARE_OF_TABLE = 0.5;

/** The first entry of each name; those of one name stand together. */
const STATIC_BY_NAME: ReadonlyMap<string, number> = new Map(
  STATIC_NAMES.map((name, index) => [name, index] as const)
    .filter(([name]) => name !== '')
    .reverse(),
);

interface Entry {
  readonly name: Name;
  readonly value: string;
  readonly bytes: number;
  /** How many were inserted before it. */
  readonly nth: number;
  /** The entry before it with the same name; it may be gone. */
  older: Entry | undefined;
  /** The entry inserted next, of any name. */
  next: Entry | undefined;
}

/** A name with entries. */
interface Name {
  readonly text: string;
  newest: Entry | undefined;
  unused: number;
}

export class HpackIndex {
  /** Goes up with each change: what was found before it may stand elsewhere now. */
  changes = 0;
  readonly #names = new Map<string, Name>();
  #maxBytes: number;
  #bytes = 0;
  #inserted = 0;
  #evicted = 0;
  #oldest: Entry | undefined;
  #newest: Entry | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The index of that field; or of an entry of that name, as a negative number; or 0. */
  find(name: string, value: string): number {
    const known = this.#names.get(name);
    if (known !== undefined) {
      for (let entry = known.newest; entry !== undefined && entry.nth >= this.#evicted; entry = entry.older) {
        if (entry.value !== value) continue;
        known.unused = 0;
        return this.#indexOf(entry);
      }
    }
    const first = STATIC_BY_NAME.get(name);
    if (first === undefined) return known?.newest === undefined ? 0 : -this.#indexOf(known.newest);
    // A static entry without a value is there for its name alone, and would be found for an empty value.
    for (let index = first; STATIC_NAMES[index] === name; index++) if (STATIC_VALUES[index] === value) return index;
    return -first;
  }

  /** Whether insert would be of use: the field may come again, and leaves room for others. */
  isWorth(name: string, value: string): boolean {
    if (name.length + value.length + ENTRY_OVERHEAD_BYTES > this.#maxBytes * MAX_SHARE_OF_TABLE) return false;
    const known = this.#names.get(name);
    return known === undefined || known.unused < MAX_UNUSED_ENTRIES;
  }

  /** A field that isWorth it. */
  insert(name: string, value: string): void {
    const bytes = name.length + value.length + ENTRY_OVERHEAD_BYTES;
    this.#evictTo(this.#maxBytes - bytes);
    let known = this.#names.get(name);
    if (known === undefined) {
      known = { text: name, newest: undefined, unused: 0 };
      this.#names.set(name, known);
    }
    const entry = { name: known, value, bytes, nth: this.#inserted++, older: known.newest, next: undefined };
    known.newest = entry;
    known.unused++;
    if (this.#newest !== undefined) this.#newest.next = entry;
    this.#newest = entry;
    this.#oldest ??= entry;
    this.#bytes += bytes;
    this.changes++;
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
    this.changes++;
  }

  #indexOf(entry: Entry): number {
    return LAST_STATIC_INDEX + this.#inserted - entry.nth;
  }

  #evictTo(bytes: number): void {
    while (this.#oldest !== undefined && this.#bytes > bytes) {
      const { name, next, bytes: freed } = this.#oldest;
      if (name.newest === this.#oldest) this.#names.delete(name.text);
      this.#oldest.older = undefined;
      this.#oldest = next;
      this.#bytes -= freed;
      this.#evicted++;
    }
    if (this.#oldest === undefined) this.#newest = undefined;
  }
}
