import { describe, expect, it } from 'vitest';
import { jsonLine } from '../../../src/audit/json-line.ts';
import { OwnRecords } from '../../../src/audit/own-records.ts';
import type { AuditRecord } from '../../../src/domain/record.ts';
import { aRecord } from './a-record.ts';

describe('the records of the supervisor', () => {
  it('go out whole, in their order and together, without being asked to', async () => {
    const { promise, resolve } = Promise.withResolvers<Buffer>();
    const own = new OwnRecords(resolve, () => false);
    const records = ['a.test', 'ä.test', 'b.test'].map((host): AuditRecord => aRecord({ host }));
    for (const record of records) own.write(record);
    expect((await promise).toString()).toBe(records.map(jsonLine).join(''));
  });

  it('go out at once when they are told to, and when they are many', () => {
    const taken: string[] = [];
    const own = new OwnRecords(
      (lines) => taken.push(lines.toString()),
      () => false,
    );
    own.write(aRecord({ host: 'a.test' }));
    expect(taken).toEqual([]);
    own.flush();
    own.flush();
    expect(taken).toEqual([jsonLine(aRecord({ host: 'a.test' }))]);
    const line = jsonLine(aRecord({}));
    for (let written = 0; written < 65_536; written += line.length) own.write(aRecord({}));
    expect(taken.length).toBe(2);
    expect(taken[1]?.length).toBeLessThan(65_536 + line.length);
  });
});
