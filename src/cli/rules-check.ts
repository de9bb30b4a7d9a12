/**
 * `outcall rules check`: every mistake in the files, as outcalld would find them, without asking it. Exit 1 on errors;
 * warnings alone are exit 0.
 */
import type { Command } from 'commander';
import { readRulesFiles } from '../config/rules-files.ts';
import { loadRules, type RuleSource } from '../policy/load.ts';
import { formatProblem, type Problem } from '../policy/problem.ts';
import { CliError, type CliIo, EXIT_FAILURE } from './io.ts';

interface CheckOptions {
  /** --no-ca: check as for a daemon without a CA, in which mode: intercept is an error. */
  readonly ca: boolean;
  readonly json: boolean;
}

export function addRulesCheck(rules: Command, io: CliIo): void {
  rules
    .command('check')
    .description('find every mistake in rule files or folders; several are checked as one set')
    .argument('<file...>', 'rule files, or folders of them')
    .option('--no-ca', 'check for an outcalld that runs without a CA')
    .option('--json', 'problems as one JSON array', false)
    .action((files: readonly string[], options: CheckOptions) => check(io, files, options));
}

async function check(io: CliIo, paths: readonly string[], options: CheckOptions): Promise<void> {
  const { problems, count, files } = await findProblems(paths, options.ca);
  if (options.json) io.out(`${JSON.stringify(problems)}\n`);
  else for (const problem of problems) io.out(`${formatProblem(problem)}\n`);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  if (errors > 0) throw new CliError(EXIT_FAILURE, `${plural(errors, 'error')} in ${plural(files, 'file')}`);
  if (!options.json) io.out(`${plural(count, 'rule')} in ${plural(files, 'file')}: no errors\n`);
}

interface Found {
  readonly problems: readonly Problem[];
  /** Rules; 0 where there are errors. */
  readonly count: number;
  readonly files: number;
}

async function findProblems(paths: readonly string[], caLoaded: boolean): Promise<Found> {
  const read = await Promise.all(paths.map(readRulesFiles));
  const sources: readonly RuleSource[] = read.flatMap((each) => each.sources);
  const anchors = new Map(read.flatMap((each) => [...each.anchors]));
  const unread = read.flatMap((each) => each.problems);
  if (sources.length === 0) return { problems: unread, count: 0, files: paths.length };
  const loaded = loadRules(sources, { caLoaded, generation: 0, anchors });
  if (!loaded.ok) return { problems: [...unread, ...loaded.problems], count: 0, files: sources.length };
  return { problems: [...unread, ...loaded.warnings], count: loaded.rules.rules.length, files: sources.length };
}

function plural(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
