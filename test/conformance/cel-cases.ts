/**
 * The public CEL conformance cases (cel-spec) that apply to conditions: those of the suites below that use no type or
 * extension which conditions do not have. What is left out is left out by these rules, not case by case.
 */
import { tests } from '@bufbuild/cel-spec/testdata/conformance.js';

type JsonValue = Readonly<Record<string, unknown>>;

export interface CelCase {
  /** suite/section/name */
  readonly id: string;
  readonly expr: string;
  readonly types: readonly { readonly name: string; readonly type: JsonValue }[];
  readonly bindings: Readonly<Record<string, JsonValue>>;
  /** The value to give, or undefined where an error is due. */
  readonly value: JsonValue | undefined;
}

const SUITES: ReadonlySet<string> = new Set([
  ...['basic', 'bindings_ext', 'comparisons', 'conversions', 'fields', 'fp_math', 'integer_math', 'lists', 'logic'],
  ...['macros', 'optionals', 'parse', 'plumbing', 'string', 'string_ext'],
]);

/** What conditions have no use for, as it shows in an expression. */
const OUTSIDE: readonly (readonly [what: string, pattern: RegExp])[] = [
  ['unsigned integers', /\b(?:[0-9]+|0x[0-9a-f]+)u\b|\buint\b/i],
  ['bytes', /(?:^|[^\w"'])(?:[bB][rR]?|[rR][bB])["']|\bbytes\b/],
  ['timestamps and durations', /\b(?:timestamp|duration)\b/],
  [
    'types as values',
    /\btype\(|^(?:bool|int|double|string|list|map|null_type|type)$|== (?:bool|int|double|string|list|map|type)\b/,
  ],
  ['protocol buffers', /TestAllTypes|google\.protobuf|NestedTestAllTypes|\bStruct\b|\bValue\b|\bAny\b|Wrapper|Value\{/],
  ['identifiers in back quotes', /`/],
  [
    'functions of the strings extension that conditions do not have',
    /\.(?:charAt|replace|format|reverse)\(|strings\.quote/,
  ],
  ['splitting with a limit, searching from a place', /\.(?:split|indexOf|lastIndexOf)\([^,()]*, *-?[0-9]+/],
  ['optionals compared with one another', /[!=]= optional\./],
  [
    'optionals of message and aggregate literals',
    /\{\??[^}]*:?\?|\[\?|\boptFlatMap\b|\boptMap\b|ofNonZeroValue|optional_type/,
  ],
];

interface RawCase {
  readonly name?: string;
  readonly expr: string;
  readonly typeEnv?: readonly { readonly name: string; readonly ident?: { readonly type: JsonValue } }[];
  readonly bindings?: Readonly<Record<string, { readonly value?: JsonValue }>>;
  readonly value?: JsonValue;
  readonly evalError?: unknown;
  readonly container?: string;
  readonly disableCheck?: boolean;
  readonly checkOnly?: boolean;
  readonly typedResult?: unknown;
}

/** All applicable cases, in their order. */
export function celCases(): readonly CelCase[] {
  const found: CelCase[] = [];
  for (const suite of tests.suites ?? []) {
    if (!SUITES.has(suite.name)) continue;
    for (const section of suite.suites ?? []) {
      for (const { original } of section.tests ?? []) {
        const raw = original as unknown as RawCase;
        if (applies(raw)) found.push(celCase(`${suite.name}/${section.name}/${raw.name ?? raw.expr}`, raw));
      }
    }
  }
  return found;
}

function applies(raw: RawCase): boolean {
  // Conditions are always type-checked, so cases that ask for no check are about another language.
  if (
    raw.container !== undefined ||
    raw.disableCheck === true ||
    raw.checkOnly === true ||
    raw.typedResult !== undefined
  )
    return false;
  const declared = JSON.stringify([raw.typeEnv ?? [], raw.bindings ?? {}, raw.value ?? {}]);
  if (
    /UINT64|uint64Value|BYTES|bytesValue|objectValue|messageType|wellKnown|typeValue|abstractType|wrapper|"function"/.test(
      declared,
    )
  )
    return false;
  return OUTSIDE.every(([, pattern]) => !pattern.test(raw.expr));
}

function celCase(id: string, raw: RawCase): CelCase {
  const bindings = Object.entries(raw.bindings ?? {}).map(([name, { value }]) => [name, value ?? {}] as const);
  return {
    id,
    expr: raw.expr,
    types: (raw.typeEnv ?? []).map(({ name, ident }) => ({ name, type: ident?.type ?? {} })),
    bindings: Object.fromEntries(bindings),
    // A case without value and error is one that must give true.
    value: raw.evalError === undefined ? (raw.value ?? { boolValue: true }) : undefined,
  };
}
