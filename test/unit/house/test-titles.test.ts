import { describe, expect, it } from 'vitest';
import { brokenReference, referencesIn, titlesOf } from './test-titles.ts';

const HERE = 'test/unit/house/test-titles.test.ts';

describe('the tests that a document names', () => {
  it('are read from plain, modified and tabular calls in any quotes', () => {
    const text = [
      "it('plain', () => {})",
      'test("double", () => {})',
      'it(`ticks`, () => {})',
      "it.skipIf(!hasJava)('skipped', () => {})",
      "it.skipIf(!hasProgram('java'))(\n  'skipped without it', () => {})",
      "it.each([['a', 1], ['b', 2]])('each %s', () => {})",
      "it.each([\n  ['d', [1]],\n] as const)('constant %s', () => {})",
      "it.each<readonly [string, (n: number) => void]>([['c', f]])('typed %s', () => {})",
      "it.each(CASES)('cases %s', () => {})",
      "it(\n  'on the next line',\n  () => {})",
      "it('an agent\\'s', () => {})",
      "describe('not a test', () => {})",
    ].join('\n');
    expect(titlesOf(text)).toEqual([
      ...[
        'plain',
        'double',
        'ticks',
        'skipped',
        'skipped without it',
        'each %s',
        'constant %s',
        'typed %s',
        'cases %s',
      ],
      ...['on the next line', "an agent's"],
    ]);
  });

  it('are found in Markdown by file and "title"', () => {
    const page = `- \`${HERE}\` "one" and \`${HERE}\` "say \\"two\\""`;
    expect(referencesIn(page)).toEqual([
      { file: HERE, title: 'one' },
      { file: HERE, title: 'say "two"' },
    ]);
  });

  it('must exist under that very title', () => {
    const title = 'must exist under that very title';
    expect(brokenReference({ file: HERE, title })).toBeUndefined();
    expect(brokenReference({ file: HERE, title: `${title}.` })).toContain('holds no test');
    expect(brokenReference({ file: 'test/unit/house/gone.test.ts', title })).toContain('does not exist');
  });
});
