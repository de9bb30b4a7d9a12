/**
 * Conditions mean what CEL says they mean: the public conformance cases, through the same parser, type checker and
 * evaluator that rules go through.
 */
import { Environment } from '@marcbachmann/cel-js';
import { describe, expect, it } from 'vitest';
import { Compiler } from '../../src/policy/cel-compile.ts';
import { Budget, CelError, equal, type Known, Optional, type Value } from '../../src/policy/cel-value.ts';
import { type CelCase, celCases } from './cel-cases.ts';
import { EXCEPTIONS } from './cel-exceptions.ts';

const cases = celCases();

describe('the cel-spec conformance cases that apply to conditions', () => {
  it('are enough to mean something', () => {
    expect(cases.length).toBeGreaterThan(550);
    expect(Object.keys(EXCEPTIONS).length).toBeLessThan(cases.length / 20);
  });

  it('all have an exception that exists', () => {
    const ids = new Set(cases.map((one) => one.id));
    expect(Object.keys(EXCEPTIONS).filter((id) => !ids.has(id))).toEqual([]);
  });

  it.each(cases.filter((one) => EXCEPTIONS[one.id] === undefined))('$id: $expr', (one) => {
    expect(complaint(one)).toBeUndefined();
  });

  it.each(cases.filter((one) => EXCEPTIONS[one.id] !== undefined))('$id is still an exception: $expr', (one) => {
    expect(complaint(one), 'passes now: remove it from the exceptions').toBeDefined();
  });
});

/** What is wrong with our answer, or undefined. An error due may come at load, which is earlier than CEL asks. */
function complaint(one: CelCase): string | undefined {
  const result = evaluate(one);
  if (one.value === undefined)
    return typeof result === 'string' || result.value instanceof CelError ? undefined : 'gave a value';
  if (typeof result === 'string') return result;
  if (result.value instanceof CelError) return result.value.message;
  const expected = toKnown(one.value);
  if (result.value === undefined) return 'unknown';
  if (typeof expected === 'number' && Number.isNaN(expected)) return Number.isNaN(result.value) ? undefined : 'not NaN';
  const same = typeof expected === typeof result.value && equal(result.value, expected, new Budget());
  return same === true ? undefined : `gave ${String(result.value)}, not ${String(expected)}`;
}

function evaluate({ expr, types, bindings }: CelCase): { value: Value } | string {
  const environment = new Environment({
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
    unlistedVariablesAreDyn: true,
  });
  try {
    for (const { name, type } of types)
      if (!/^(true|false|null)$/.test(name)) environment.registerVariable(name, celType(type));
    const program = environment.parse(expr);
    const check = program.check();
    if (!check.valid) return `refused: ${check.error?.message}`;
    const values = new Map(Object.entries(bindings).map(([name, value]) => [name, toKnown(value)]));
    const compiler = new Compiler<Budget>({
      name: (path) => (values.has(path) ? () => values.get(path) : undefined),
      call: () => undefined,
    });
    const read = compiler.compile(program.ast);
    if (compiler.faults.length > 0) return `refused: ${compiler.faults[0]?.message}`;
    return { value: read(new Budget()) };
  } catch (error) {
    return `refused: ${(error as Error).message}`;
  }
}

/** A cel.expr.Type in JSON as cel-js writes it. */
function celType(type: Readonly<Record<string, unknown>>): string {
  const { primitive, listType, mapType } = type as {
    primitive?: string;
    listType?: { elemType?: object };
    mapType?: { keyType?: object; valueType?: object };
  };
  if (primitive !== undefined)
    return { BOOL: 'bool', INT64: 'int', DOUBLE: 'double', STRING: 'string' }[primitive] ?? 'dyn';
  if (listType !== undefined) return `list<${celType((listType.elemType ?? {}) as never)}>`;
  if (mapType !== undefined)
    return `map<${celType((mapType.keyType ?? {}) as never)}, ${celType((mapType.valueType ?? {}) as never)}>`;
  return 'dyn';
}

/** A cel.expr.Value in JSON as a value of ours. */
function toKnown(value: Readonly<Record<string, unknown>>): Known {
  if ('int64Value' in value) return BigInt(value['int64Value'] as string);
  if ('doubleValue' in value) return Number(value['doubleValue']);
  if ('stringValue' in value) return value['stringValue'] as string;
  if ('boolValue' in value) return value['boolValue'] as boolean;
  if ('nullValue' in value) return null;
  if ('listValue' in value) return ((value['listValue'] as { values?: never[] }).values ?? []).map(toKnown);
  if ('mapValue' in value) {
    const entries = (value['mapValue'] as { entries?: { key: never; value: never }[] }).entries ?? [];
    return new Map(entries.map((entry) => [toKnown(entry.key), toKnown(entry.value)]));
  }
  return new Optional(undefined);
}
