import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { AuditLog } from '../../../src/audit/audit-log.ts';
import { createLog } from '../../../src/audit/log.ts';
import { aRecord } from './a-record.ts';

async function written(use: (log: AuditLog) => void): Promise<string> {
  const folder = fs.mkdtempSync(path.join(tmpdir(), 'outcall-audit-'));
  const file = path.join(folder, 'audit');
  const fd = fs.openSync(file, 'w');
  try {
    const log = new AuditLog({ fd });
    use(log);
    await log.flush();
    return fs.readFileSync(file, 'utf8');
  } finally {
    fs.closeSync(fd);
    fs.rmSync(folder, { recursive: true });
  }
}

describe('AuditLog', () => {
  it('writes one JSON line per record, and the line is the record and nothing else', async () => {
    const records = [aRecord({ flow: '1' }), aRecord({ flow: '2', reason: 'sni_mismatch', verdict: 'failed' })];
    const lines = (
      await written((log) => {
        for (const record of records) log.write(record);
      })
    )
      .trimEnd()
      .split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(records);
  });

  it('keeps a line one line, whatever the agent put into host or path', async () => {
    const path = '/a\nb\r"\u2028\u0000';
    const text = await written((log) => log.write(aRecord({ path, host: 'x"\n{}' })));
    expect(text.split('\n')).toHaveLength(2);
    expect(JSON.parse(text)).toMatchObject({ path, host: 'x"\n{}' });
  });

  it('is blocked while it is held from outside, and no longer', () => {
    const log = new AuditLog();
    expect(log.blocked).toBe(false);
    log.hold(true);
    expect(log.blocked).toBe(true);
    log.hold(false);
    expect(log.blocked).toBe(false);
  });
});

describe('createLog', () => {
  it('writes what is at or above its level, with time and process', () => {
    const lines: string[] = [];
    const log = createLog({ level: 'warn', name: 'worker-3', stream: { write: (line) => lines.push(line) } });
    log.info({ event: 'x' }, 'not this');
    log.warn({ event: 'y' }, 'this');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'warn', process: 'worker-3', event: 'y', msg: 'this' });
    expect((JSON.parse(lines[0]!) as { time: string }).time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
  });
});
