/**
 * The guard around conditions: caps first, then cel-js parses, then every name and call is checked (all of them, each
 * with what was probably meant), then cel-js checks types, then the evaluator is compiled.
 * Does not evaluate. Upholds: threats 28 (type-checked to bool at load), 31 (caps before parsing).
 */
import type { ASTNode, Environment } from '@marcbachmann/cel-js';
import { children, dottedPath, isBind, isComprehension, stringLiteral } from './cel-ast.ts';
import { Compiler, type Fault, type Reader } from './cel-compile.ts';
import { BINARY_METHODS, FUNCTIONS, TERNARY_METHODS, UNARY_METHODS } from './cel-functions.ts';
import { tooDeepAt } from './cel-scan.ts';
import type { Frame } from './frame.ts';
import { MAX_AST_NODES, MAX_CONDITION_CHARS, MAX_NESTED_COMPREHENSIONS, MAX_NESTING } from './limits.ts';
import { CERTIFICATE_NAMES, GROUPS, NAMES, RESPONSE_NAMES, SUBGROUPS } from './names.ts';
import { nearest } from './problem.ts';
import { ruleEnvironment, ruleScope } from './rule-scope.ts';

export interface Condition {
  readonly ast: ASTNode;
  readonly read: Reader<Frame>;
  /** Names of names.ts that occur in it. */
  readonly uses: ReadonlySet<string>;
}

export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly faults: readonly Fault[] };

const CALLS: ReadonlySet<string> = new Set([...FUNCTIONS.keys(), 'has', 'domain', 'glob', 'cidr']);
const METHODS: ReadonlySet<string> = new Set([
  ...UNARY_METHODS.keys(),
  ...BINARY_METHODS.keys(),
  ...TERNARY_METHODS.keys(),
  ...['matches', 'header', 'all', 'exists', 'exists_one', 'filter', 'map', 'bind'],
  ...['of', 'none', 'or', 'orValue', 'hasValue', 'value'],
]);

let environment: Environment | undefined;

/** Where an expression stands: names of the other place are refused. */
export type Place = 'condition' | 'response';

/** Compiles a condition whose definitions have been expanded; it must be a bool. */
export function checkCondition(source: string, place: Place = 'condition'): Checked<Condition> {
  const parsed = parseGuarded(source, place);
  if (!parsed.ok) return parsed;
  const check = parsed.value.check();
  if (!check.valid) return refused(typeFault(source, check.error));
  const { ast } = parsed.value;
  if (check.type !== 'bool') {
    const fix = check.type === 'dyn' ? 'compare it, as in `… == true`' : 'write a comparison';
    return refused({
      start: 0,
      end: source.length,
      message: `a condition must be bool, this is ${check.type}`,
      value: source,
      fix,
    });
  }
  const compiler = new Compiler(ruleScope);
  const read = compiler.compile(ast);
  if (compiler.faults.length > 0) return { ok: false, faults: compiler.faults };
  return { ok: true, value: { ast, read, uses: parsed.value.uses } };
}

/** Parses an expression of any type and checks its caps and names: what can be said of a definition by itself. */
export function checkExpression(source: string): Checked<void> {
  const parsed = parseGuarded(source, undefined);
  return parsed.ok ? { ok: true, value: undefined } : parsed;
}

interface Parsed {
  readonly ast: ASTNode;
  readonly check: () => { valid: boolean; type?: string; error?: unknown };
  readonly uses: ReadonlySet<string>;
}

function parseGuarded(source: string, place: Place | undefined): Checked<Parsed> {
  const tooLong = source.length > MAX_CONDITION_CHARS;
  if (tooLong) return refused(whole(source, `longer than ${MAX_CONDITION_CHARS} characters`, 'split it into rules'));
  if (source.trim() === '')
    return refused(whole(source, 'the condition is empty', 'write `true` for a rule that always matches'));
  const deep = tooDeepAt(source, MAX_NESTING);
  if (deep !== undefined) {
    return refused({
      start: deep,
      end: deep + 1,
      message: `nested deeper than ${MAX_NESTING}`,
      fix: 'use fewer brackets',
    });
  }
  environment ??= ruleEnvironment();
  try {
    const program = environment.parse(source);
    const names = new NameCheck(place);
    names.visit(program.ast, [], 0);
    if (names.faults.length > 0) return { ok: false, faults: names.faults };
    return { ok: true, value: { ast: program.ast, check: () => program.check(), uses: names.uses } };
  } catch (error) {
    return refused(typeFault(source, error));
  }
}

function refused(fault: Fault): Checked<never> {
  return { ok: false, faults: [fault] };
}

function whole(source: string, message: string, fix: string): Fault {
  return { start: 0, end: source.length, message, fix };
}

/** A parse or type error of cel-js, in our words where it has a limit's name in it. */
function typeFault(source: string, error: unknown): Fault {
  const { summary, message, range, code } = error as {
    summary?: string;
    message?: string;
    range?: { start: number; end: number };
    code?: string;
  };
  const start = Math.min(range?.start ?? 0, source.length);
  const end = Math.max(start, range?.end ?? source.length);
  if (code === 'limit_exceeded') {
    const limit = summary?.includes('maxAstNodes')
      ? `has more than ${MAX_AST_NODES} syntax nodes`
      : 'exceeds a limit: ';
    const detail = summary?.includes('maxAstNodes') ? '' : (summary ?? '');
    return { start, end, message: `the condition ${limit}${detail}`, fix: 'split it into rules' };
  }
  const value = source.slice(start, end);
  const syntax = code !== undefined && /^(?:unexpected|expected)_/.test(code);
  if (syntax) return syntaxFault(start, end, value);
  const text = summary ?? message?.split('\n', 1)[0] ?? String(error);
  const fix = typeFix(text);
  return { start, end, message: text, value, ...(fix === undefined ? {} : { fix }) };
}

/** Other languages' operators for CEL's. */
const OPERATORS: ReadonlyMap<string, string> = new Map([
  ...(['=', '==='] as const).map((word) => [word, '=='] as const),
  ...(['and', 'AND', '&'] as const).map((word) => [word, '&&'] as const),
  ...(['or', 'OR', '|'] as const).map((word) => [word, '||'] as const),
]);

function syntaxFault(start: number, end: number, value: string): Fault {
  const example = 'CEL is written as in: http.host == "example.com" && http.method == "GET"';
  if (value === '') return { start, end, message: 'the condition ends too early', fix: example };
  return { start, end, message: `${value} is not expected here`, value, fix: OPERATORS.get(value) ?? example };
}

function typeFix(message: string): string | undefined {
  if (/list<string> [!=]= string/.test(message))
    return 'a query parameter is the list of its values: == ["value"], or "value" in …';
  if (/\b(int [!=<>]=? double|double [!=<>]=? int|int [!=<>]=? string|string [!=<>]=? int)\b/.test(message)) {
    return 'compare with the same type: 443 is an int, 443.0 a double, "443" a string';
  }
  return undefined;
}

/** Walks a tree as written and finds what it uses, and every name, field and call that does not exist. */
class NameCheck {
  readonly faults: Fault[] = [];
  readonly uses = new Set<string>();
  readonly #place: Place | undefined;

  /** A definition by itself has no place yet. */
  constructor(place: Place | undefined) {
    this.#place = place;
  }

  visit(node: ASTNode, locals: readonly string[], loops: number): void {
    const path = dottedPath(node);
    const root = path?.split('.', 1)[0];
    if (path !== undefined && !locals.includes(root as string)) return this.#name(node, path);
    if (node.op === 'call' && !CALLS.has(node.args[0])) this.#unknownCall(node, node.args[0], CALLS);
    if (node.op === 'rcall') return this.#method(node, locals, loops);
    for (const child of children(node)) this.visit(child, locals, loops);
  }

  #method(node: Extract<ASTNode, { op: 'rcall' }>, locals: readonly string[], loops: number): void {
    const [name, receiver, args] = node.args;
    if (!METHODS.has(name)) return this.#unknownCall(node, name, METHODS);
    const owner = receiver.op === 'id' && !locals.includes(receiver.args) ? receiver.args : undefined;
    const namespaced =
      owner === 'optional' || (owner === 'cel' && isBind(node)) || (owner === 'http' && name === 'header');
    if (name === 'header' && stringLiteral(args[0]) !== undefined) this.uses.add('http.headers');
    if (!namespaced) this.visit(receiver, locals, loops);
    const [variable, ...rest] = args;
    const declares = (isComprehension(node) || isBind(node)) && variable?.op === 'id';
    if (!declares) for (const arg of args) this.visit(arg, locals, loops);
    else this.#body(node, variable.args, rest, locals, isBind(node) ? loops : loops + 1);
  }

  #body(node: ASTNode, variable: string, bodies: readonly ASTNode[], locals: readonly string[], loops: number): void {
    if (loops > MAX_NESTED_COMPREHENSIONS) {
      this.#add(node, `more than ${MAX_NESTED_COMPREHENSIONS} nested comprehensions`, 'flatten the loops');
    }
    if (GROUPS.has(variable))
      this.#add(node, `the variable ${variable} hides the name ${variable}`, 'rename the variable');
    for (const body of bodies) this.visit(body, [...locals, variable], loops);
  }

  #name(node: ASTNode, path: string): void {
    const parts = path.split('.');
    const subgroup = parts.slice(0, 2).join('.');
    // A name may be followed by fields of its value.
    const name = parts.slice(0, SUBGROUPS.has(subgroup) ? 3 : 2).join('.');
    if (NAMES.has(name)) this.#use(node, name);
    else if (GROUPS.has(name) || SUBGROUPS.has(name)) {
      this.#add(node, `${name} is a group of names`, `write one of ${fieldsOf(name).join(', ')}`);
    } else this.#add(node, `${name} is not a name of conditions`, meant(name));
  }

  #use(node: ASTNode, name: string): void {
    this.uses.add(name);
    if (this.#place === 'condition' && RESPONSE_NAMES.has(name)) {
      this.#add(node, `${name} is only known in egress.response`, 'move it there, with mode: intercept');
    } else if (this.#place === 'response' && CERTIFICATE_NAMES.has(name)) {
      this.#add(node, `${name} is not known where the connection is decrypted`, 'leave it out');
    }
  }

  #unknownCall(node: ASTNode, name: string, known: ReadonlySet<string>): void {
    const near = nearest(name, known);
    this.#add(node, `there is no function ${name}()`, near === undefined ? undefined : `${near}()`);
  }

  #add(node: ASTNode, message: string, fix?: string): void {
    const value = node.input.slice(node.start, node.end);
    this.faults.push({ start: node.start, end: node.end, message, value, ...(fix === undefined ? {} : { fix }) });
  }
}

function fieldsOf(group: string): readonly string[] {
  return [...NAMES.keys()].filter((name) => name.startsWith(`${group}.`));
}

/** The name that was probably meant: near in spelling, or the same last part. */
function meant(path: string): string | undefined {
  const last = path.slice(path.lastIndexOf('.') + 1);
  const lasts = [...NAMES.keys()].map((name) => name.slice(name.lastIndexOf('.') + 1));
  const byLast = (word: string | undefined) => [...NAMES.keys()].find((name) => name.endsWith(`.${word}`));
  return nearest(path, NAMES.keys()) ?? (lasts.includes(last) ? byLast(last) : byLast(nearest(last, lasts)));
}
