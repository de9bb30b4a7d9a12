/**
 * The operators, functions and methods of conditions, on known values. Each charges the budget for work that grows
 * with its input. Types are checked again here because a `dyn` value has none until it is seen. Upholds: threat 31.
 */
import {
  type Budget,
  CelError,
  equal,
  isList,
  isMap,
  isNumber,
  type Known,
  mapGet,
  mapSize,
  OUT_OF_BUDGET,
  STEPS_PER_KEY,
  spendChars,
  typeName,
  type Value,
} from './cel-value.ts';

export type UnaryOperation = (a: Known, budget: Budget) => Value;
export type BinaryOperation = (a: Known, b: Known, budget: Budget) => Value;
export type TernaryOperation = (a: Known, b: Known, c: Known, budget: Budget) => Value;

/** CEL's int is 64 bits, signed. */
const MAX_INT = 2n ** 63n - 1n;
const MIN_INT = -(2n ** 63n);
/** The doubles that convert to an int without leaving its range. */
const INT_LIMIT = 2 ** 63;
/** Longest key repeated in an error, in characters. */
const MAX_KEY_SHOWN = 100;

export const BINARY_OPERATIONS: ReadonlyMap<string, BinaryOperation> = new Map<string, BinaryOperation>([
  ['==', equal],
  ['!=', (a, b, budget) => not(equal(a, b, budget))],
  ['<', (a, b, budget) => compare('<', a, b, budget, (order) => order < 0)],
  ['<=', (a, b, budget) => compare('<=', a, b, budget, (order) => order <= 0)],
  ['>', (a, b, budget) => compare('>', a, b, budget, (order) => order > 0)],
  ['>=', (a, b, budget) => compare('>=', a, b, budget, (order) => order >= 0)],
  ['in', contained],
  ['+', add],
  [
    '-',
    (a, b) =>
      arithmetic(
        '-',
        a,
        b,
        (x, y) => x - y,
        (x, y) => x - y,
      ),
  ],
  [
    '*',
    (a, b) =>
      arithmetic(
        '*',
        a,
        b,
        (x, y) => x * y,
        (x, y) => x * y,
      ),
  ],
  [
    '/',
    (a, b) =>
      isZero(b)
        ? divisionByZero()
        : arithmetic(
            '/',
            a,
            b,
            (x, y) => x / y,
            (x, y) => x / y,
          ),
  ],
  ['%', (a, b) => (isZero(b) ? divisionByZero() : arithmetic('%', a, b, (x, y) => x % y, undefined))],
]);

/** Functions called as `name(x)`. */
export const FUNCTIONS: ReadonlyMap<string, UnaryOperation> = new Map<string, UnaryOperation>([
  ['size', size],
  ['dyn', (value) => value],
  ['int', toInt],
  ['double', toDouble],
  ['string', toText],
  ['bool', toBool],
]);

/** Methods called as `a.name()`. */
export const UNARY_METHODS: ReadonlyMap<string, UnaryOperation> = new Map<string, UnaryOperation>([
  ['size', size],
  ['lowerAscii', onText('lowerAscii', (text) => text.replace(/[A-Z]+/g, (part) => part.toLowerCase()))],
  ['upperAscii', onText('upperAscii', (text) => text.replace(/[a-z]+/g, (part) => part.toUpperCase()))],
  ['trim', onText('trim', (text) => text.trim())],
  ['join', (list, budget) => join(list, '', budget)],
]);

/** Methods called as `a.name(b)`. */
export const BINARY_METHODS: ReadonlyMap<string, BinaryOperation> = new Map<string, BinaryOperation>([
  ['startsWith', onTexts('startsWith', (text, start) => text.startsWith(start))],
  ['endsWith', onTexts('endsWith', (text, end) => text.endsWith(end))],
  ['contains', onTexts('contains', (text, part) => text.includes(part))],
  ['indexOf', onTexts('indexOf', (text, part) => BigInt(text.indexOf(part)))],
  ['lastIndexOf', onTexts('lastIndexOf', (text, part) => BigInt(text.lastIndexOf(part)))],
  ['split', split],
  ['substring', (text, start) => substring(text, start, undefined)],
  ['join', join],
]);

/** Methods called as `a.name(b, c)`. */
export const TERNARY_METHODS: ReadonlyMap<string, TernaryOperation> = new Map<string, TernaryOperation>([
  ['substring', (text, start, end) => substring(text, start, end)],
]);

/** `!x` and `-x`. */
export function negate(op: '!_' | '-_', value: Known): Value {
  if (op === '!_') return typeof value === 'boolean' ? !value : noOverload('!', value);
  if (typeof value === 'number') return -value;
  return typeof value === 'bigint' ? inRange(-value) : noOverload('-', value);
}

/** `collection[key]`. */
export function indexInto(collection: Known, key: Known): Value {
  if (isList(collection)) return listItem(collection, key);
  if (!isMap(collection)) return noOverload('[]', collection, key);
  const value = mapGet(collection, key);
  return value === undefined ? noSuchKey(key) : value;
}

export function noSuchKey(key: Known): CelError {
  return new CelError(
    'no_such_key',
    `no such key: ${typeof key === 'string' ? key.slice(0, MAX_KEY_SHOWN) : typeName(key)}`,
  );
}

export function noOverload(name: string, ...args: readonly Known[]): CelError {
  return new CelError('no_such_overload', `${name} does not take ${args.map(typeName).join(', ')}`);
}

function listItem(list: readonly Known[], key: Known): Value {
  if (!isNumber(key)) return noOverload('[]', list, key);
  const item = list[Number(key)];
  return item === undefined ? new CelError('no_such_key', `the list has no item ${key}`) : item;
}

function not(value: boolean | CelError): boolean | CelError {
  return typeof value === 'boolean' ? !value : value;
}

function compare(op: string, a: Known, b: Known, budget: Budget, test: (order: number) => boolean): Value {
  if (isNumber(a) && isNumber(b)) return Number.isNaN(a) || Number.isNaN(b) ? false : test(a < b ? -1 : a > b ? 1 : 0);
  if (typeof a === 'boolean' && typeof b === 'boolean') return test(Number(a) - Number(b));
  if (typeof a !== 'string' || typeof b !== 'string') return noOverload(op, a, b);
  if (spendChars(budget, Math.min(a.length, b.length))) return OUT_OF_BUDGET;
  return test(a < b ? -1 : a > b ? 1 : 0);
}

function contained(item: Known, collection: Known, budget: Budget): Value {
  if (isMap(collection)) return mapGet(collection, item) !== undefined;
  if (!isList(collection)) return noOverload('in', item, collection);
  for (const other of collection) {
    if (budget.spend(1)) return OUT_OF_BUDGET;
    const same = equal(item, other, budget);
    if (same !== false) return same;
  }
  return false;
}

function add(a: Known, b: Known, budget: Budget): Value {
  if (typeof a === 'string' && typeof b === 'string') {
    return spendChars(budget, a.length + b.length) ? OUT_OF_BUDGET : a + b;
  }
  if (isList(a) && isList(b)) return budget.spend(a.length + b.length) ? OUT_OF_BUDGET : [...a, ...b];
  return arithmetic(
    '+',
    a,
    b,
    (x, y) => x + y,
    (x, y) => x + y,
  );
}

function arithmetic(
  op: string,
  a: Known,
  b: Known,
  ints: (x: bigint, y: bigint) => bigint,
  doubles: ((x: number, y: number) => number) | undefined,
): Value {
  if (typeof a === 'bigint' && typeof b === 'bigint') return inRange(ints(a, b));
  if (typeof a === 'number' && typeof b === 'number' && doubles !== undefined) return doubles(a, b);
  return noOverload(op, a, b);
}

function inRange(int: bigint): Value {
  return int >= MIN_INT && int <= MAX_INT ? int : new CelError('range', 'the integer does not fit in 64 bits');
}

function isZero(value: Known): boolean {
  return value === 0n;
}

function divisionByZero(): CelError {
  return new CelError('range', 'division by zero');
}

/** Characters are Unicode code points, items or entries. */
function size(value: Known, budget: Budget): Value {
  if (typeof value === 'string') {
    if (budget.spend(value.length >> 2)) return OUT_OF_BUDGET;
    let points = 0;
    for (const _ of value) points++;
    return BigInt(points);
  }
  if (isList(value)) return BigInt(value.length);
  if (!isMap(value)) return noOverload('size', value);
  const entries = mapSize(value);
  return budget.spend(STEPS_PER_KEY * entries) ? OUT_OF_BUDGET : BigInt(entries);
}

function toInt(value: Known): Value {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') {
    return Math.abs(value) < INT_LIMIT ? BigInt(Math.trunc(value)) : new CelError('range', 'int(): out of range');
  }
  if (typeof value !== 'string') return noOverload('int', value);
  return /^-?[0-9]{1,19}$/.test(value) ? inRange(BigInt(value)) : new CelError('conversion', 'int(): not an integer');
}

function toDouble(value: Known): Value {
  if (isNumber(value)) return Number(value);
  if (typeof value !== 'string') return noOverload('double', value);
  const number = /^\s|\s$|^$|^[-+]?0[box]/i.test(value) ? Number.NaN : Number(value);
  return Number.isNaN(number) && value !== 'NaN' ? new CelError('conversion', 'double(): not a number') : number;
}

function toText(value: Known): Value {
  if (typeof value === 'string') return value;
  return isNumber(value) || typeof value === 'boolean' ? String(value) : noOverload('string', value);
}

function toBool(value: Known): Value {
  if (typeof value === 'boolean') return value;
  if (typeof value !== 'string') return noOverload('bool', value);
  if (['1', 't', 'true', 'TRUE', 'True'].includes(value)) return true;
  if (['0', 'f', 'false', 'FALSE', 'False'].includes(value)) return false;
  return new CelError('conversion', 'bool(): not a boolean');
}

function onText(name: string, apply: (text: string) => Value): UnaryOperation {
  return (text, budget) => {
    if (typeof text !== 'string') return noOverload(name, text);
    return spendChars(budget, text.length) ? OUT_OF_BUDGET : apply(text);
  };
}

function onTexts(name: string, apply: (text: string, part: string) => Value): BinaryOperation {
  return (text, part, budget) => {
    if (typeof text !== 'string' || typeof part !== 'string') return noOverload(name, text, part);
    return spendChars(budget, text.length) ? OUT_OF_BUDGET : apply(text, part);
  };
}

function split(text: Known, separator: Known, budget: Budget): Value {
  if (typeof text !== 'string' || typeof separator !== 'string') return noOverload('split', text, separator);
  return budget.spend(text.length) ? OUT_OF_BUDGET : text.split(separator);
}

/** Positions count UTF-16 units; they must lie within the text and in order. */
function substring(text: Known, start: Known, end: Known | undefined): Value {
  const to = end ?? (typeof text === 'string' ? BigInt(text.length) : end);
  if (typeof text !== 'string' || typeof start !== 'bigint' || typeof to !== 'bigint')
    return noOverload('substring', text);
  if (start < 0n || to < start || to > text.length) return new CelError('range', 'substring(): out of range');
  return text.slice(Number(start), Number(to));
}

function join(list: Known, separator: Known, budget: Budget): Value {
  if (!isList(list) || typeof separator !== 'string') return noOverload('join', list);
  let chars = separator.length * list.length;
  for (const item of list) {
    if (typeof item !== 'string') return noOverload('join', item);
    chars += item.length;
  }
  return budget.spend(list.length) || spendChars(budget, chars) ? OUT_OF_BUDGET : list.join(separator);
}
