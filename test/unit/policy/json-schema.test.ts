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
const tls = egress.properties['tls']!;
const sni = tls.properties['sni']!;
const defaults = schema.properties['defaults']!;
const ALL = [schema, rule, egress, tls, sni, defaults];

describe('the JSON Schema', () => {
  it('is plain data of draft 2020-12', () => {
    expect(schema['$schema']).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(JSON.parse(JSON.stringify(schema))).toEqual(schema);
  });

  it('knows every key and no other', () => {
    expect(Object.keys(schema.properties)).toEqual(['version', 'definitions', 'defaults', 'rules']);
    expect(Object.keys(rule.properties)).toEqual([
      'id',
      'description',
      'priority',
      'condition',
      'action',
      'log',
      'enforcement',
      'egress',
    ]);
    expect(Object.keys(egress.properties)).toEqual([
      'mode',
      'ports',
      'allow_private_ips',
      'match_body',
      'trust_anchors',
      'tls',
      'response',
    ]);
    expect(Object.keys(tls.properties)).toEqual([
      'sni',
      'server_san',
      'server_cn',
      'fingerprint_sha256',
      'trust_anchors',
      'tls13_uninspectable',
      'sni_absent',
      'ech',
    ]);
    expect(Object.keys(sni.properties)).toEqual(['exact', 'regex']);
    expect(Object.keys(defaults.properties)).toEqual(['enforcement', 'unmatched']);
    for (const closed of ALL) expect(closed['additionalProperties']).toBe(false);
  });

  it('asks only for what has no default', () => {
    expect(schema.required).toEqual(['version']);
    expect(rule.required).toEqual(['id', 'condition', 'action']);
    expect(egress.required).toBeUndefined();
  });

  it('describes each key', () => {
    for (const fields of ALL) {
      for (const [key, field] of Object.entries(fields.properties))
        expect(field['description'], key).toEqual(expect.any(String));
    }
  });
});
