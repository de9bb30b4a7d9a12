/**
 * What the kernel holds of our table, written as the lines of ruleset.ts, so that the two can be compared. Counters,
 * handles and times are left out. An object or expression that we never write becomes a line of JSON, and so a difference.
 * Format: libnftables-json(5). Runs nothing.
 */
import { type Ipv4, parseIpv4 } from '../domain/ipv4-range.ts';
import { chainLine, type GrantElement, setLine } from './ruleset.ts';

/** Of IANA. Where there is no /etc/protocols, as in slim images, nft writes it as a number. */
const IPPROTO_TCP = 6;

/** A grant that is in force. */
export interface FoundGrant extends GrantElement {
  readonly expiresSecs: number;
}

export interface FoundTable {
  readonly lines: readonly string[];
  readonly grants: readonly FoundGrant[];
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };
type Fields = { readonly [name: string]: Json };

/** `listing`: the parsed answer to `nft -j list table`. Throws TypeError where it is no such thing. */
export function readTable(listing: unknown): FoundTable {
  const objects = (listing as { nftables?: unknown } | null)?.nftables;
  if (!Array.isArray(objects)) throw new TypeError('nft gave no listing');
  const found = objects as readonly Fields[];
  const rules = all(found, 'rule');
  const chains = all(found, 'chain').flatMap((chain) => [
    chainText(chain),
    ...rules.filter((rule) => rule['chain'] === chain['name']).map(ruleText),
  ]);
  const known = ['metainfo', 'table', 'set', 'chain', 'rule'];
  const strange = found.filter((object) => !known.includes(kindOf(object))).map((object) => JSON.stringify(object));
  const sets = all(found, 'set');
  return { lines: [...sets.map(setText), ...chains, ...strange], grants: sets.flatMap(grantsOf) };
}

/** What is there and should not be, and the reverse; empty when the lines are equal, order included. */
export function differences(expected: readonly string[], found: readonly string[]): readonly string[] {
  const missing = without(expected, found).map((line) => `missing: ${line}`);
  const extra = without(found, expected).map((line) => `added: ${line}`);
  const moved = missing.length + extra.length === 0 && expected.some((line, i) => line !== found[i]);
  return [...missing, ...extra, ...(moved ? ['the rules stand in another order'] : [])];
}

function without(lines: readonly string[], others: readonly string[]): string[] {
  const left = [...others];
  return lines.filter((line) => {
    const at = left.indexOf(line);
    if (at !== -1) left.splice(at, 1);
    return at === -1;
  });
}

function all(objects: readonly Fields[], kind: string): Fields[] {
  return objects.filter((object) => kindOf(object) === kind).map((object) => object[kind] as Fields);
}

function kindOf(object: Fields): string {
  return Object.keys(object)[0] ?? '';
}

function setText(set: Fields): string {
  const { name, type, size, timeout } = set;
  const types = Array.isArray(type) ? type.map(word).join(' . ') : word(type);
  const text = `set ${word(name)}: ${types} size ${word(size)} timeout ${word(timeout)}`;
  return text === setLine() ? text : `${text} ${JSON.stringify(set['flags'] ?? null)}`;
}

function chainText({ name, type, hook, prio, policy }: Fields): string {
  if (hook === undefined) return `chain ${word(name)}`;
  const line = chainLine(word(name), { hook: word(hook), priority: word(prio), policy: word(policy) });
  return type === 'filter' ? line : `${line} type ${word(type)}`;
}

function ruleText({ chain, expr }: Fields): string {
  return `${word(chain)}: ${(expr as readonly Fields[]).map(statementText).join(' ')}`;
}

function statementText(statement: Fields): string {
  const kind = kindOf(statement);
  const value = statement[kind] as Fields;
  switch (kind) {
    case 'accept':
    case 'drop':
      return kind;
    case 'jump':
      return `jump ${word(value['target'])}`;
    case 'reject':
      return `reject with ${word(value['type'])}`;
    case 'tproxy':
      return `tproxy ${word(value['family'])} to ${word(value['addr'])}:${word(value['port'])}`;
    case 'match':
      return matchText(value);
    case 'set':
      return updateText(value);
    default:
      return JSON.stringify(statement);
  }
}

function matchText({ op, left, right }: Fields): string {
  const subject = fieldText(left);
  const isName = subject === 'iifname' || subject === 'oifname';
  const isTcp = subject === 'meta l4proto' && right === IPPROTO_TCP;
  const object = isName ? JSON.stringify(right) : valueText(isTcp ? 'tcp' : right);
  return op === '==' || op === 'in' ? `${subject} ${object}` : `${subject} ${word(op)} ${object}`;
}

function updateText({ op, elem, set }: Fields): string {
  const { val, timeout } = fieldsOf(fieldsOf(elem)['elem']);
  return `${word(op)} ${word(set)} { ${fieldText(val)} timeout ${word(timeout)}s }`;
}

/** `ip daddr`, `iifname`, `meta nfproto`, `ct state`, or several of them joined. */
function fieldText(given: Json | undefined): string {
  const field = fieldsOf(given);
  const kind = kindOf(field);
  const value = field[kind];
  if (kind === 'concat' && Array.isArray(value)) return value.map(fieldText).join(' . ');
  const { key, protocol, field: name } = fieldsOf(value);
  if (kind === 'payload') return `${word(protocol)} ${word(name)}`;
  if (kind === 'ct') return `ct ${word(key)}`;
  if (kind === 'meta') return key === 'iifname' || key === 'oifname' ? key : `meta ${word(key)}`;
  return word(given);
}

function valueText(value: Json | undefined): string {
  if (Array.isArray(value)) return value.map(valueText).join(',');
  const { prefix, set } = fieldsOf(value);
  if (prefix !== undefined) return `${word(fieldsOf(prefix)['addr'])}/${word(fieldsOf(prefix)['len'])}`;
  return Array.isArray(set) ? `{ ${set.map(valueText).join(', ')} }` : word(value);
}

/** Text and numbers as they are, anything else as JSON, which is no word of ours. */
function word(value: Json | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : JSON.stringify(value ?? null);
}

function fieldsOf(value: Json | undefined): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** `{"elem": {"val": {"concat": ["10.203.128.1", 22]}, "timeout": 600, "expires": 597}}` each. */
function grantsOf(set: Fields): FoundGrant[] {
  const elements = Array.isArray(set['elem']) ? set['elem'] : [];
  return (elements as readonly Json[]).flatMap((element) => {
    // One that never expires, which none of ours is, stands there without the wrapping.
    const { val = element, expires } = fieldsOf(fieldsOf(element)['elem']);
    const pair = fieldsOf(val)['concat'];
    const [address, port] = (Array.isArray(pair) ? pair : []) as readonly Json[];
    const parsed: Ipv4 | undefined = parseIpv4(word(address));
    return parsed === undefined || typeof port !== 'number'
      ? []
      : [{ address: parsed, port, expiresSecs: typeof expires === 'number' ? expires : 0 }];
  });
}
