import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './test-titles.ts';

const README = readFileSync(path.join(ROOT, 'README.md'), 'utf8');

describe('README.md', () => {
  it('tells the command that CI runs', () => {
    const ci = readFileSync(path.join(ROOT, '.ci/run'), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('npm '))
      .join(' && ');
    expect(ci).toBe('npm ci && npm test');
    expect(README).toContain(`\n${ci}\n`);
  });
});
