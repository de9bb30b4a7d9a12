/**
 * Proves that guards are alive: disables one at a time in a copy of the tree and expects its test to go red.
 *   npm run mutate             every mutation of scripts/mutations.ts
 *   npm run mutate -- WORD     those whose guard or file has the word in it
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { MUTATIONS, type Mutation } from './mutations.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const COPIED = [
  'src',
  'test',
  'scripts',
  'compose',
  'docs',
  'bin',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
];
const RUN_TIMEOUT_MS = 300_000;

interface TestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly { readonly name: string; readonly status: string }[];
}

type Outcome = 'killed' | 'survived' | 'broken';

function main(): number {
  const words = process.argv.slice(2);
  const chosen = MUTATIONS.filter(({ guard, file }) => words.every((word) => `${guard} ${file}`.includes(word)));
  if (chosen.length === 0) {
    console.error('no mutation has these words');
    return 1;
  }
  const copy = copyTree();
  try {
    if (!testsAreGreen(copy, chosen)) return 1;
    const outcomes = chosen.map((mutation) => tryMutation(copy, mutation));
    const count = (wanted: Outcome): number => outcomes.filter((outcome) => outcome === wanted).length;
    console.log(`${count('killed')} killed, ${count('survived')} survived, ${count('broken')} broken`);
    return count('killed') === outcomes.length ? 0 : 1;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function copyTree(): string {
  const copy = mkdtempSync(path.join(tmpdir(), 'outcall-mutate-'));
  // Some tests run a part of the code as another user.
  chmodSync(copy, 0o755);
  for (const name of COPIED) {
    if (existsSync(path.join(ROOT, name))) cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true });
  }
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
  return copy;
}

/** A test that is red already would pass for a proof. */
function testsAreGreen(copy: string, mutations: readonly Mutation[]): boolean {
  const files = [...new Set(mutations.map(({ test }) => test))];
  const report = runTests(copy, files);
  const green = report !== undefined && report.numFailedTests === 0 && report.numPassedTests > 0;
  if (green) return true;
  const failed = report?.testResults
    .filter(({ status }) => status !== 'passed')
    .map(({ name }) => path.relative(copy, name));
  console.error(`not green before any mutation: ${(failed ?? files).join(', ')}`);
  return false;
}

function tryMutation(copy: string, mutation: Mutation): Outcome {
  const file = path.join(copy, mutation.file);
  const original = readFileSync(file, 'utf8');
  const parts = original.split(mutation.find);
  if (parts.length !== 2)
    return say('broken', mutation, `its text stands ${parts.length - 1} times in ${mutation.file}`);
  writeFileSync(file, parts.join(mutation.replace));
  const report = runTests(copy, [mutation.test], mutation.title);
  writeFileSync(file, original);
  if (report === undefined || report.numFailedTests + report.numPassedTests === 0) {
    return say('broken', mutation, 'no test ran; does the mutant compile?');
  }
  return report.numFailedTests > 0
    ? say('killed', mutation)
    : say('survived', mutation, `${mutation.test} stayed green`);
}

function say(outcome: Outcome, { guard }: Mutation, why?: string): Outcome {
  console.log(`${outcome.padEnd(8)} ${guard}${why === undefined ? '' : `: ${why}`}`);
  return outcome;
}

function runTests(copy: string, files: readonly string[], title?: string): TestReport | undefined {
  const results = path.join(copy, 'results.json');
  rmSync(results, { force: true });
  const only = title === undefined ? [] : ['--testNamePattern', escaped(title)];
  const args = ['run', ...files, ...only, '--reporter=json', `--outputFile=${results}`];
  const vitest = path.join(ROOT, 'node_modules/.bin/vitest');
  spawnSync(vitest, args, { cwd: copy, stdio: 'ignore', timeout: RUN_TIMEOUT_MS });
  return existsSync(results) ? (JSON.parse(readFileSync(results, 'utf8')) as TestReport) : undefined;
}

function escaped(title: string): string {
  return title.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

process.exitCode = main();
