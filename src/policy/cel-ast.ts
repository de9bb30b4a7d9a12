/**
 * Reading cel-js's syntax tree as it was written: macros are seen as the calls they are, not as their expansion.
 */
import type { ASTNode } from '@marcbachmann/cel-js';

/** Macros that run over a list or map, and where their arguments stand. */
const COMPREHENSIONS: ReadonlyMap<string, readonly number[]> = new Map([
  ['all', [2]],
  ['exists', [2]],
  ['exists_one', [2]],
  ['filter', [2]],
  ['map', [2, 3]],
]);

export function isComprehension(node: ASTNode): boolean {
  return node.op === 'rcall' && COMPREHENSIONS.get(node.args[0])?.includes(node.args[2].length) === true;
}

/** `cel.bind(name, value, expression)`. */
export function isBind(node: ASTNode): boolean {
  if (node.op !== 'rcall' || node.args[0] !== 'bind' || node.args[2].length !== 3) return false;
  return node.args[1].op === 'id' && node.args[1].args === 'cel';
}

export function children(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
      return [];
    case '.':
    case '.?':
      return [node.args[0]];
    case '!_':
    case '-_':
      return [node.args];
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case 'map':
      return node.args.flat();
    default:
      return node.args;
  }
}

export function countNodes(node: ASTNode): number {
  let nodes = 1;
  for (const child of children(node)) nodes += countNodes(child);
  return nodes;
}

/** `a.b.c` for a chain of plain field selections on an identifier, else undefined. */
export function dottedPath(node: ASTNode): string | undefined {
  if (node.op === 'id') return node.args;
  if (node.op !== '.') return undefined;
  const parent = dottedPath(node.args[0]);
  return parent === undefined ? undefined : `${parent}.${node.args[1]}`;
}

/** The text of a string literal, else undefined. */
export function stringLiteral(node: ASTNode | undefined): string | undefined {
  return node?.op === 'value' && typeof node.args === 'string' ? node.args : undefined;
}

/** The texts of a list of string literals, else undefined. */
export function stringListLiteral(node: ASTNode): readonly string[] | undefined {
  if (node.op !== 'list') return undefined;
  const texts = node.args.map(stringLiteral);
  return texts.every((text) => text !== undefined) ? texts : undefined;
}
