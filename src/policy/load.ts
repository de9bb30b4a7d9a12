/**
 * Rule files to a rule set, or to every problem of every file at once. Pure: the texts come in, nothing is read.
 * A set with one error is no set, so that a bad reload can never be half of one.
 * Upholds: threats 27, 28, 31 (caps before parsing), 33 (the generation).
 */
import type { Enforcement } from '../domain/verdict.ts';
import { type Condition, checkCondition, checkExpression } from './cel-check.ts';
import type { Fault } from './cel-compile.ts';
import { DEFINITION_NAME, Expansion, type Text } from './definitions.ts';
import { MAX_FILES, MAX_PROBLEMS, MAX_RULES } from './limits.ts';
import { lint } from './lint.ts';
import { lintCondition } from './lint-condition.ts';
import { type Problem, shown } from './problem.ts';
import type { RuleDraft } from './rule.ts';
import { checkRule, checkUses, type Finding } from './rule-checks.ts';
import { inOrder, type RuleSet, ruleSet } from './rule-set.ts';
import { fileSchema, type RuleInput, ruleSchema } from './schema.ts';
import { reportIssues } from './schema-problems.ts';
import { type PathKey, YamlSource } from './yaml-source.ts';

export interface RuleSource {
  /** As it is shown to the operator, and sorted by. */
  readonly file: string;
  readonly text: string;
}

export interface LoadContext {
  readonly caLoaded: boolean;
  readonly generation: number;
  /** Names of the *.pem files beside the rules, and their texts. */
  readonly anchors: ReadonlyMap<string, string>;
  /** `audit`: of the whole daemon, over what files and rules say. */
  readonly enforcement?: Enforcement;
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
    .map((source) => new FileLoader(source, context));
  const drafts = files.flatMap((file) => file.drafts);
  reportRepeatedIds(files);
  const problems = tidy([...files.flatMap((file) => file.problems), ...tooMany(files)]);
  if (problems.some((problem) => problem.severity === 'error')) return { ok: false, problems };
  return {
    ok: true,
    rules: ruleSet(drafts, context.generation),
    warnings: tidy([...problems, ...lintProblems(files)]),
  };
}

interface LoadedRule {
  readonly draft: RuleDraft;
  readonly source: YamlSource;
  readonly path: readonly PathKey[];
}

/** Reads one file; what is right in it becomes drafts even where the rest is wrong, so that all of it is checked. */
class FileLoader {
  readonly #source: YamlSource;
  readonly #context: LoadContext;
  readonly #definitions = new Map<string, Text<readonly PathKey[]>>();
  readonly #loaded: LoadedRule[] = [];
  /** Every id in the file with its place, from rules with other faults too. */
  readonly ids: { readonly id: string; readonly offset: number }[] = [];
  ruleCount = 0;

  constructor({ file, text }: RuleSource, context: LoadContext) {
    this.#source = new YamlSource(file, text);
    this.#context = context;
    const { data } = this.#source;
    if (this.#source.isEmpty) {
      this.#source.report(0, { message: 'the file is empty', fix: 'version: "1" with rules: [] allows nothing' });
    } else if (data !== undefined) {
      this.#load(data);
    }
  }

  get file(): string {
    return this.#source.file;
  }

  get problems(): readonly Problem[] {
    return this.#source.problems;
  }

  get drafts(): readonly RuleDraft[] {
    return this.#loaded.map((loaded) => loaded.draft);
  }

  get loaded(): readonly LoadedRule[] {
    return this.#loaded;
  }

  report(offset: number, problem: Omit<Problem, 'severity' | 'file' | 'line' | 'column'>): void {
    this.#source.report(offset, problem);
  }

  lineOf(offset: number): number {
    return this.#source.position(offset).line;
  }

  #load(data: unknown): void {
    const parsed = fileSchema.safeParse(data);
    if (!parsed.success) reportIssues(this.#source, parsed.error.issues);
    const { definitions, rules } = (data ?? {}) as { definitions?: unknown; rules?: unknown };
    this.#readDefinitions(definitions);
    if (Array.isArray(rules)) for (const [i, rule] of rules.entries()) this.#readRule(rule, i);
    this.ruleCount = Array.isArray(rules) ? rules.length : 0;
    const none = rules === undefined || rules === null || (Array.isArray(rules) && rules.length === 0);
    if (parsed.success && none) {
      this.#source.report(this.#source.offsetOf(['rules']), {
        severity: 'warning',
        message: 'no rules: this file allows nothing',
        fix: 'add rules, or remove the file',
      });
    }
  }

  #readDefinitions(definitions: unknown): void {
    if (typeof definitions !== 'object' || definitions === null) return;
    for (const [name, text] of Object.entries(definitions)) {
      if (typeof text !== 'string' || !DEFINITION_NAME.test(name)) continue;
      this.#definitions.set(name, { text, origin: ['definitions', name] });
    }
    for (const definition of this.#definitions.values()) {
      const expansion = this.#expand(definition, undefined);
      const checked = expansion === undefined ? undefined : checkExpression(expansion.text);
      if (expansion === undefined || checked?.ok !== false) continue;
      this.#reportFaults(expansion, checked.faults, undefined);
    }
  }

  #readRule(data: unknown, index: number): void {
    const path = ['rules', index];
    if (typeof data !== 'object' || data === null) return;
    const { id, condition, action } = data as { id?: unknown; condition?: unknown; action?: unknown };
    if (typeof id === 'string') this.ids.push({ id, offset: this.#source.offsetOf([...path, 'id']) });
    const shownId = typeof id === 'string' && id !== '' ? shown(id) : undefined;
    const compiled =
      typeof condition === 'string'
        ? this.#readCondition(condition, [...path, 'condition'], shownId, action)
        : undefined;
    const parsed = ruleSchema.safeParse(data);
    if (!parsed.success) return;
    for (const finding of checkRule(parsed.data, this.#context)) this.#reportFinding(finding, path, shownId);
    if (compiled === undefined) return;
    for (const finding of checkUses(parsed.data, compiled)) this.#reportFinding(finding, path, shownId);
    this.#loaded.push({ draft: this.#draft(parsed.data, compiled, path), source: this.#source, path });
  }

  #readCondition(
    text: string,
    path: readonly PathKey[],
    rule: string | undefined,
    action: unknown,
  ): Condition | undefined {
    const expansion = this.#expand({ text, origin: path }, rule);
    if (expansion === undefined) return undefined;
    const checked = checkCondition(expansion.text);
    if (checked.ok) {
      this.#reportFaults(expansion, lintCondition(checked.value.ast, action === 'block' ? 'block' : 'allow'), rule);
      return checked.value;
    }
    this.#reportFaults(expansion, checked.faults, rule);
    return undefined;
  }

  #expand(text: Text<readonly PathKey[]>, rule: string | undefined): Expansion<readonly PathKey[]> | undefined {
    const expansion = new Expansion(text, this.#definitions);
    const { fault } = expansion;
    if (fault === undefined) return expansion;
    this.#source.report(this.#source.offsetWithin(fault.origin, fault.offset), {
      ...{ message: fault.message, value: fault.value },
      ...(fault.fix === undefined ? {} : { fix: fault.fix }),
      ...(rule === undefined || fault.origin[0] === 'definitions' ? {} : { rule }),
    });
    return undefined;
  }

  #reportFaults(
    expansion: Expansion<readonly PathKey[]>,
    faults: readonly (Fault & { severity?: Problem['severity'] })[],
    rule: string | undefined,
  ): void {
    for (const fault of faults) {
      const { origin, offset } = expansion.locate(fault.start);
      const inDefinition = origin[0] === 'definitions';
      this.#source.report(this.#source.offsetWithin(origin, offset), {
        message: inDefinition ? `definition ${origin[1]}: ${fault.message}` : fault.message,
        severity: fault.severity ?? 'error',
        ...(fault.value === undefined ? {} : { value: shown(fault.value) }),
        ...(fault.fix === undefined ? {} : { fix: fault.fix }),
        ...(rule === undefined || inDefinition ? {} : { rule }),
      });
    }
  }

  #reportFinding(
    { severity, path, message, fix }: Finding,
    rulePath: readonly PathKey[],
    rule: string | undefined,
  ): void {
    const full = [...rulePath, ...path];
    const value = this.#source.written(full);
    this.#source.report(this.#source.offsetOf(full), {
      ...{ severity, message, fix },
      ...(value === undefined ? {} : { value }),
      ...(rule === undefined ? {} : { rule }),
    });
  }

  #draft(rule: RuleInput, condition: Condition, path: readonly PathKey[]): RuleDraft {
    const { id, description = '', priority, action, log, egress } = rule;
    const anchors = egress?.trust_anchors ?? [];
    return {
      view: {
        ...{ id, file: this.file, line: this.lineOf(this.#source.offsetOf(path)), priority, description },
        ...{ condition: rule.condition, action, mode: action === 'block' ? null : (egress?.mode ?? 'proxy') },
        enforcement: this.#context.enforcement ?? 'enforce',
      },
      condition,
      log,
      ports: egress?.ports,
      matchBody: egress?.match_body ?? false,
      allowPrivateIps: egress?.allow_private_ips ?? false,
      trustAnchors: anchors.map((name) => this.#context.anchors.get(name) ?? ''),
    };
  }
}

function reportRepeatedIds(files: readonly FileLoader[]): void {
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

function tooMany(files: readonly FileLoader[]): readonly Problem[] {
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
function lintProblems(files: readonly FileLoader[]): readonly Problem[] {
  const places = new Map(files.flatMap((file) => file.loaded.map((loaded) => [loaded.draft, loaded] as const)));
  return lint(inOrder([...places.keys()])).map(({ draft, message, fix }) => {
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
