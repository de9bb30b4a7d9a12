import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { MUTATIONS } from '../../../scripts/mutations.ts';
import { ROOT, titlesOf } from './test-titles.ts';

describe('scripts/mutations.ts', () => {
  it.each(MUTATIONS)('can still be applied: $guard', ({ file, find, replace, test, title }) => {
    expect(readFileSync(path.join(ROOT, file), 'utf8').split(find)).toHaveLength(2);
    expect(replace).not.toBe(find);
    expect(existsSync(path.join(ROOT, test))).toBe(true);
    if (title !== undefined) expect(titlesOf(readFileSync(path.join(ROOT, test), 'utf8'))).toContain(title);
  });
});
