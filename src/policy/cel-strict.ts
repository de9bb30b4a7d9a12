/**
 * The parts of CEL that need all their operands: an error in one is the answer, else unknown where one is unknown.
 */
import { type BinaryOperation, noOverload, noSuchKey, type TernaryOperation } from './cel-functions.ts';
import { type Budget, CelError, isList, isMap, type Known, mapGet, Optional, type Value } from './cel-value.ts';

type Reader<F extends Budget> = (frame: F) => Value;

export function equalsText<F extends Budget>(
  a: Reader<F>,
  text: string,
  yes: boolean,
  operation: BinaryOperation,
): Reader<F> {
  return (frame) => {
    const value = a(frame);
    if (typeof value === 'string') return (value === text) === yes;
    return value === undefined || value instanceof CelError ? value : operation(value, text, frame);
  };
}

export function inTexts<F extends Budget>(a: Reader<F>, texts: ReadonlySet<Known>): Reader<F> {
  return (frame) => {
    const value = a(frame);
    return value === undefined || value instanceof CelError ? value : texts.has(value);
  };
}

export function optionalIndex(value: Known, key: Known): Value {
  const holder = value instanceof Optional ? value.value : value;
  if (holder === undefined) return new Optional(undefined);
  if (isMap(holder)) return new Optional(mapGet(holder, key));
  if (isList(holder) && typeof key === 'bigint') return new Optional(holder[Number(key)]);
  return isList(holder) ? noSuchKey(key) : noOverload('[?]', holder, key);
}

export function strict<F extends Budget>(read: Reader<F>, operation: (value: Known, frame: F) => Value): Reader<F> {
  return (frame) => {
    const value = read(frame);
    return value === undefined || value instanceof CelError ? value : operation(value, frame);
  };
}

export function strict2<F extends Budget>(left: Reader<F>, right: Reader<F>, operation: BinaryOperation): Reader<F> {
  return (frame) => {
    const a = left(frame);
    if (a instanceof CelError) return a;
    const b = right(frame);
    if (b instanceof CelError) return b;
    return a === undefined || b === undefined ? undefined : operation(a, b, frame);
  };
}

export function strict3<F extends Budget>(
  first: Reader<F>,
  second: Reader<F>,
  third: Reader<F>,
  operation: TernaryOperation,
): Reader<F> {
  return (frame) => {
    const values = allKnown([first, second, third], frame);
    if (!Array.isArray(values)) return values;
    const [a, b, c] = values as [Known, Known, Known];
    return operation(a, b, c, frame);
  };
}

/** The values of all readers; the first error, else undefined where one is unknown. */
export function allKnown<F extends Budget>(readers: readonly Reader<F>[], frame: F): Known[] | CelError | undefined {
  const values: Known[] = [];
  let unknown = false;
  for (const read of readers) {
    const value = read(frame);
    if (value instanceof CelError) return value;
    if (value === undefined) unknown = true;
    else values.push(value);
  }
  return unknown ? undefined : values;
}
