/** The rules that a command works on: those that it is given, or the files of the daemon. Mistakes in them are told. */
import { readRulesFiles } from '../config/rules-files.ts';
import { ADMIN_PATHS, type StatusAnswer } from '../domain/admin-api.ts';
import { loadRules } from '../policy/load.ts';
import { formatProblem } from '../policy/problem.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { clientOf } from './admin-socket-option.ts';
import { CliError, type CliIo, EXIT_FAILURE } from './io.ts';

/** The paths themselves, or where the daemon has its rules. */
export async function rulesPaths(
  paths: readonly string[],
  options: { readonly adminSocket: string },
): Promise<readonly string[]> {
  if (paths.length > 0) return paths;
  try {
    return [(await clientOf(options).get<StatusAnswer>(ADMIN_PATHS.status)).rules_path];
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    throw new CliError(error.exitCode, `no rules were named, and ${error.message}`, { cause: error });
  }
}

/** Loads files and folders as one set, as a daemon with a CA would. Rejects after printing every error. */
export async function loadRuleSet(io: CliIo, paths: readonly string[]): Promise<RuleSet> {
  const read = await Promise.all(paths.map(readRulesFiles));
  const sources = read.flatMap((each) => each.sources);
  const anchors = new Map(read.flatMap((each) => [...each.anchors]));
  const unread = read.flatMap((each) => each.problems);
  const loaded = loadRules(sources, { caLoaded: true, generation: 0, anchors });
  if (loaded.ok && unread.length === 0) return loaded.rules;
  const problems = [...unread, ...(loaded.ok ? [] : loaded.problems)].filter(({ severity }) => severity === 'error');
  for (const problem of problems) io.err(`${formatProblem(problem)}\n`);
  throw new CliError(EXIT_FAILURE, `the rules in ${paths.join(', ')} have errors`);
}
