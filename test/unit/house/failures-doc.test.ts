import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { failuresPage } from '../../../scripts/docs.ts';
import { FAILURE_REASONS, FAILURES } from '../../../src/domain/failure.ts';

const PAGE = readFileSync(path.resolve(import.meta.dirname, '../../../docs/failures.md'), 'utf8');

/** Cells of each row of the page's table, keyed by the reason in its first cell. */
function rowsOf(page: string): Map<string, string[]> {
  const rows = page.split('\n').filter((line) => line.startsWith('| `'));
  return new Map(
    rows.map((row) => {
      const [reason = '', ...cells] = row.slice(2, -2).split(' | ');
      return [reason.replaceAll('`', ''), cells];
    }),
  );
}

describe('docs/failures.md', () => {
  it('has each reason of the code and no other', () => {
    expect([...rowsOf(PAGE).keys()]).toEqual([...FAILURE_REASONS]);
  });

  it('gives each reason the status, the text and the remedy of the code', () => {
    for (const [reason, cells] of rowsOf(PAGE)) {
      const info = FAILURES[reason as keyof typeof FAILURES];
      expect([reason, cells[0], cells[2], cells[3]]).toEqual([reason, String(info.status), info.text, info.fix]);
    }
  });

  it('is what npm run docs writes', () => {
    expect(PAGE).toBe(failuresPage());
  });
});
