import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './test-titles.ts';

const LINK = /\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)/g;

const PAGES = ['.', 'docs', 'docs/adr'].flatMap((folder) =>
  readdirSync(path.join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => path.join(folder, name)),
);

describe('the pages', () => {
  it.each(PAGES)('%s links only to files that exist', (page) => {
    const targets = [...readFileSync(path.join(ROOT, page), 'utf8').matchAll(LINK)].map(
      ([, target]) => target as string,
    );
    expect(targets.filter((target) => !existsSync(path.resolve(ROOT, path.dirname(page), target)))).toEqual([]);
  });

  it('list every decision in docs/adr/README.md', () => {
    const index = readFileSync(path.join(ROOT, 'docs/adr/README.md'), 'utf8');
    const decisions = readdirSync(path.join(ROOT, 'docs/adr')).filter((name) => /^\d{4}-/.test(name));
    expect(decisions.length).toBeGreaterThan(0);
    expect(decisions.filter((name) => !index.includes(`(${name})`))).toEqual([]);
  });
});
