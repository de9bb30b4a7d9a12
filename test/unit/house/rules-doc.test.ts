import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadRules } from '../../../src/policy/load.ts';
import { NAMES } from '../../../src/policy/names.ts';
import { formatProblem } from '../../../src/policy/problem.ts';
import { testCa } from '../../kit/pki.ts';
import { ROOT } from './test-titles.ts';

const PAGE = readFileSync(path.join(ROOT, 'docs/rules.md'), 'utf8');
/** A block of YAML, and the block of problems right under it where it has some. */
const EXAMPLE = /```yaml\n([\s\S]*?)```\n(?:\n```text\n([\s\S]*?)```\n)?/g;

interface Example {
  readonly line: number;
  readonly text: string;
  readonly problems: string;
}

function examplesOf(page: string): Example[] {
  return [...page.matchAll(EXAMPLE)].map(({ 1: text = '', 2: problems = '', index }) => ({
    line: page.slice(0, index).split('\n').length,
    text,
    problems: problems.trimEnd(),
  }));
}

/** Errors and warnings, as `outcall rules check` prints them, for a daemon with a CA. */
function problemsOf(text: string): string {
  const anchors = new Map([['corp-ca.pem', testCa().certPem]]);
  const loaded = loadRules([{ file: 'rules.yaml', text }], { caLoaded: true, generation: 1, anchors });
  return (loaded.ok ? loaded.warnings : loaded.problems).map(formatProblem).join('\n');
}

describe('docs/rules.md', () => {
  const examples = examplesOf(PAGE);

  it('has examples with and without problems, and every block is one of them', () => {
    expect(examples.length).toBeGreaterThan(5);
    expect(new Set(examples.map(({ problems }) => problems === '')).size).toBe(2);
    const fences = PAGE.match(/^```\w/gm) ?? [];
    expect(fences).toHaveLength(examples.length + examples.filter(({ problems }) => problems !== '').length);
  });

  it.each(examples)('line $line: loads with the problems that are shown, and no others', ({ text, problems }) => {
    expect(problemsOf(text)).toBe(problems);
  });

  it('lists every name that a condition may use, and no other', () => {
    const listed = [...PAGE.matchAll(/^\| `((?:http|network|tls|agent|dns)(?:\.\w+)+)` \|/gm)].map(([, name]) => name);
    expect(new Set(listed)).toEqual(new Set(NAMES.keys()));
  });
});
