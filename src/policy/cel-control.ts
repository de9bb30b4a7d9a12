/**
 * The parts of CEL that do not evaluate all their operands: logic in three values and an error, branches, loops.
 * What is decided without the missing part is decided; else unknown wins over error, since it may yet decide.
 * Upholds: threat 31 (each turn of a loop is charged by the size of its body).
 */
import {
  type Budget,
  CelError,
  isList,
  isMap,
  type Known,
  mapKeys,
  Optional,
  OUT_OF_BUDGET,
  STEPS_PER_KEY,
  typeName,
  type Value,
} from './cel-value.ts';

type Reader<F extends Budget> = (frame: F) => Value;

export interface Loop<F extends Budget> {
  readonly items: Reader<F>;
  /** Where the variable stands in Budget.locals. */
  readonly slot: number;
  readonly stepsPerItem: number;
}

/** `||` where `dominant` is true, `&&` where it is false. The order of the operands does not change the answer. */
export function logical<F extends Budget>(dominant: boolean, left: Reader<F>, right: Reader<F>): Reader<F> {
  return (frame) => {
    const a = left(frame);
    if (a === dominant) return a;
    const b = right(frame);
    if (b === dominant) return b;
    if (typeof a === 'boolean' && typeof b === 'boolean') return b;
    return undecided(a, b);
  };
}

function undecided(a: Value, b: Value): Value {
  const [left, right] = [notBool(a), notBool(b)];
  if (a === undefined || b === undefined) return undefined;
  return left ?? right;
}

function notBool(value: Value): CelError | undefined {
  if (value === undefined || typeof value === 'boolean') return undefined;
  return value instanceof CelError
    ? value
    : new CelError('no_such_overload', `${typeName(value)} where bool is needed`);
}

/** `condition ? yes : no`; unknown while the condition is, whatever the branches are. */
export function ternary<F extends Budget>(condition: Reader<F>, yes: Reader<F>, no: Reader<F>): Reader<F> {
  return (frame) => {
    const value = condition(frame);
    if (value === true) return yes(frame);
    return value === false ? no(frame) : notBool(value);
  };
}

/** `optional.orValue(default)` and `optional.or(optional)`: the second is read only where the first is empty. */
export function orElse<F extends Budget>(name: 'or' | 'orValue', first: Reader<F>, second: Reader<F>): Reader<F> {
  return (frame) => {
    const value = first(frame);
    if (value === undefined || value instanceof CelError) return value;
    if (!(value instanceof Optional)) return new CelError('no_such_overload', `.${name}() needs an optional`);
    if (value.value === undefined) return second(frame);
    return name === 'or' ? value : value.value;
  };
}

/** `exists` where `dominant` is true, `all` where it is false. */
export function quantifier<F extends Budget>(loop: Loop<F>, dominant: boolean, predicate: Reader<F>): Reader<F> {
  return (frame) => {
    const items = itemsOf(loop.items(frame), frame);
    if (!Array.isArray(items)) return items;
    let unknown = false;
    let error: CelError | undefined;
    for (const item of items) {
      if (frame.spend(loop.stepsPerItem)) return OUT_OF_BUDGET;
      frame.locals[loop.slot] = item;
      const value = predicate(frame);
      if (value === dominant) return dominant;
      if (value === undefined) unknown = true;
      else error ??= notBool(value);
    }
    return unknown ? undefined : (error ?? !dominant);
  };
}

/** `filter` and `map`: the items that the predicate keeps, transformed. Any error is the answer. */
export function comprehension<F extends Budget>(
  loop: Loop<F>,
  predicate: Reader<F> | undefined,
  transform: Reader<F> | undefined,
): Reader<F> {
  return (frame) => {
    const items = itemsOf(loop.items(frame), frame);
    if (!Array.isArray(items)) return items;
    const kept: Known[] = [];
    let unknown = false;
    for (const item of items) {
      if (frame.spend(loop.stepsPerItem)) return OUT_OF_BUDGET;
      frame.locals[loop.slot] = item;
      const keep = predicate === undefined ? true : predicate(frame);
      const value = keep === true && transform !== undefined ? transform(frame) : item;
      const error = value instanceof CelError ? value : notBool(keep);
      if (error !== undefined) return error;
      if (keep === undefined || value === undefined) unknown = true;
      else if (keep === true) kept.push(value as Known);
    }
    return unknown ? undefined : kept;
  };
}

/** The items of a list, or the keys of a map. */
function itemsOf(range: Value, budget: Budget): Known[] | CelError | undefined {
  if (range === undefined || range instanceof CelError) return range;
  if (isList(range)) return range as Known[];
  if (!isMap(range)) return new CelError('no_such_overload', `${typeName(range)} has no items`);
  const keys = mapKeys(range);
  return budget.spend(STEPS_PER_KEY * keys.length) ? OUT_OF_BUDGET : (keys as Known[]);
}
