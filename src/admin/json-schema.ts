/**
 * What the admin API takes and answers, as JSON Schema (2020-12), in words short enough to stand beside each other.
 * `objectOf<T>` ties a schema to its type: a field that one has and the other has not does not compile.
 */

export type JsonSchema = Readonly<Record<string, unknown>>;

type OptionalKeys<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T];

export const TEXT: JsonSchema = { type: 'string' };
export const BOOLEAN: JsonSchema = { type: 'boolean' };
export const COUNT: JsonSchema = { type: 'integer', minimum: 0 };
export const NUMBER: JsonSchema = { type: 'number' };
/** RFC 3339, UTC. */
export const TIME: JsonSchema = { type: 'string', format: 'date-time' };

export function nullable(schema: JsonSchema): JsonSchema {
  return { anyOf: [schema, { type: 'null' }] };
}

export function listOf(items: JsonSchema): JsonSchema {
  return { type: 'array', items };
}

export function oneOf(...values: readonly string[]): JsonSchema {
  return { type: 'string', enum: values };
}

/** An object with exactly the fields of `T`; those that `T` has as optional are named in `optional`. */
export function objectOf<T extends object>(
  properties: Readonly<Record<keyof T, JsonSchema>>,
  optional: readonly OptionalKeys<T>[] = [],
): JsonSchema {
  const required = Object.keys(properties).filter((name) => !(optional as readonly PropertyKey[]).includes(name));
  return { type: 'object', properties, required, additionalProperties: false };
}
