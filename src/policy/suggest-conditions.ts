/**
 * What is said of the requests to one host and port: the methods, and under them one line for each path template with its
 * query and the evidence for it. Methods that ask for the same paths share a rule.
 */
import type { Destination, QueryEvidence, RequestEvidence } from './suggest-evidence.ts';
import { type PathTemplate, templatesOf } from './suggest-paths.ts';

export interface SuggestedCondition {
  readonly methods: readonly string[];
  /** The part of the condition after host and method, in lines. */
  readonly text: readonly string[];
  readonly requests: number;
  readonly checks: readonly string[];
}

interface Alternative {
  readonly expression: string;
  readonly evidence: string;
  readonly requests: number;
  readonly checks: readonly string[];
}

/** Of the 500 syntax nodes of a condition: the lines, with room for what stands before them. */
const MAX_WORDS = 350;
const MAX_NAMES = 24;
const MAX_EXAMPLE_CHARS = 80;

export function conditionsOf({ requests }: Destination): readonly SuggestedCondition[] {
  const git = gitService(requests);
  const byMethod = Map.groupBy(requests, ({ method }) => method);
  const groups = new Map<string, { methods: string[]; alternatives: (readonly Alternative[])[] }>();
  for (const [method, own] of byMethod) {
    const alternatives = alternativesOf(own, git);
    const key = alternatives.map(({ expression }) => expression).join('\n');
    const group = groups.get(key) ?? { methods: [], alternatives: [] };
    group.methods.push(method);
    group.alternatives.push(alternatives);
    groups.set(key, group);
  }
  return [...groups.values()].flatMap(({ methods, alternatives }) =>
    chunks(joinedEvidence(alternatives)).map((lines) => conditionOf(methods, lines)),
  );
}

function conditionOf(methods: readonly string[], lines: readonly Alternative[]): SuggestedCondition {
  const [only] = lines;
  const width = Math.max(...lines.map(({ expression }) => expression.length));
  const text =
    lines.length === 1 && only !== undefined
      ? [`${only.expression}  // ${only.evidence}`]
      : [
          '(',
          ...lines.map((line, i) => `${i === 0 ? '   ' : '|| '}${line.expression.padEnd(width)}  // ${line.evidence}`),
          ')',
        ];
  return {
    methods,
    text,
    requests: lines.reduce((sum, line) => sum + line.requests, 0),
    checks: [...new Set(lines.flatMap(({ checks }) => checks))],
  };
}

function alternativesOf(requests: readonly RequestEvidence[], git: string | undefined): readonly Alternative[] {
  const byPath = Map.groupBy(requests, ({ path }) => path);
  return templatesOf(byPath.keys()).flatMap((template) => {
    const own = template.paths.flatMap((path) => byPath.get(path) ?? []);
    const plain = own.filter(({ query }) => query === undefined);
    const queried = own.filter(({ query }) => query !== undefined);
    return [
      ...(plain.length === 0 ? [] : [alternative(template, withoutQuery(template.pattern), plain, [])]),
      ...(queried.length === 0 ? [] : [queriedAlternative(template, queried, git)]),
    ];
  });
}

function withoutQuery(pattern: string): string {
  if (!pattern.includes('*')) return `http.path == ${JSON.stringify(pattern)}`;
  // A `*` would take in a `?` and what follows it.
  return `glob(http.path, ${JSON.stringify(pattern)}) && size(http.query) == 0`;
}

function queriedAlternative(
  template: PathTemplate,
  requests: readonly RequestEvidence[],
  git: string | undefined,
): Alternative {
  const queries = requests.map(({ query }) => query as QueryEvidence);
  const path = `glob(http.path, ${JSON.stringify(`${template.pattern}?**`)})`;
  const names = [...new Set(queries.flatMap(({ parameters }) => parameters.map(([name]) => name)))];
  if (git !== undefined && template.pattern.endsWith('/info/refs') && names.join() === 'service')
    return alternative(template, `${path} && http.query == {"service": ["${git}"]}`, requests, []);
  if (queries.some(({ unnamed }) => unnamed) || names.length > MAX_NAMES)
    return alternative(template, path, requests, [
      `any query of ${template.pattern}: the names in it are not recorded`,
    ]);
  const known = `http.query.all(name, name in [${names.map((name) => JSON.stringify(name)).join(', ')}])`;
  const values = names.flatMap((name) => {
    const value = soleValue(queries, name);
    return value === undefined ? [] : [`http.query[${JSON.stringify(name)}] == [${JSON.stringify(value)}]`];
  });
  return alternative(template, [path, known, ...values].join(' && '), requests, []);
}

/** The one value that a parameter had in every query, where values are recorded. */
function soleValue(queries: readonly QueryEvidence[], name: string): string | undefined {
  const values = queries.map(({ parameters }) => parameters.filter(([own]) => own === name).map(([, value]) => value));
  const [first] = values[0] ?? [];
  return first !== undefined && values.every((own) => own.length === 1 && own[0] === first) ? first : undefined;
}

function alternative(
  { pattern, paths, widened }: PathTemplate,
  expression: string,
  requests: readonly RequestEvidence[],
  checks: readonly string[],
): Alternative {
  const example = pattern.includes('*') ? ` as ${(paths[0] as string).slice(0, MAX_EXAMPLE_CHARS)}` : '';
  const spread = paths.length > 1 ? ` for ${paths.length} paths` : '';
  const wide = widened ? [`${pattern} stands for ${paths.length} paths and takes in others`] : [];
  return {
    expression,
    evidence: `${plural(requests.length)}${spread}${example === '' ? '' : `,${example}`}`,
    requests: requests.length,
    checks: [...checks, ...wide],
  };
}

/**
 * Which service git asks `info/refs` for is in the query, and so not recorded; what follows says it. undefined where a
 * repository was written to, or nothing of git was seen.
 */
function gitService(requests: readonly RequestEvidence[]): string | undefined {
  const asks = (service: string) => requests.some(({ path }) => path.endsWith(`/${service}`));
  return asks('git-upload-pack') && !asks('git-receive-pack') ? 'git-upload-pack' : undefined;
}

/** The same lines seen under several methods: their evidence is what all of them had. */
function joinedEvidence(alternatives: readonly (readonly Alternative[])[]): readonly Alternative[] {
  const [first = [], ...others] = alternatives;
  return first.map((line, i) => {
    const same = [line, ...others.map((other) => other[i] as Alternative)];
    const requests = same.reduce((sum, each) => sum + each.requests, 0);
    return { ...line, requests, evidence: line.evidence.replace(/^[0-9]+ requests?/, plural(requests)) };
  });
}

/** As many rules as the cap on one condition asks for. */
function chunks(lines: readonly Alternative[]): readonly (readonly Alternative[])[] {
  const rules: Alternative[][] = [];
  let words = MAX_WORDS;
  for (const line of lines) {
    words += wordsOf(line.expression);
    if (words <= MAX_WORDS) rules.at(-1)?.push(line);
    else {
      rules.push([line]);
      words = wordsOf(line.expression);
    }
  }
  return rules;
}

/** Literals, names, fields and operators: at least as many as there are syntax nodes. */
function wordsOf(expression: string): number {
  return expression.match(/"(?:[^"\\]|\\.)*"|\w+|[=&|!]+|[[(]/g)?.length ?? 0;
}

function plural(requests: number): string {
  return `${requests} ${requests === 1 ? 'request' : 'requests'}`;
}
