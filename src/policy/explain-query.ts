/**
 * Records hold no query values. Where a decision is explained from one, the target is read with each value that the
 * conditions speak of, and with values that none does: what comes out the same for all of them does not hang on the query.
 */
import { REDACTED } from '../domain/record.ts';

/** Of all ways to fill in the query; beyond it, one parameter is varied at a time. */
const MAX_READINGS = 512;
/** Of values taken from conditions. */
const MAX_VALUES = 32;
/** Some other value, none, and a number. */
const ANY_VALUES = [REDACTED, '', '0'];

/** Targets without redacted values to decide on; the target itself where nothing in it is redacted. */
export function queryReadings(target: string, conditions: readonly string[]): readonly string[] {
  const pieces = target.split(REDACTED);
  const holes = pieces.length - 1;
  if (holes === 0) return [target];
  const values = [...new Set([...ANY_VALUES, ...conditions.flatMap(literalsOf)])].slice(0, MAX_VALUES);
  const fill = (chosen: readonly string[]) =>
    pieces.reduce((text, piece, i) => text + encodeURIComponent(chosen[i - 1] as string) + piece);
  if (values.length ** holes <= MAX_READINGS) return combinations(values, holes).map(fill);
  const some = Array.from({ length: holes }, () => REDACTED);
  return values.flatMap((value) => [fill(some.map(() => value)), ...some.map((_, i) => fill(some.with(i, value)))]);
}

/** String literals that could be a query's value, and what stands after a `=` in a pattern. */
function literalsOf(condition: string): readonly string[] {
  const literals = [...condition.matchAll(/"([^"\\]*)"|'([^'\\]*)'/g)].map(([, a, b]) => a ?? b ?? '');
  const values = literals.filter((text) => !/[()[\]^$|/*]/.test(text));
  const patterned = literals.flatMap((text) => [...text.matchAll(/=([\w.~%-]+)/g)].map(([, value]) => value as string));
  return [...values, ...patterned];
}

function combinations(values: readonly string[], length: number): readonly (readonly string[])[] {
  if (length === 0) return [[]];
  return combinations(values, length - 1).flatMap((rest) => values.map((value) => [value, ...rest]));
}
