import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './test-titles.ts';
import { problemOf, rowsOf } from './traced-page.ts';

const PAGE = readFileSync(path.join(ROOT, 'docs/s011.md'), 'utf8');

/** The identifiers of S011's requirements summary, and its user stories; SC-010 is only referred to there. */
const COUNTS = { US: 7, FR: 22, AS: 10, IF: 11, EC: 12, SC: 8 };
const IDENTIFIERS = [
  ...Object.entries(COUNTS).flatMap(([kind, count]) =>
    Array.from({ length: count }, (_, index) => `${kind}-${String(index + 1).padStart(3, '0')}`),
  ),
  'SC-010',
];

describe('docs/s011.md', () => {
  const rows = rowsOf(PAGE);

  it('has each identifier of S011 once, and no other', () => {
    expect(rows.map(({ id }) => id).sort()).toEqual([...IDENTIFIERS].sort());
  });

  it('gives each identifier files and tests that exist, or the decision against it', () => {
    expect(rows.map(problemOf).filter(Boolean)).toEqual([]);
  });
});

describe('a row of docs/s011.md', () => {
  const shown = '`test/unit/house/s011-doc.test.ts` "is good when its files and tests exist"';

  it('is good when its files and tests exist', () => {
    expect(problemOf({ id: 'FR-001', where: '`package.json`, `src`', shown })).toBeUndefined();
  });

  it('is bad without a file, with a missing file, without a test, or with a missing test', () => {
    expect(problemOf({ id: 'FR-001', where: '', shown })).toContain('names no file');
    expect(problemOf({ id: 'FR-001', where: '`src/gone.ts`', shown })).toContain('does not exist');
    expect(problemOf({ id: 'FR-001', where: '`package.json`', shown: '' })).toContain('names no test');
    expect(problemOf({ id: 'FR-001', where: '`package.json`', shown: shown.replace('good', 'gone') })).toContain(
      'no test',
    );
  });

  it('may be decided otherwise, by an ADR that exists', () => {
    const where = 'decided otherwise: [why](adr/0001-processes.md)';
    expect(problemOf({ id: 'EC-012', where, shown: '' })).toBeUndefined();
    expect(problemOf({ id: 'EC-012', where: where.replace('0001', '9999'), shown: '' })).toContain('does not exist');
  });
});
