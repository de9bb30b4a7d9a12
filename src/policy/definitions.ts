/**
 * `$name` in a condition is replaced by that definition in parentheses, recursively. What comes out is capped while it
 * grows, so definitions that double each other cost nothing (threat 31). Remembers where each piece was written.
 */
import { MAX_NAME_CHARS, references } from './cel-scan.ts';
import { MAX_CONDITION_CHARS, MAX_NESTING } from './limits.ts';
import { nearest } from './problem.ts';

/** What a definition or a condition says, and something that tells its author where. */
export interface Text<Origin> {
  readonly text: string;
  readonly origin: Origin;
}

/** A run of the expanded text that was copied from one place. */
interface Piece<Origin> {
  readonly at: number;
  readonly origin: Origin;
  readonly from: number;
}

export interface ExpansionFault<Origin> {
  readonly origin: Origin;
  readonly offset: number;
  readonly message: string;
  readonly value: string;
  readonly fix?: string;
}

export const DEFINITION_NAME = new RegExp(`^[A-Za-z_][A-Za-z0-9_]{0,${MAX_NAME_CHARS - 1}}$`);

/** Expands one text. Stops at the first fault, since what follows would be guesswork. */
export class Expansion<Origin> {
  text = '';
  fault: ExpansionFault<Origin> | undefined;
  readonly #definitions: ReadonlyMap<string, Text<Origin>>;
  readonly #pieces: Piece<Origin>[] = [];

  constructor(source: Text<Origin>, definitions: ReadonlyMap<string, Text<Origin>>) {
    this.#definitions = definitions;
    this.#expand(source, []);
  }

  /** Where the character at this offset of the expanded text was written. */
  locate(offset: number): { readonly origin: Origin; readonly offset: number } {
    let piece = this.#pieces[0] as Piece<Origin>;
    for (const next of this.#pieces) if (next.at <= offset) piece = next;
    return { origin: piece.origin, offset: piece.from + (offset - piece.at) };
  }

  #expand(source: Text<Origin>, within: readonly string[]): void {
    let copied = 0;
    for (const { name, start, end } of references(source.text)) {
      this.#copy(source, copied, start);
      copied = end;
      this.#reference(source, name, start, within);
      if (this.fault !== undefined) return;
    }
    this.#copy(source, copied, source.text.length);
  }

  #reference(source: Text<Origin>, name: string, start: number, within: readonly string[]): void {
    const definition = this.#definitions.get(name);
    const refuse = (message: string, fix?: string) => {
      this.fault = {
        origin: source.origin,
        offset: start,
        message,
        value: `$${name}`,
        ...(fix === undefined ? {} : { fix }),
      };
    };
    if (definition === undefined) return refuse('no definition of this name in this file', this.#meant(name));
    if (within.includes(name))
      return refuse(`the definition contains itself: ${[...within, name].map((n) => `$${n}`).join(' -> ')}`);
    if (within.length >= MAX_NESTING) return refuse(`definitions nested deeper than ${MAX_NESTING}`);
    this.#pieces.push({ at: this.text.length, origin: source.origin, from: start });
    this.text += '(';
    this.#expand(definition, [...within, name]);
    if (this.fault !== undefined) return;
    this.#pieces.push({ at: this.text.length, origin: source.origin, from: start });
    this.text += ')';
    if (this.text.length > MAX_CONDITION_CHARS)
      refuse(`with its definitions expanded, longer than ${MAX_CONDITION_CHARS} characters`);
  }

  #meant(name: string): string {
    const near = nearest(name, this.#definitions.keys());
    return near === undefined ? `add it under definitions: ${name || 'name'}: '…'` : `$${near}`;
  }

  #copy(source: Text<Origin>, from: number, to: number): void {
    if (from === to && this.#pieces.length > 0) return;
    this.#pieces.push({ at: this.text.length, origin: source.origin, from });
    this.text += source.text.slice(from, to);
  }
}
