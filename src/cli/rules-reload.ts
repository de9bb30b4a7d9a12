/** `outcall rules reload`: the daemon takes the rules from disk. Exit 1, with every problem, when it refuses them. */
import type { Command } from 'commander';
import { ADMIN_PATHS, type ReloadAnswer } from '../domain/admin-api.ts';
import { formatProblem } from '../policy/problem.ts';
import { AdminError } from './admin-client.ts';
import { clientOf, withAdminSocket } from './admin-socket-option.ts';
import type { CliIo } from './io.ts';

export function addRulesReload(rules: Command, io: CliIo): void {
  withAdminSocket(rules.command('reload'))
    .description('take the rules from disk now; a bad set changes nothing')
    .action((options: { adminSocket: string }) => reload(io, options));
}

async function reload(io: CliIo, options: { adminSocket: string }): Promise<void> {
  try {
    const answer = await clientOf(options).post<ReloadAnswer>(ADMIN_PATHS.reload);
    for (const warning of answer.warnings) io.err(`${formatProblem(warning)}\n`);
    io.out(`generation ${answer.generation} is in force: ${answer.rules} ${answer.rules === 1 ? 'rule' : 'rules'}\n`);
  } catch (error) {
    if (error instanceof AdminError)
      for (const problem of error.document.problems ?? []) io.err(`${formatProblem(problem)}\n`);
    throw error;
  }
}
