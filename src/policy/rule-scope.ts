/**
 * What rule conditions may use beside CEL itself: the names of names.ts, and domain(), glob(), cidr(), http.header().
 * Patterns are literals and compiled at load. Upholds: threat 7 (domain() matches on label boundaries).
 */
import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import { stringLiteral } from './cel-ast.ts';
import type { Compiler, Reader, Scope } from './cel-compile.ts';
import { noOverload } from './cel-functions.ts';
import { CelError } from './cel-value.ts';
import type { Frame } from './frame.ts';
import { MAX_AST_NODES, MAX_NESTING } from './limits.ts';
import { cidrMatcher, domainName, globMatcher, type MatcherResult, withinDomain } from './matchers.ts';
import { GROUPS, NAMES, SUBGROUPS } from './names.ts';

/** Only cel-js's type checker sees these; evaluation is ours. */
const TYPES_ONLY = () => {
  throw new TypeError('declared for the type checker only');
};

/** The type checker's view of the same names and calls. */
export function ruleEnvironment(): Environment {
  const environment = new Environment({
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: MAX_AST_NODES, maxDepth: MAX_NESTING },
  });
  // The inner ones first, since the outer ones have fields of their types.
  for (const group of [...SUBGROUPS, ...GROUPS])
    environment.registerType({ name: typeOf(group), schema: fields(group) });
  for (const group of GROUPS) environment.registerVariable(group, typeOf(group));
  const sync = { async: false };
  environment.registerFunction('Http.header(string): string', TYPES_ONLY, sync);
  environment.registerFunction('domain(string, string): bool', TYPES_ONLY, sync);
  environment.registerFunction('glob(string, string): bool', TYPES_ONLY, sync);
  environment.registerFunction('cidr(string, string): bool', TYPES_ONLY, sync);
  return environment;
}

export const ruleScope: Scope<Frame> = {
  name: (path) => NAMES.get(path)?.read,
  call(node, compiler) {
    if (node.op === 'call') return callOf(node.args[0], node.args[1], compiler);
    if (node.op !== 'rcall' || node.args[0] !== 'header') return undefined;
    const [, receiver, args] = node.args;
    return receiver.op === 'id' && receiver.args === 'http' ? header(args[0], compiler) : undefined;
  },
};

/** Type by field, of those right below a group. */
function fields(group: string): Record<string, string> {
  const types = [...NAMES].map(([name, { type }]) => [name, type] as const);
  const groups = [...SUBGROUPS].map((name) => [name, typeOf(name)] as const);
  const own = [...types, ...groups].filter(([name]) => name.slice(0, name.lastIndexOf('.')) === group);
  return Object.fromEntries(own.map(([name, type]) => [name.slice(group.length + 1), type]));
}

/** `HttpResponse` for `http.response`. */
function typeOf(group: string): string {
  return group.replace(/(?:^|\.)([a-z])/g, (_, first: string) => first.toUpperCase());
}

function callOf(name: string, args: readonly ASTNode[], compiler: Compiler<Frame>): Reader<Frame> | undefined {
  const [text, pattern] = args as [ASTNode, ASTNode];
  if (name === 'domain') return domain(text, pattern, compiler);
  if (name === 'glob') return patternCall(name, text, pattern, globMatcher, compiler);
  return name === 'cidr' ? patternCall(name, text, pattern, cidrMatcher, compiler) : undefined;
}

function patternCall(
  name: string,
  text: ASTNode,
  pattern: ASTNode,
  matcherOf: (pattern: string) => MatcherResult,
  compiler: Compiler<Frame>,
): Reader<Frame> {
  const literal = stringLiteral(pattern);
  if (literal === undefined)
    return compiler.refuse(pattern, `the second argument of ${name}() must be a string literal`);
  const result = matcherOf(literal);
  return result.ok
    ? compiler.matching(name, text, result.matcher)
    : compiler.refuse(pattern, result.message, result.fix);
}

function domain(text: ASTNode, name: ASTNode, compiler: Compiler<Frame>): Reader<Frame> {
  const literal = stringLiteral(name);
  if (literal === undefined) return compiler.refuse(name, 'the second argument of domain() must be a string literal');
  const result = domainName(literal);
  if (!result.ok) return compiler.refuse(name, result.message, result.fix && JSON.stringify(result.fix));
  const test = (value: string) => withinDomain(value, result.host);
  return compiler.matching('domain', text, { test, cost: () => 0 });
}

function header(name: ASTNode | undefined, compiler: Compiler<Frame>): Reader<Frame> {
  const literal = stringLiteral(name)?.toLowerCase();
  if (literal !== undefined)
    return (frame) => (frame.headers === undefined ? undefined : (frame.header(literal) ?? ''));
  const read = compiler.compile(name as ASTNode);
  return (frame) => {
    const value = read(frame);
    if (value === undefined || value instanceof CelError) return value;
    if (typeof value !== 'string') return noOverload('header', value);
    return frame.headers === undefined ? undefined : (frame.header(value.toLowerCase()) ?? '');
  };
}
