import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { brokenReference, ROOT, referencesIn } from './test-titles.ts';

const PAGE = readFileSync(path.join(ROOT, 'docs/properties.md'), 'utf8');
const FOLDER = 'test/property';

interface Property {
  readonly number: number;
  readonly text: string;
}

/** The sections `## N. Title` of the page. */
function propertiesOf(page: string): Property[] {
  return page
    .split(/^## /m)
    .slice(1)
    .map((text) => ({ number: Number.parseInt(text, 10), text }));
}

describe('docs/properties.md', () => {
  const properties = propertiesOf(PAGE);

  it('numbers its properties upwards, each once', () => {
    const numbers = properties.map((property) => property.number);
    expect(numbers.length).toBeGreaterThan(0);
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
    expect(numbers).not.toContain(Number.NaN);
  });

  it('names a test for each property', () => {
    const bare = properties
      .filter(({ text }) => referencesIn(text).length === 0)
      .map(({ text }) => text.split('\n')[0]);
    expect(bare).toEqual([]);
  });

  it('names only tests that exist', () => {
    expect(referencesIn(PAGE).map(brokenReference).filter(Boolean)).toEqual([]);
  });

  it('names every file of test/property/', () => {
    const files = existsSync(path.join(ROOT, FOLDER)) ? readdirSync(path.join(ROOT, FOLDER)) : [];
    const tests = files.filter((file) => file.endsWith('.test.ts')).map((file) => `${FOLDER}/${file}`);
    const named = new Set(referencesIn(PAGE).map(({ file }) => file));
    expect(tests.filter((file) => !named.has(file))).toEqual([]);
  });
});
