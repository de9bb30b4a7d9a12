/**
 * The parts of a condition, each with its value on the facts of a frame: the operands of `&&`, `||`, `!` and `?:` as
 * lines of their own, and under each what it compares. Macros are one part, since their bodies have no one value.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { dottedPath } from './cel-ast.ts';
import { Compiler } from './cel-compile.ts';
import { withoutComments } from './cel-scan.ts';
import { CelError, type Known, Optional, type Value } from './cel-value.ts';
import type { Frame } from './frame.ts';
import { GROUPS } from './names.ts';
import { shown } from './problem.ts';
import { ruleScope } from './rule-scope.ts';

export interface PartTrace {
  /** As written, definitions expanded, on one line. */
  readonly source: string;
  /** As CEL writes it; `unknown`, or `error: …`. At most some 80 characters. */
  readonly value: string;
  /** How deep it stands in the condition; 0 for its outermost parts. */
  readonly depth: number;
  /** What the part is made of, where that is more than a literal. */
  readonly operands: readonly { readonly source: string; readonly value: string }[];
}

/** In the order in which they are written; the frame is as it is for the whole condition. */
export function partsOf(condition: ASTNode, frame: Frame): readonly PartTrace[] {
  // The outermost operator has the rule's own outcome.
  return (logicalOperands(condition) ?? [condition]).flatMap((node) => partsBelow(node, frame, 0));
}

function partsBelow(node: ASTNode, frame: Frame, depth: number): readonly PartTrace[] {
  const inner = logicalOperands(node);
  const operands = inner === undefined ? operandsOf(node).map((operand) => evaluated(operand, frame)) : [];
  const below = inner?.flatMap((part) => partsBelow(part, frame, depth + 1)) ?? [];
  return [{ ...evaluated(node, frame), depth, operands }, ...below];
}

function logicalOperands(node: ASTNode): readonly ASTNode[] | undefined {
  switch (node.op) {
    case '&&':
    case '||':
      return chain(node, node.op);
    case '!_':
      return [node.args];
    case '?:':
      return node.args;
    default:
      return undefined;
  }
}

/** `a && b && c` is three operands, however it is nested. */
function chain(node: ASTNode, op: '&&' | '||'): readonly ASTNode[] {
  return node.op === op ? [...chain(node.args[0], op), ...chain(node.args[1], op)] : [node];
}

function operandsOf(node: ASTNode): readonly ASTNode[] {
  return directOperands(node).filter(
    (arg) => arg.op !== 'value' && arg.op !== 'list' && !GROUPS.has(dottedPath(arg) ?? ''),
  );
}

function directOperands(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
    case '.':
    case '.?':
    case 'map':
    case '!_':
    case '-_':
      return [];
    case 'call':
      // has() asks for a field and does not read it.
      return node.args[0] === 'has' ? [] : node.args[1];
    case 'rcall':
      return [node.args[1]];
    default:
      return node.args as readonly ASTNode[];
  }
}

function evaluated(node: ASTNode, frame: Frame): { source: string; value: string } {
  const read = new Compiler<Frame>(ruleScope).compile(node);
  frame.refill();
  const source = withoutComments(node.input.slice(node.start, node.end)).replace(/\s+/g, ' ').trim();
  return { source, value: valueText(read(frame)) };
}

function valueText(value: Value): string {
  if (value === undefined) return 'unknown';
  return value instanceof CelError ? `error: ${value.message}` : shown(literal(value));
}

function literal(value: Known): string {
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Optional)
    return value.value === undefined ? 'optional.none()' : `optional.of(${literal(value.value)})`;
  if (value instanceof Map)
    return `{${mapEntries(value)
      .map(([key, item]) => `${literal(key)}: ${literal(item)}`)
      .join(', ')}}`;
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  return JSON.stringify(value);
}

function mapEntries(map: ReadonlyMap<Known, Known>): readonly (readonly [Known, Known])[] {
  return [...map];
}
