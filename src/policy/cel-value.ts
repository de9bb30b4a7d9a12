/**
 * The values that conditions compute with, and what "no value" means: `undefined` is unknown (not yet seen),
 * a CelError is an evaluation that failed. Both are values, never exceptions, so that `&&` and `||` can absorb them.
 * Only own properties of an object are ever read. Upholds: threats 28, 31.
 */
import { EVALUATION_STEPS } from './limits.ts';

export class CelError {
  readonly code: 'no_such_key' | 'no_value' | 'no_such_overload' | 'range' | 'conversion' | 'budget';
  readonly message: string;

  constructor(code: CelError['code'], message: string) {
    this.code = code;
    this.message = message;
  }
}

export class Optional {
  readonly value: Known | undefined;

  constructor(value: Known | undefined) {
    this.value = value;
  }
}

export type CelList = readonly Known[];
export type CelMap = ReadonlyMap<Known, Known> | { readonly [key: string]: Known };
/** int is bigint, double is number. */
export type Known = string | bigint | number | boolean | null | CelList | CelMap | Optional;
export type Value = Known | CelError | undefined;

/** What an evaluation may still spend, and the variables of its comprehensions. */
export class Budget {
  steps = EVALUATION_STEPS;
  readonly locals: Value[] = [];

  /** Takes steps; true when there are none left, and from then on. */
  spend(steps: number): boolean {
    this.steps -= steps;
    return this.steps < 0;
  }
}

export const OUT_OF_BUDGET = new CelError('budget', 'the condition took too many steps');

/** Characters of plain string work per step. */
const CHARS_PER_STEP_LOG2 = 4;

/** Charges for looking at so many characters. */
export function spendChars(budget: Budget, chars: number): boolean {
  return budget.spend(chars >> CHARS_PER_STEP_LOG2);
}

export function typeName(value: Known): string {
  if (value === null) return 'null';
  if (typeof value === 'bigint') return 'int';
  if (typeof value === 'number') return 'double';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'string') return 'string';
  if (value instanceof Optional) return 'optional';
  return isList(value) ? 'list' : 'map';
}

export function isList(value: Known): value is CelList {
  return Array.isArray(value);
}

export function isMap(value: Known): value is CelMap {
  return typeof value === 'object' && value !== null && !isList(value) && !(value instanceof Optional);
}

export function isNumber(value: Known): value is bigint | number {
  return typeof value === 'bigint' || typeof value === 'number';
}

/** The value under a key, or undefined; a whole double finds an int key, as CEL's equality has it. */
export function mapGet(map: CelMap, key: Known): Known | undefined {
  if (map instanceof Map) {
    return map.get(typeof key === 'number' && Number.isSafeInteger(key) ? BigInt(key) : key) as Known | undefined;
  }
  return typeof key === 'string' && Object.hasOwn(map, key)
    ? (map as { readonly [key: string]: Known })[key]
    : undefined;
}

/** Listing the keys of a large object costs more than a step for each. */
export const STEPS_PER_KEY = 4;

export function mapKeys(map: CelMap): CelList {
  return map instanceof Map ? [...(map as ReadonlyMap<Known, Known>).keys()] : Object.keys(map);
}

export function mapSize(map: CelMap): number {
  return map instanceof Map ? map.size : Object.keys(map).length;
}

/** CEL equality: numbers by value across types, lists and maps by content, other types are simply not equal. */
export function equal(a: Known, b: Known, budget: Budget): boolean | CelError {
  if (typeof a === 'string' && typeof b === 'string') {
    if (a.length !== b.length) return false;
    return spendChars(budget, a.length) ? OUT_OF_BUDGET : a === b;
  }
  // biome-ignore lint/suspicious/noDoubleEquals: int and double compare by value across their types
  if (isNumber(a) && isNumber(b)) return a == b;
  if (a instanceof Optional || b instanceof Optional) return equalOptionals(a, b, budget);
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (isList(a)) return isList(b) ? equalLists(a, b, budget) : false;
  return isList(b) ? false : equalMaps(a, b, budget);
}

function equalOptionals(a: Known, b: Known, budget: Budget): boolean | CelError {
  if (!(a instanceof Optional && b instanceof Optional)) return false;
  if (a.value === undefined || b.value === undefined) return a.value === b.value;
  return equal(a.value, b.value, budget);
}

function equalLists(a: CelList, b: CelList, budget: Budget): boolean | CelError {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (budget.spend(1)) return OUT_OF_BUDGET;
    const same = equal(a[i] as Known, b[i] as Known, budget);
    if (same !== true) return same;
  }
  return true;
}

function equalMaps(a: CelMap, b: CelMap, budget: Budget): boolean | CelError {
  const keys = mapKeys(a);
  if (budget.spend(STEPS_PER_KEY * keys.length)) return OUT_OF_BUDGET;
  if (keys.length !== mapSize(b)) return false;
  for (const key of keys) {
    const other = mapGet(b, key);
    if (other === undefined) return false;
    const same = equal(mapGet(a, key) as Known, other, budget);
    if (same !== true) return same;
  }
  return true;
}
