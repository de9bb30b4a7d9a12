/**
 * One rule file as YAML: caps before parsing, plain YAML only (no aliases, anchors, tags or merges), and where in the
 * text each value stands. Knows nothing of rules. Upholds: threats 27, 31.
 */
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import { MAX_FILE_BYTES, MAX_YAML_NESTING } from './limits.ts';
import { type Problem, shown } from './problem.ts';

export type PathKey = string | number;

export class YamlSource {
  readonly file: string;
  readonly problems: Problem[] = [];
  readonly #text: string;
  readonly #lines = new LineCounter();
  readonly #pairs = new WeakMap<YAMLMap, ReadonlyMap<string, Pair>>();
  #document: Document.Parsed | undefined;
  #data: unknown;
  /** It uses aliases, tags or the like; what it would say is not looked at. */
  #indirect = false;

  constructor(file: string, text: string) {
    this.file = file;
    this.#text = text;
    if (!this.#withinCaps()) return;
    try {
      const document = parseDocument(text, { ...PARSE_OPTIONS, lineCounter: this.#lines });
      for (const error of document.errors) this.#syntaxError(error);
      for (const warning of document.warnings) if (warning.code !== 'TAG_RESOLVE_FAILED') this.#syntaxError(warning);
      // What a syntax error leaves of the tree is a guess.
      if (document.errors.length > 0) return;
      this.#document = document;
      visit(document, (_, node) => this.#checkNode(node));
      if (!this.#indirect) this.#data = document.toJS({ maxAliasCount: 0 });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.report(0, { message: 'nested too deeply', fix: 'a rule file nests six levels at most' });
    }
  }

  /** The whole as plain data, or undefined where there is none to speak of. */
  get data(): unknown {
    return this.#data;
  }

  get isEmpty(): boolean {
    return this.#document !== undefined && this.#document.contents === null;
  }

  /** Adds a problem at an offset of the text. */
  report(
    offset: number,
    problem: Omit<Problem, 'severity' | 'file' | 'line' | 'column'> & { severity?: Problem['severity'] },
  ): void {
    this.problems.push({ severity: 'error', file: this.file, ...this.position(offset), ...problem });
  }

  /** Line and column of an offset, both from 1. */
  position(offset: number): { readonly line: number; readonly column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  /** Offset of the value at a path, or of the nearest mapping or list around it that exists. */
  offsetOf(path: readonly PathKey[]): number {
    return startOf(this.#nodeAt(path).node);
  }

  /** Offset of the key itself in the mapping at a path. */
  keyOffset(path: readonly PathKey[], key: string): number {
    const { node } = this.#nodeAt(path);
    const pair = isMap(node) ? this.#pairsOf(node).get(key) : undefined;
    return isNode(pair?.key) ? startOf(pair.key) : startOf(node);
  }

  /** The text of the value at a path as it was written, or undefined when there is none. */
  written(path: readonly PathKey[]): string | undefined {
    const { node, found } = this.#nodeAt(path);
    if (!found || !isNode(node) || !node.range) return undefined;
    return shown(this.#text.slice(node.range[0], node.range[1]).split('\n', 1)[0]) || undefined;
  }

  /** Offset in the file of a character of the string at a path. Exact but for escapes in double quotes. */
  offsetWithin(path: readonly PathKey[], character: number): number {
    const { node } = this.#nodeAt(path);
    if (!isScalar(node) || typeof node.value !== 'string' || !node.range) return startOf(node);
    const block = node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED';
    const first = block ? this.#text.indexOf('\n', node.range[0]) + 1 : node.range[0] + (node.type === 'PLAIN' ? 0 : 1);
    return align(node.value, character, this.#text, first, node.range[1]) ?? node.range[0];
  }

  #nodeAt(path: readonly PathKey[]): { node: unknown; found: boolean } {
    let node: unknown = this.#document?.contents;
    for (const key of path) {
      const next = this.#childOf(node, key);
      if (next === undefined) return { node, found: false };
      node = next;
    }
    return { node, found: true };
  }

  #withinCaps(): boolean {
    const bytes = Buffer.byteLength(this.#text);
    if (bytes > MAX_FILE_BYTES) {
      this.report(0, {
        message: `the file has ${bytes} bytes; at most ${MAX_FILE_BYTES} are allowed`,
        fix: 'split it',
      });
      return false;
    }
    const deep = tooDeepLine(this.#text);
    if (deep === undefined) return true;
    this.problems.push({
      ...{ severity: 'error', file: this.file, line: deep, column: 1 },
      ...{ message: `collections nested deeper than ${MAX_YAML_NESTING}`, fix: 'a rule file nests six levels at most' },
    });
    return false;
  }

  #syntaxError(error: YAMLError): void {
    const [start, end] = error.pos;
    const message = SYNTAX_MESSAGES.get(error.code) ?? (error.message.split('\n', 1)[0] as string);
    const word = /^[^\s:,\]}]*/.exec(this.#text.slice(start, start + MAX_WORD_CHARS))?.[0] ?? '';
    const value = shown(word.length > end - start ? word : this.#text.slice(start, end).split('\n', 1)[0]);
    const fix = SYNTAX_FIXES.get(error.code);
    this.report(start, {
      ...{ message: `YAML: ${message}` },
      ...(value === '' ? {} : { value }),
      ...(fix === undefined ? {} : { fix }),
    });
  }

  #childOf(node: unknown, key: PathKey): unknown {
    if (isSeq(node)) return typeof key === 'number' ? node.items[key] : undefined;
    const pair = isMap(node) ? this.#pairsOf(node).get(String(key)) : undefined;
    return pair === undefined ? undefined : (pair.value ?? pair.key);
  }

  /** The pairs of a mapping by key, which a list of them would be searched for over and over. */
  #pairsOf(map: YAMLMap): ReadonlyMap<string, Pair> {
    let pairs = this.#pairs.get(map);
    if (pairs === undefined) {
      pairs = new Map(map.items.map((pair) => [isScalar(pair.key) ? String(pair.key.value) : '', pair]));
      this.#pairs.set(map, pairs);
    }
    return pairs;
  }

  #checkNode(node: unknown): void {
    const refuse = (what: string, fix: string) => {
      this.#indirect = true;
      this.report(startOf(node), { message: `YAML ${what} are not allowed in rule files`, fix });
    };
    if (isAlias(node)) return refuse('aliases', 'use a $definition, or write it out');
    if (!isNode(node)) return undefined;
    if ('anchor' in node && node.anchor !== undefined) return refuse('anchors', 'use a $definition, or write it out');
    if (node.tag !== undefined && !node.tag.startsWith('tag:yaml.org,2002:'))
      return refuse('tags', 'leave the tag out');
    if (!isMap(node)) return undefined;
    const seen = new Set<string>();
    for (const { key } of node.items) {
      if (!isScalar(key)) refuse('collections as keys', 'write a plain word as key');
      else if (key.value === '<<') refuse('merge keys', 'write the keys out');
      else if (seen.has(String(key.value))) {
        const message = 'a key may stand only once in a mapping';
        this.report(startOf(key), { message, value: shown(String(key.value)), fix: 'keep one of the two' });
      } else seen.add(String(key.value));
    }
  }
}

const PARSE_OPTIONS = {
  version: '1.2',
  schema: 'core',
  strict: true,
  prettyErrors: false,
  // Quadratic in the package; checkNode does it in one pass.
  uniqueKeys: false,
} as const;

/** Of a word that is repeated in a problem. */
const MAX_WORD_CHARS = 80;

/** Where the package's own words are about itself. */
const SYNTAX_MESSAGES: ReadonlyMap<string, string> = new Map([
  ['MULTIPLE_DOCS', 'more than one document'],
  ['RESOURCE_EXHAUSTION', 'nested too deeply'],
]);

/** What to do about syntax errors that people make, by the yaml package's code. */
const SYNTAX_FIXES: ReadonlyMap<string, string> = new Map([
  ['TAB_AS_INDENT', 'indent with spaces'],
  ['BAD_INDENT', 'align it with its neighbours'],
  ['MULTIPLE_DOCS', 'one document per file: remove the ---'],
  ['UNEXPECTED_TOKEN', 'put the value in quotes'],
  ['BLOCK_IN_FLOW', 'put the value in quotes'],
  ['BLOCK_AS_IMPLICIT_KEY', 'put the value in quotes'],
  ['MISSING_CHAR', 'close the quote or bracket, or align the line with its neighbours'],
]);

/** Line on which flow collections, or `- - -` on one line, nest too deeply; undefined when none do. Not recursive. */
function tooDeepLine(text: string): number | undefined {
  let depth = 0;
  let dashes = 0;
  let line = 1;
  for (const token of new Lexer().lex(text)) {
    if (token === '[' || token === '{') depth++;
    else if (token === ']' || token === '}') depth = Math.max(0, depth - 1);
    if (depth === 0 && (token === '-' || token === '?' || token === ':')) dashes++;
    for (let at = token.indexOf('\n'); at !== -1; at = token.indexOf('\n', at + 1)) line++;
    if (token.includes('\n')) dashes = 0;
    if (depth > MAX_YAML_NESTING || dashes > MAX_YAML_NESTING) return line;
  }
  return undefined;
}

function startOf(node: unknown): number {
  return isNode(node) ? ((node as Node).range?.[0] ?? 0) : 0;
}

/** Follows a value through its source, past indentation, folds and doubled quotes, to its nth character. */
function align(value: string, nth: number, text: string, from: number, to: number): number | undefined {
  let at = from;
  for (let i = 0; i <= nth; i++) {
    const char = value[i];
    const folded = char === ' ' ? '\n' : char;
    while (at < to && i < value.length && text[at] !== char && text[at] !== folded) at++;
    if (at >= to) return undefined;
    if (i < nth) at++;
  }
  return at;
}
