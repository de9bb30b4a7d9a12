import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './test-titles.ts';
import { problemOf, rowsOf } from './traced-page.ts';

const PAGE = readFileSync(path.join(ROOT, 'docs/neuwerk.md'), 'utf8');
/** Statements of the guide, counted once: it has no identifiers of its own. */
const STATEMENTS = 24;

describe('docs/neuwerk.md', () => {
  const rows = rowsOf(PAGE);

  it('has each statement of the guide once, in order', () => {
    const ids = Array.from({ length: STATEMENTS }, (_, i) => `NW-${String(i + 1).padStart(2, '0')}`);
    expect(rows.map(({ id }) => id)).toEqual(ids);
  });

  it('gives each statement files and tests that exist', () => {
    expect(rows.map(problemOf).filter(Boolean)).toEqual([]);
  });
});
