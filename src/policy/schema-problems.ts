/**
 * What zod found wrong with a file, as problems: where it stands, what was written, and what the schema wants there.
 */
import type * as z from 'zod';
import { nearest, shown } from './problem.ts';
import { fileSchema } from './schema.ts';
import type { PathKey, YamlSource } from './yaml-source.ts';

type Issue = z.core.$ZodIssue;

/** A kind of file: what it holds a list of, and by which schema. */
export interface FileKind {
  readonly schema: z.ZodType;
  /** How one item of its list is called. */
  readonly item: string;
}

const RULE_FILE: FileKind = { schema: fileSchema, item: 'a rule' };

/** Reports every issue at its place in the file. */
export function reportIssues(source: YamlSource, issues: readonly Issue[], kind: FileKind = RULE_FILE): void {
  for (const issue of issues) {
    const path = issue.path as PathKey[];
    if (issue.code === 'unrecognized_keys') for (const key of issue.keys) unknownKey(source, kind, path, key);
    else if (issue.code === 'invalid_key') badKey(source, path);
    else if (isMissing(source, path)) missing(source, kind, path);
    else wrongValue(source, kind, path, issue);
  }
}

/** The id of the rule that a path lies in, as far as it can be read. */
function ruleAt(data: unknown, path: readonly PathKey[]): { rule?: string } {
  const [first, index] = path;
  const rules = (data as { rules?: unknown } | null)?.rules;
  const rule: unknown =
    first === 'rules' && Array.isArray(rules) && typeof index === 'number' ? rules[index] : undefined;
  const id = (rule as { id?: unknown } | null | undefined)?.id;
  return typeof id === 'string' && id !== '' ? { rule: shown(id) } : {};
}

function unknownKey(source: YamlSource, kind: FileKind, path: readonly PathKey[], key: string): void {
  const offset = source.keyOffset(path, key);
  const common = { value: shown(key), ...ruleAt(source.data, path) };
  const keys = Object.keys(schemaAt(kind, path)?.shape ?? {});
  const near = nearest(key, keys);
  const fix = near === undefined ? `the keys here are ${keys.join(', ')}` : `${near}:`;
  source.report(offset, { message: `unknown key ${shown(key)}`, fix, ...common });
}

function badKey(source: YamlSource, path: readonly PathKey[]): void {
  const key = String(path.at(-1));
  const bare = key.replace(/^\$/, '').replace(/[^A-Za-z0-9_]/g, '_');
  const fix = /^[0-9]|^$/.test(bare) ? `_${bare}:` : `${bare}:`;
  const message = 'a definition is named by letters, digits and _, at most 128, and written without the $';
  source.report(source.keyOffset(path.slice(0, -1), key), { message, value: shown(key), fix });
}

function isMissing(source: YamlSource, path: readonly PathKey[]): boolean {
  if (typeof path.at(-1) !== 'string') return false;
  const parent = path
    .slice(0, -1)
    .reduce<unknown>((value, key) => (value as Record<PathKey, unknown>)?.[key], source.data);
  return typeof parent === 'object' && parent !== null && !Object.hasOwn(parent, path.at(-1) as string);
}

function missing(source: YamlSource, kind: FileKind, path: readonly PathKey[]): void {
  const key = String(path.at(-1));
  const { example, description } = wanted(kind, path);
  const fix = example === undefined ? `add ${key}:` : `add ${key}: ${example}`;
  const message = `${key} is missing${description === undefined ? '' : ` (${description})`}`;
  source.report(source.offsetOf(path.slice(0, -1)), { message, fix, ...ruleAt(source.data, path) });
}

function wrongValue(source: YamlSource, kind: FileKind, path: readonly PathKey[], issue: Issue): void {
  const { name, description, example, options } = wanted(kind, path);
  const value = source.written(path);
  const written = path.reduce<unknown>((at, key) => (at as Record<PathKey, unknown>)?.[key], source.data);
  const near = typeof written === 'string' ? meantOption(written, options) : undefined;
  const fix = near ?? (options.length > 0 ? options.join(' or ') : example);
  const wants = description === undefined ? '' : ` (${description})`;
  source.report(source.offsetOf(path), {
    message: `${name}: ${reason(issue)}${wants}`,
    ...(value === undefined ? {} : { value }),
    ...(fix === undefined ? {} : { fix: name === FILE || name === kind.item ? fix : `${name}: ${fix}` }),
    ...ruleAt(source.data, path),
  });
}

/** How the value is called that no key names. */
const FILE = 'the file';

/** Words of other rule languages for ours. */
const SYNONYMS: ReadonlyMap<string, string> = new Map([
  ...['deny', 'drop', 'reject', 'forbid', 'refuse'].map((word) => [word, 'block'] as const),
  ...['permit', 'accept', 'pass', 'ok'].map((word) => [word, 'allow'] as const),
  ...['tunnel', 'sni', 'passthrough'].map((word) => [word, 'proxy'] as const),
  ...['mitm', 'decrypt', 'inspect'].map((word) => [word, 'intercept'] as const),
]);

function meantOption(written: string, options: readonly string[]): string | undefined {
  const synonym = SYNONYMS.get(written.toLowerCase());
  return synonym !== undefined && options.includes(synonym) ? synonym : nearest(written, options);
}

function reason(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${WORDS.get(issue.expected) ?? issue.expected}`;
    case 'invalid_value':
      return `must be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`;
    case 'too_small':
      return `too ${issue.origin === 'number' || issue.origin === 'int' ? 'small' : 'short'}; at least ${issue.minimum}`;
    case 'too_big':
      return `too ${issue.origin === 'number' || issue.origin === 'int' ? 'large' : 'long'}; at most ${issue.maximum}`;
    default:
      return 'not a value of this form';
  }
}

const WORDS: ReadonlyMap<string, string> = new Map([
  ['string', 'a string'],
  ['number', 'a number'],
  ['int', 'a whole number'],
  ['boolean', 'true or false'],
  ['array', 'a list'],
  ['object', 'a mapping'],
  ['record', 'a mapping'],
]);

/** What the schema says of the value at a path; of the list where the path is an item of one. */
function wanted(
  kind: FileKind,
  path: readonly PathKey[],
): { name: string; description?: string; example?: string; options: string[] } {
  const named = typeof path.at(-1) === 'number' && path.length > 2 ? path.slice(0, -1) : path;
  const field = typeof named.at(-1) === 'number' && named.length > 2 ? named.slice(0, -1) : named;
  const key = field.findLast((part) => typeof part === 'string') ?? FILE;
  const name = typeof field.at(-1) === 'number' ? kind.item : String(key);
  const meta = metaAt(kind, field);
  const [first] = meta?.examples ?? [];
  const options = enumAt(kind, field);
  return {
    name,
    options,
    ...(meta?.description === undefined ? {} : { description: meta.description }),
    ...(first === undefined ? {} : { example: yamlExample(first) }),
  };
}

function yamlExample(example: unknown): string {
  if (example === '1') return '"1"';
  if (Array.isArray(example)) return `[${example.join(', ')}]`;
  return typeof example === 'object' ? JSON.stringify(example) : String(example);
}

interface AnySchema {
  readonly shape?: Record<string, AnySchema>;
  readonly element?: AnySchema;
  readonly options?: readonly string[];
  readonly def?: { readonly innerType?: AnySchema; readonly valueType?: AnySchema };
  meta?(): { description?: string; examples?: readonly unknown[] } | undefined;
}

function metaAt(
  kind: FileKind,
  path: readonly PathKey[],
): { description?: string; examples?: readonly unknown[] } | undefined {
  return wrappedAt(kind, path)?.meta?.();
}

function enumAt(kind: FileKind, path: readonly PathKey[]): string[] {
  return [...(schemaAt(kind, path)?.options ?? [])];
}

function schemaAt(kind: FileKind, path: readonly PathKey[]): AnySchema | undefined {
  return unwrap(wrappedAt(kind, path));
}

function wrappedAt(kind: FileKind, path: readonly PathKey[]): AnySchema | undefined {
  let schema: AnySchema | undefined = kind.schema as unknown as AnySchema;
  for (const key of path) {
    const inner = unwrap(schema);
    schema = typeof key === 'number' ? inner?.element : (inner?.shape?.[key] ?? inner?.def?.valueType);
  }
  return schema;
}

function unwrap(schema: AnySchema | undefined): AnySchema | undefined {
  let inner = schema;
  while (inner?.def?.innerType !== undefined) inner = inner.def.innerType;
  return inner;
}
