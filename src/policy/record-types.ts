/**
 * Which DNS record types a condition names, read off its syntax tree: `dns.record_type == "TXT"`, or `in` a list.
 * Upholds: threat 16 (a rule about a host does not open TXT or NULL, which carry whatever the other side likes).
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { children, dottedPath, stringListLiteral, stringLiteral } from './cel-ast.ts';

/** What a client asks in order to connect: every allow rule for the host is a rule for these. */
export const CONNECTING_TYPES: ReadonlySet<string> = new Set(['A', 'AAAA', 'HTTPS', 'SVCB']);

const RECORD_TYPE = 'dns.record_type';

/** Every type that the condition compares the record type with, whatever it makes of that. */
export function namedRecordTypes(condition: ASTNode): ReadonlySet<string> {
  const named = new Set<string>();
  const pending = [condition];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    for (const type of typesBeside(node)) named.add(type);
    pending.push(...children(node));
  }
  return named;
}

function typesBeside(node: ASTNode): readonly string[] {
  if (node.op !== '==' && node.op !== 'in') return [];
  const [left, right] = node.args;
  const isAbout = dottedPath(left) === RECORD_TYPE || dottedPath(right) === RECORD_TYPE;
  if (!isAbout) return [];
  const texts = node.op === 'in' ? stringListLiteral(right) : [stringLiteral(right) ?? stringLiteral(left)];
  return texts?.filter((text) => text !== undefined) ?? [];
}
