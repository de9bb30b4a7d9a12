/**
 * What is wrong with a rule file: where, what was found, and what to write instead.
 * Knows nothing of YAML or CEL; those turn their own errors into these.
 */

export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  /** From 1; 1:1 where the problem is the file itself. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** The offending text as written, shortened. */
  readonly value?: string;
  /** What to write, or to do, instead. */
  readonly fix?: string;
  /** Id of the rule, where the problem lies within one. */
  readonly rule?: string;
}

/** Longest offending value that is repeated to the reader, in characters. */
const MAX_SHOWN_CHARS = 80;

/** One problem on one or two lines: `file:line:column: error: message (found …)` and the fix. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, severity, message, value, fix, rule } = problem;
  const inRule = rule === undefined ? '' : `rule ${rule}: `;
  const found = value === undefined || value === '' ? '' : ` (found: ${value})`;
  const hint = fix === undefined ? '' : `\n    fix: ${fix}`;
  return `${file}:${line}:${column}: ${severity}: ${inRule}${message}${found}${hint}`;
}

/** A value as it is shown in a problem: one line, no control characters, at most 80 characters. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  let line = '';
  for (const char of text) {
    if (line.length >= MAX_SHOWN_CHARS) return `${line}…`;
    const code = char.codePointAt(0) as number;
    line += code < 0x20 || (code >= 0x7f && code < 0xa0) ? `\\x${code.toString(16).padStart(2, '0')}` : char;
  }
  return line;
}

/** The candidate that was most likely meant, or undefined when none is near enough. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  // A third of the word may be wrong; a word of one or two letters may have one wrong.
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Optimal string alignment distance: insertions, deletions, substitutions, and swaps of neighbours. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min((last[j] as number) + 1, (row[j - 1] as number) + 1, (last[j - 1] as number) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        cost = Math.min(cost, (before[j - 2] as number) + 1);
      }
      row.push(cost);
    }
    [before, last] = [last, row];
  }
  return last[b.length] as number;
}
