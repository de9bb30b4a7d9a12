/**
 * The gate, cheapest step first, stopping at the first that fails. The last line it prints is a plain count of tests.
 *   scripts/check                 everything
 *   scripts/check --static        no build and no tests
 *   scripts/check test/unit/wire  only what vitest makes of these arguments, after build and tools
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');
const MIN_NODE_MAJOR = 24;

interface Step {
  readonly name: string;
  readonly command: readonly string[];
}

const STATIC_STEPS: readonly Step[] = [
  { name: 'types', command: ['tsc', '--noEmit', '-p', '.'] },
  { name: 'style', command: ['biome', 'check', '--error-on-warnings', '.'] },
  { name: 'lint with types', command: ['oxlint', '--type-aware', '--deny-warnings', 'src', 'test', 'scripts'] },
  { name: 'layers', command: ['node', 'scripts/layers.ts'] },
  { name: 'dead code', command: ['knip', '--no-progress'] },
];

const BUILD_STEPS: readonly Step[] = [
  { name: 'tools of the tests', command: ['scripts/install-tools'] },
  { name: 'build', command: ['node', 'scripts/build.ts'] },
];

/** What is read of vitest's JSON report (the same shape as Jest's). */
interface TestReport {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

function main(): number {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < MIN_NODE_MAJOR) {
    console.error(
      `Node ${MIN_NODE_MAJOR} or newer is needed; this is ${process.version}. npm ci brings one on Linux x64.`,
    );
    return 1;
  }
  const args = process.argv.slice(2);
  if (args.length === 0 || args[0] === '--static') {
    if (!STATIC_STEPS.every(runStep)) return 1;
    if (args[0] === '--static') return 0;
  }
  if (!BUILD_STEPS.every(runStep)) return 1;
  return runTests(args, { coverage: args.length === 0 });
}

function runStep({ name, command }: Step): boolean {
  const started = performance.now();
  const status = run(command);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (status !== 0) console.error(`scripts/check stops at: ${name}. The command was: ${command.join(' ')}`);
  return status === 0;
}

function runTests(args: readonly string[], { coverage }: { coverage: boolean }): number {
  const folder = mkdtempSync(path.join(tmpdir(), 'outcall-check-'));
  const file = path.join(folder, 'results.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const status = run(['vitest', 'run', ...(coverage ? ['--coverage'] : []), ...reporters, ...args]);
  const report = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as TestReport) : undefined;
  rmSync(folder, { recursive: true });
  if (report === undefined) {
    console.error('scripts/check: vitest left no report');
    return 1;
  }
  return closingLine(report, status);
}

/** Prints what was skipped and the count that closes the run; gives the exit code. */
function closingLine(report: TestReport, status: number): number {
  const skipped = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults
      .filter((test) => test.status !== 'passed' && test.status !== 'failed')
      .map((test) => test.fullName),
  );
  for (const name of skipped) console.log(`skipped: ${name}`);
  // A file that fails before its first test has no failed test in it: it counts as one.
  const brokenFiles = report.testResults.filter(
    ({ status: file, assertionResults }) =>
      file === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = report.numFailedTests + brokenFiles;
  const inCi = process.env['CI'] === 'true';
  if (inCi && skipped.length > 0) console.error('In CI nothing may be skipped: install what these tests need.');
  console.log(`${report.numPassedTests} passed, ${failed} failed, ${skipped.length} skipped`);
  return status !== 0 || failed > 0 || report.numPassedTests === 0 || (inCi && skipped.length > 0) ? 1 : 0;
}

function run(command: readonly string[]): number {
  const [program = '', ...args] = command;
  return spawnSync(program, args, { cwd: ROOT, stdio: 'inherit' }).status ?? 1;
}

process.exitCode = main();
