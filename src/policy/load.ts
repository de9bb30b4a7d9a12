/**
 * Rule files to a rule set, or to every problem of every file at once. Pure: the texts come in, nothing is read.
 * A set with one error is no set, so that a bad reload can never be half of one.
 * Upholds: threats 27, 28, 31 (caps before parsing), 33 (the generation).
 */
import type { NameConstraints } from '../domain/name-constraints.ts';
import type { Closing } from './closing.ts';
import { closingOf } from './closing-default.ts';
import { MAX_FILES, MAX_PROBLEMS, MAX_RULES } from './limits.ts';
import { lint } from './lint.ts';
import { lintConstraints } from './lint-constraints.ts';
import { type Problem, shown } from './problem.ts';
import { type FileContext, type LoadedRule, RuleFile } from './rule-file.ts';
import { inOrder, type RuleSet, ruleSet } from './rule-set.ts';

export interface RuleSource {
  /** As it is shown to the operator, and sorted by. */
  readonly file: string;
  readonly text: string;
}

export interface LoadContext extends FileContext {
  readonly generation: number;
  /** What bounds the CA that is loaded, for warnings alone. */
  readonly constraints?: NameConstraints | undefined;
}

export type LoadResult =
  | { readonly ok: true; readonly rules: RuleSet; readonly warnings: readonly Problem[] }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Loads all files as one set. `problems` holds every error and warning, in the order of files and lines. */
export function loadRules(sources: readonly RuleSource[], context: LoadContext): LoadResult {
  if (sources.length > MAX_FILES) {
    return {
      ok: false,
      problems: [fileProblem(`${sources.length} rule files; at most ${MAX_FILES} are allowed`, 'join some')],
    };
  }
  const files = [...sources]
    .sort((a, b) => (a.file < b.file ? -1 : 1))
    .map((source) => new RuleFile(source.file, source.text, context));
  const drafts = files.flatMap((file) => file.drafts);
  reportRepeatedIds(files);
  const closing = closingOf(files, context);
  const problems = tidy([...files.flatMap((file) => file.problems), ...tooMany(files)]);
  if (problems.some((problem) => problem.severity === 'error')) return { ok: false, problems };
  return {
    ok: true,
    rules: ruleSet(drafts, context.generation, closing),
    warnings: tidy([...problems, ...lintProblems(files, closing, context.constraints)]),
  };
}

function reportRepeatedIds(files: readonly RuleFile[]): void {
  const first = new Map<string, string>();
  for (const file of files) {
    for (const { id, offset } of file.ids) {
      const place = first.get(id);
      const message = `the id is taken by the rule at ${place}`;
      if (place === undefined) first.set(id, `${file.file}:${file.lineOf(offset)}`);
      else file.report(offset, { message, value: shown(id), fix: 'give each rule an id of its own', rule: shown(id) });
    }
  }
}

function tooMany(files: readonly RuleFile[]): readonly Problem[] {
  const rules = files.reduce((sum, file) => sum + file.ruleCount, 0);
  if (rules <= MAX_RULES) return [];
  return [
    fileProblem(
      `${rules} rules in all; at most ${MAX_RULES} are allowed`,
      'join rules: http.host in ["…", "…"]',
      files.at(-1)?.file,
    ),
  ];
}

function fileProblem(message: string, fix: string, file = ''): Problem {
  return { severity: 'error', file, line: 1, column: 1, message, fix };
}

/** Warnings about the rules as a set, at their conditions. */
function lintProblems(
  files: readonly RuleFile[],
  closing: Closing,
  constraints: NameConstraints | undefined,
): readonly Problem[] {
  const places = new Map(files.flatMap((file) => file.loaded.map((loaded) => [loaded.draft, loaded] as const)));
  const drafts = inOrder([...places.keys()]);
  return [...lint(drafts, closing), ...lintConstraints(drafts, constraints)].map(({ draft, message, fix }) => {
    const { source, path } = places.get(draft) as LoadedRule;
    const place = source.position(source.offsetOf([...path, 'condition']));
    return { severity: 'warning', file: source.file, ...place, message, fix, rule: draft.view.id };
  });
}

/** By place, each once, and no more than can be read. */
function tidy(problems: readonly Problem[]): readonly Problem[] {
  const seen = new Map(
    problems.map((problem) => [[problem.file, problem.line, problem.column, problem.message].join('\0'), problem]),
  );
  const sorted = [...seen.values()].sort(
    (a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0) || a.line - b.line || a.column - b.column,
  );
  if (sorted.length <= MAX_PROBLEMS) return sorted;
  const errors = sorted.filter((problem) => problem.severity === 'error');
  const told = (errors.length > 0 ? errors : sorted).slice(0, MAX_PROBLEMS);
  const { severity, file } = told.at(-1) as Problem;
  const rest = fileProblem(`${sorted.length - told.length} more problems`, 'mend these first', file);
  return [...told, { ...rest, severity }];
}
