/**
 * The JSON Schema for editors says what the loader says, as far as a schema can.
 */
import { describe, expect, it } from 'vitest';
import { rulesJsonSchema } from '../../../src/policy/json-schema.ts';

type Schema = Readonly<Record<string, unknown>> & {
  properties: Record<string, Schema>;
  required?: string[];
  items: Schema;
  anyOf: Schema[];
};

const schema = rulesJsonSchema() as Schema;
const listOf = (field: Schema): Schema => (field.anyOf ?? [field]).find((one) => one['type'] === 'array') as Schema;
const rule = listOf(schema.properties['rules']!).items;
const egress = rule.properties['egress']!;

describe('the JSON Schema', () => {
  it('is plain data of draft 2020-12', () => {
    expect(schema['$schema']).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(JSON.parse(JSON.stringify(schema))).toEqual(schema);
  });

  it('knows every key and no other', () => {
    expect(Object.keys(schema.properties)).toEqual(['version', 'definitions', 'rules']);
    expect(Object.keys(rule.properties)).toEqual([
      'id',
      'description',
      'priority',
      'condition',
      'action',
      'log',
      'egress',
    ]);
    expect(Object.keys(egress.properties)).toEqual([
      'mode',
      'ports',
      'allow_private_ips',
      'match_body',
      'trust_anchors',
    ]);
    for (const closed of [schema, rule, egress]) expect(closed['additionalProperties']).toBe(false);
  });

  it('asks only for what has no default', () => {
    expect(schema.required).toEqual(['version']);
    expect(rule.required).toEqual(['id', 'condition', 'action']);
    expect(egress.required).toBeUndefined();
  });

  it('describes each key', () => {
    for (const fields of [schema, rule, egress]) {
      for (const [key, field] of Object.entries(fields.properties))
        expect(field['description'], key).toEqual(expect.any(String));
    }
  });
});
