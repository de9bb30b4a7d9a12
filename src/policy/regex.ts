/**
 * Regular expressions of RE2: never exponential, and here with a price per text. An expression whose automaton is
 * small is a table walk, about 10 ns a character; one whose automaton explodes builds states as it reads, at a
 * price that grows with the expression. Which it is, is found out once, when a long text asks (threat 31).
 */
import { RE2JS } from 're2js';

/** States that an automaton may have to be called small. */
const MAX_STATES = 1_000;
/** Transitions looked at before giving up on an automaton: at most some 0.1 s, once per expression. */
const MAX_TRANSITIONS = 20_000;
/** Steps of a text whose price is not worth asking about the automaton. */
const CHEAP_STEPS = 50_000;
/** A step is about 50 ns: building a state takes two for each instruction, walking a table one for four characters. */
const STEPS_PER_INSTRUCTION = 2;
const CHARS_PER_STEP_LOG2 = 2;

export class Regex {
  readonly #regex: RE2JS;
  readonly #worstStepsPerChar: number;
  #small: boolean | undefined;

  /** Throws what re2js throws for a pattern that is not RE2. */
  constructor(pattern: string) {
    this.#regex = RE2JS.compile(pattern);
    this.#worstStepsPerChar = STEPS_PER_INSTRUCTION * this.instructions;
  }

  get instructions(): number {
    return this.#regex.programSize();
  }

  /** True where the pattern is found anywhere in the text. */
  test(text: string): boolean {
    const found = this.#regex.test(text);
    // What an exploding automaton has built is worth less than its memory.
    if (this.#small === false) this.#regex.re2().dfa.clearCache();
    return found;
  }

  /** Steps that a text of so many characters costs at most. */
  cost(chars: number): number {
    const worst = chars * this.#worstStepsPerChar;
    if (worst <= CHEAP_STEPS) return worst;
    this.#small ??= hasSmallAutomaton(this.#regex);
    return this.#small ? chars >> CHARS_PER_STEP_LOG2 : worst;
  }
}

/** What is used of re2js's lazily built automaton, which its types leave open. */
interface Automaton {
  /** It has parts that no automaton can do (look-behind). */
  readonly failed: boolean;
  readonly classBounds: Int32Array;
  makeState(instructions: readonly number[], flags: number, ids: readonly number[]): object | null;
  step(state: object, characterClass: number, character: number, anchor: number): object | null;
}

/** Builds the automaton breadth first, one character of each class at a time, until it is whole or too large. */
function hasSmallAutomaton(regex: RE2JS): boolean {
  const { dfa, onepass, prog } = regex.re2() as { dfa: Automaton; onepass: object | null; prog: { start: number } };
  // Of one pass: no choice at any character, so no states to build.
  if (onepass !== null) return true;
  const start = dfa.failed ? null : dfa.makeState([prog.start], BEGIN_OF_TEXT, []);
  // Each class of characters begins at a bound; the first at 0.
  const characters = [0, ...dfa.classBounds];
  const states = new Set([start]);
  let transitions = 0;
  for (const state of states) {
    if (state === null || states.size > MAX_STATES) return false;
    for (const [index, character] of characters.entries()) {
      if (++transitions > MAX_TRANSITIONS) return false;
      states.add(dfa.step(state, index, character, UNANCHORED));
    }
  }
  return true;
}

/** re2js: RE2Flags.UNANCHORED. */
const UNANCHORED = 0;
/** re2js: Utils.EMPTY_BEGIN_LINE and Utils.EMPTY_BEGIN_TEXT. */
const BEGIN_OF_TEXT = 0x01 | 0x04;
