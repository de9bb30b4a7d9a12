/**
 * Which hosts a condition can be about, read off its syntax tree. The promise: for every host outside the scope the
 * condition is false, and not an error and not unknown; so a rule may be skipped there without being evaluated.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { children, dottedPath, stringListLiteral, stringLiteral } from './cel-ast.ts';
import { HOST_NAMES } from './names.ts';

/** `any` host, or the hosts in `exact` and every name below one in `below` (on label boundaries). */
export type HostScope = 'any' | { readonly exact: ReadonlySet<string>; readonly below: ReadonlySet<string> };

export function hostScope(node: ASTNode): HostScope {
  switch (node.op) {
    case '&&':
      return intersection(hostScope(node.args[0]), hostScope(node.args[1]));
    case '||':
      return union(hostScope(node.args[0]), hostScope(node.args[1]));
    case '==':
      return equality(node.args[0], node.args[1]);
    case 'in':
      return membership(node.args[0], node.args[1]);
    case 'call':
      return node.args[0] === 'domain' ? domain(node.args[1]) : 'any';
    case 'rcall':
      return node.args[0] === 'endsWith' ? suffix(node.args[1], node.args[2][0]) : 'any';
    case 'value':
      return node.args === false ? hosts([]) : 'any';
    default:
      return 'any';
  }
}

export interface NamedHosts {
  readonly exact: readonly string[];
  readonly below: readonly string[];
  /** Hosts that are not named, each by itself or as one below a name, are all alike to the condition. */
  readonly alike: boolean;
}

/** The hosts that a condition names, wherever it does. */
export function namedHosts(node: ASTNode): NamedHosts {
  if (node.op === '&&' || node.op === '||') {
    const [left, right] = [namedHosts(node.args[0]), namedHosts(node.args[1])];
    return {
      exact: [...left.exact, ...right.exact],
      below: [...left.below, ...right.below],
      alike: left.alike && right.alike,
    };
  }
  const scope = hostScope(node);
  if (scope === 'any') return { exact: [], below: [], alike: !mentionsHost(node) };
  // A suffix without a dot in front ends longer labels too.
  const cutsLabels = node.op === 'rcall' && stringLiteral(node.args[2][0])?.startsWith('.') !== true;
  return { exact: [...scope.exact], below: [...scope.below], alike: !cutsLabels };
}

function mentionsHost(node: ASTNode): boolean {
  const path = dottedPath(node);
  if (path !== undefined && (HOST_NAMES.has(path) || path === 'network.ip')) return true;
  return children(node).some(mentionsHost);
}

/** The names above a host, nearest first: `b.c` and `c` for `a.b.c`. */
export function* parents(host: string): Generator<string> {
  for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) yield host.slice(dot + 1);
}

function scopeHolds(scope: HostScope, host: string): boolean {
  if (scope === 'any' || scope.exact.has(host)) return true;
  for (const parent of parents(host)) if (scope.below.has(parent)) return true;
  return false;
}

function hosts(exact: Iterable<string>, below: Iterable<string> = []): HostScope {
  return { exact: new Set(exact), below: new Set(below) };
}

function isHostName(node: ASTNode): boolean {
  const path = dottedPath(node);
  return path !== undefined && HOST_NAMES.has(path);
}

function equality(left: ASTNode, right: ASTNode): HostScope {
  const text = isHostName(left) ? stringLiteral(right) : isHostName(right) ? stringLiteral(left) : undefined;
  // tls.sni is "" for plain HTTP, whatever the host.
  return text === undefined || text === '' ? 'any' : hosts([text]);
}

function membership(item: ASTNode, list: ASTNode): HostScope {
  const texts = isHostName(item) ? stringListLiteral(list) : undefined;
  return texts === undefined || texts.includes('') ? 'any' : hosts(texts);
}

function domain([text, name]: readonly ASTNode[]): HostScope {
  const literal = text !== undefined && isHostName(text) ? stringLiteral(name) : undefined;
  return literal === undefined ? 'any' : hosts([literal], [literal]);
}

/** `.x.com` is every name below x.com; `x.com` may also end a longer label, so all that is sure is its parent, com. */
function suffix(text: ASTNode, end: ASTNode | undefined): HostScope {
  const literal = isHostName(text) ? stringLiteral(end) : undefined;
  const dot = literal?.indexOf('.') ?? -1;
  return literal === undefined || dot === -1 ? 'any' : hosts([], [literal.slice(dot + 1)]);
}

function union(a: HostScope, b: HostScope): HostScope {
  return a === 'any' || b === 'any' ? 'any' : hosts([...a.exact, ...b.exact], [...a.below, ...b.below]);
}

function intersection(a: HostScope, b: HostScope): HostScope {
  if (a === 'any') return b;
  if (b === 'any') return a;
  const exact = [
    ...[...a.exact].filter((host) => scopeHolds(b, host)),
    ...[...b.exact].filter((host) => scopeHolds(a, host)),
  ];
  const within = (name: string, scope: typeof a) =>
    scope.below.has(name) || [...parents(name)].some((p) => scope.below.has(p));
  const below = [...[...a.below].filter((name) => within(name, b)), ...[...b.below].filter((name) => within(name, a))];
  return hosts(exact, below);
}
