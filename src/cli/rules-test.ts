/**
 * `outcall rules test`: the cases beside the rules, decided by the daemon's own engine. Exit 1 where one fails, where a
 * file has mistakes, or where too few rules decide any case.
 */
import type { Command } from 'commander';
import { type CaseFiles, readCaseFiles } from '../config/case-files.ts';
import { type CaseResult, type CasesOutcome, runCases } from '../policy/case-run.ts';
import { readCases } from '../policy/cases.ts';
import { formatProblem } from '../policy/problem.ts';
import { normaliseTarget } from '../wire/target.ts';
import { withAdminSocket } from './admin-socket-option.ts';
import { explanationText } from './explanation-text.ts';
import { CliError, type CliIo, EXIT_FAILURE, EXIT_USAGE } from './io.ts';
import { loadRuleSet, rulesPaths } from './rules-source.ts';

interface TestOptions {
  readonly adminSocket: string;
  readonly minCoverage: string;
  readonly json: boolean;
}

export function addRulesTest(rules: Command, io: CliIo): void {
  withAdminSocket(rules.command('test'))
    .description('decide the cases in *.test.yaml beside the rules; each path is a set of its own')
    .argument('[path...]', 'rule files, or folders of them (default: those of outcalld)')
    .option('--min-coverage <percent>', 'fail where fewer rules decide a case', '0')
    .option('--json', 'one JSON array, an object for each path', false)
    .action((paths: readonly string[], options: TestOptions) => test(io, paths, options));
}

async function test(io: CliIo, given: readonly string[], options: TestOptions): Promise<void> {
  const minimum = Number(options.minCoverage);
  if (!/^[0-9]{1,3}$/.test(options.minCoverage) || minimum > 100)
    throw new CliError(EXIT_USAGE, `--min-coverage: ${options.minCoverage} is not a number from 0 to 100`);
  const outcomes: CasesOutcome[] = [];
  for (const path of await rulesPaths(given, options)) {
    const outcome = await testPath(io, await readCaseFiles(path));
    if (!options.json) io.out(outcomeText(outcome));
    outcomes.push(outcome);
  }
  if (options.json) io.out(`${JSON.stringify(outcomes.map(outcomeJson))}\n`);
  const failed = outcomes.flatMap(({ results }) => results).filter(({ failures }) => failures.length > 0).length;
  if (failed > 0) throw new CliError(EXIT_FAILURE, `${plural(failed, 'case')} failed`);
  const low = outcomes.find(({ coveragePercent }) => coveragePercent < minimum);
  if (low !== undefined)
    throw new CliError(
      EXIT_FAILURE,
      `${Math.floor(low.coveragePercent)} % of the rules decide a case, not ${minimum} %`,
    );
}

async function testPath(io: CliIo, files: CaseFiles): Promise<CasesOutcome> {
  const rules = await loadRuleSet(io, [files.rulesPath]);
  const read = files.sources.map((source) => readCases(source, normaliseTarget));
  const problems = [...files.problems, ...read.flatMap((each) => each.problems)];
  for (const problem of problems) io.err(`${formatProblem(problem)}\n`);
  if (problems.length > 0) throw new CliError(EXIT_FAILURE, `the cases for ${files.rulesPath} cannot be used`);
  return runCases(
    rules,
    read.flatMap((each) => each.cases),
  );
}

function outcomeText({ results, dead, coveragePercent }: CasesOutcome): string {
  const lines = results.map(resultText).join('');
  const failed = results.filter(({ failures }) => failures.length > 0).length;
  const summary = `${plural(results.length, 'case')}, ${failed} failed; ${Math.floor(coveragePercent)} % of the rules decide a case\n`;
  const unused = dead.map(({ id, file, line }) => `no case is decided by rule ${id} (${file}:${line})\n`).join('');
  return lines + summary + unused;
}

function resultText({ case: one, failures, answer }: CaseResult): string {
  if (failures.length === 0) return `ok    ${one.name}\n`;
  const why = explanationText(one.asked, { phases: [answer] }).replace(/^(?=.)/gm, '      ');
  return `FAIL  ${one.name} (${one.file}:${one.line})\n      ${failures.join('; ')}\n${why}`;
}

function outcomeJson({ results, dead, coveragePercent }: CasesOutcome): object {
  const cases = results.map(({ case: { name, file, line }, failures, answer: { verdict, rule, mode, phase } }) => ({
    ...{ name, file, line, passed: failures.length === 0, failures, verdict, rule, mode, phase },
  }));
  return { cases, coverage_percent: coveragePercent, dead_rules: dead.map(({ id }) => id) };
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
