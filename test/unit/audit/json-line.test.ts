import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonLine } from '../../../src/audit/json-line.ts';
import type { AuditRecord } from '../../../src/domain/record.ts';
import { aRecord } from './a-record.ts';

/** Whatever an agent may bring into a field that is not one of our words. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string(),
  fc.constantFrom('"', '\\', '\n"}', '\u2028', '\ud800'),
);
const orNull = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: null });
const count = fc.nat();

const records: fc.Arbitrary<AuditRecord> = fc
  .record({
    event: fc.constantFrom<AuditRecord['event']>('flow', 'request', 'query'),
    agent: hostile,
    agent_ip: hostile,
    rule: orNull(hostile),
    mode: fc.constantFrom<AuditRecord['mode']>('proxy', 'intercept', null),
    would_block: orNull(hostile),
    reason: fc.constantFrom<AuditRecord['reason']>('sni_mismatch', 'default', null),
    detail: orNull(hostile),
    host: orNull(hostile),
    port: orNull(count),
    scheme: fc.constantFrom<AuditRecord['scheme']>('http', 'https', null),
    method: orNull(hostile),
    path: orNull(hostile),
    http_version: fc.constantFrom<AuditRecord['http_version']>('1.1', '2', null),
    status: orNull(count),
    bytes_down: fc.maxSafeNat(),
    upstream: orNull(hostile),
    duration_ms: fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }),
  })
  .map(aRecord);

describe('the line of a record', () => {
  it('is what JSON.stringify makes of it, the first time and again, and one line', () => {
    fc.assert(
      fc.property(records, (record) => {
        for (const line of [jsonLine(record), jsonLine(record)]) {
          expect(line).toBe(`${JSON.stringify(record)}\n`);
          expect(line.indexOf('\n')).toBe(line.length - 1);
        }
      }),
      { numRuns: 3_000 },
    );
  });
});
