import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { optionsPage } from '../../../scripts/docs.ts';
import { OPTION_TABLE } from '../../../src/daemon/option-table.ts';
import { FAILURES } from '../../../src/domain/failure.ts';
import { ROOT } from './test-titles.ts';

const FLAGS = Object.values(OPTION_TABLE).map(({ flag }) => flag as string);
/** Shapes of the daemon's option names that a text may speak of; the CLI's own options have none of these endings. */
const DAEMON_FLAG = /--(?:max-[a-z-]+|[a-z-]+-(?:secs|bytes)|upstream-[a-z]+|allow-private|ca-cert|ca-key|listen)\b/g;

function unknownFlags(text: string): string[] {
  return (text.match(DAEMON_FLAG) ?? []).filter((flag) => !FLAGS.includes(flag));
}

describe('docs/options.md', () => {
  it('is what npm run docs writes', () => {
    expect(readFileSync(path.join(ROOT, 'docs/options.md'), 'utf8')).toBe(optionsPage());
  });
});

describe('an option of outcalld that a text speaks of', () => {
  it('exists, in the remedies of failures', () => {
    expect(Object.values(FAILURES).flatMap(({ fix }) => unknownFlags(fix))).toEqual([]);
  });

  it('exists, in the pages', () => {
    const folders = ['.', 'docs', 'docs/adr'];
    const pages = folders.flatMap((folder) =>
      readdirSync(path.join(ROOT, folder)).map((name) => path.join(folder, name)),
    );
    const texts = pages
      .filter((page) => page.endsWith('.md'))
      .map((page) => readFileSync(path.join(ROOT, page), 'utf8'));
    expect(texts.length).toBeGreaterThan(0);
    expect(texts.flatMap(unknownFlags)).toEqual([]);
  });

  it('is found out when it does not exist', () => {
    expect(unknownFlags('raise --max-heads or --head-timeout-secs')).toEqual(['--max-heads']);
  });
});
