/**
 * The gate, cheapest step first, stopping at the first that fails. The last line it prints is a plain count of tests.
 *   scripts/check                 everything
 *   scripts/check --static        no build and no tests
 *   scripts/check test/unit/wire  only what vitest makes of these arguments, after build and tools
 * The tests on a Docker Engine (test/compose) are a run of their own, whose images are made while the others run.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');
const MIN_NODE_MAJOR = 24;
/** As test/compose/kit/lab.ts has it. */
const ENGINE_CAN_RUN = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');

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

async function main(): Promise<number> {
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
  return closingLine(args.length === 0 ? await runAll() : [runTests(args)]);
}

function runStep({ name, command }: Step): boolean {
  const started = performance.now();
  const status = run(command);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${seconds} s)`);
  if (status !== 0) console.error(`scripts/check stops at: ${name}. The command was: ${command.join(' ')}`);
  return status === 0;
}

/** What became of one run of vitest; no report where it broke before it could write one. */
interface TestRun {
  readonly status: number;
  readonly report: TestReport | undefined;
}

async function runAll(): Promise<readonly TestRun[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'outcall-check-'));
  try {
    const images = makeImages(path.join(folder, 'images.log'));
    const most = runTests(['--coverage']);
    await images;
    return [most, runTests(['--config', 'vitest.compose.config.ts'])];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Where an engine can run. What fails here fails again, and is counted, when the tests on the engine begin. */
async function makeImages(logFile: string): Promise<void> {
  if (!ENGINE_CAN_RUN) return;
  const log = openSync(logFile, 'w');
  const making = spawn(path.join(ROOT, 'scripts/lab/up'), ['--build'], { cwd: ROOT, stdio: ['ignore', log, log] });
  closeSync(log);
  const [status] = (await once(making, 'exit')) as [number | null];
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} images for the tests on an engine`);
  if (status !== 0) console.error(readFileSync(logFile, 'utf8'));
}

function runTests(args: readonly string[]): TestRun {
  const folder = mkdtempSync(path.join(tmpdir(), 'outcall-check-'));
  const file = path.join(folder, 'results.json');
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
  const status = run(['vitest', 'run', ...reporters, ...args]);
  const report = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as TestReport) : undefined;
  rmSync(folder, { recursive: true });
  return { status, report };
}

/** Prints what was skipped and the count that closes all runs; gives the exit code. */
function closingLine(runs: readonly TestRun[]): number {
  const reports = runs.map(({ report }) => report).filter((report) => report !== undefined);
  const skipped = reports
    .flatMap(({ testResults }) => testResults)
    .flatMap(({ assertionResults }) =>
      assertionResults
        .filter((test) => test.status !== 'passed' && test.status !== 'failed')
        .map((test) => test.fullName),
    );
  for (const name of skipped) console.log(`skipped: ${name}`);
  const unreported = runs.length - reports.length;
  if (unreported > 0) console.error('scripts/check: vitest left no report');
  const passed = sum(reports.map(({ numPassedTests }) => numPassedTests));
  const failed = sum(reports.map(failuresOf)) + unreported;
  const inCi = process.env['CI'] === 'true';
  if (inCi && skipped.length > 0) console.error('In CI nothing may be skipped: install what these tests need.');
  console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  const broken = runs.some(({ status }) => status !== 0);
  return broken || failed > 0 || passed === 0 || (inCi && skipped.length > 0) ? 1 : 0;
}

/** A file that fails before its first test has no failed test in it: it counts as one. */
function failuresOf({ numFailedTests, testResults }: TestReport): number {
  const brokenFiles = testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  );
  return numFailedTests + brokenFiles.length;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

function run(command: readonly string[]): number {
  const [program = '', ...args] = command;
  return spawnSync(program, args, { cwd: ROOT, stdio: 'inherit' }).status ?? 1;
}

process.exitCode = await main();
