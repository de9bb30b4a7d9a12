/**
 * A look at a condition before it is parsed: how deeply it nests, and where it names a definition. Knows string
 * literals and comments, nothing else of the grammar. Linear, and never recursive (threat 31).
 */

export interface Reference {
  /** Without the `$`. */
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Offset where nesting first exceeds `limit`, or undefined. Counts brackets, and signs in a row. */
export function tooDeepAt(source: string, limit: number): number | undefined {
  let depth = 0;
  let signs = 0;
  for (let i = 0; i < source.length; ) {
    const after = skipLiteral(source, i);
    const char = source[i] as string;
    if (after !== i) signs = 0;
    else if ('([{'.includes(char)) depth++;
    else if (')]}'.includes(char)) depth--;
    if (after === i && (char === '!' || char === '-')) signs++;
    else if (!/\s/.test(char)) signs = 0;
    if (depth > limit || signs > limit) return i;
    i = after === i ? i + 1 : after;
  }
  return undefined;
}

/** Every `$name` outside string literals and comments, in order. */
export function references(source: string): readonly Reference[] {
  const found: Reference[] = [];
  for (let i = 0; i < source.length; ) {
    const after = skipLiteral(source, i);
    if (after !== i) {
      i = after;
    } else if (source[i] === '$') {
      const name = /^[A-Za-z0-9_]*/.exec(source.slice(i + 1, i + 1 + MAX_NAME_CHARS))?.[0] ?? '';
      found.push({ name, start: i, end: i + 1 + name.length });
      i += 1 + name.length;
    } else {
      i++;
    }
  }
  return found;
}

/** The source without its comments; string literals stay as they are. */
export function withoutComments(source: string): string {
  let text = '';
  for (let i = 0; i < source.length; ) {
    const after = Math.max(skipLiteral(source, i), i + 1);
    if (!source.startsWith('//', i)) text += source.slice(i, after);
    i = after;
  }
  return text;
}

/** A definition's name, in characters; the schema holds it to this. */
export const MAX_NAME_CHARS = 128;

/** The offset after the string literal or comment that starts here; the same offset where none does. */
function skipLiteral(source: string, start: number): number {
  const char = source[start];
  if (char === '/' && source[start + 1] === '/') {
    const end = source.indexOf('\n', start);
    return end === -1 ? source.length : end;
  }
  if (char !== '"' && char !== "'") return start;
  const triple = source.startsWith(char.repeat(3), start);
  const quote = triple ? char.repeat(3) : char;
  for (let i = start + quote.length; i < source.length; i++) {
    if (source[i] === '\\') i++;
    else if (source.startsWith(quote, i)) return i + quote.length;
    else if (!triple && source[i] === '\n') return i;
  }
  return source.length;
}
