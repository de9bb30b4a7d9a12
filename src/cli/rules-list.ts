/** `outcall rules list`: the rules in force in the daemon, in the order in which they are tried. */
import type { Command } from 'commander';
import { ADMIN_PATHS, type RuleSummary, type RulesAnswer } from '../domain/admin-api.ts';
import { clientOf, withAdminSocket } from './admin-socket-option.ts';
import type { CliIo } from './io.ts';

export function addRulesList(rules: Command, io: CliIo): void {
  withAdminSocket(rules.command('list'))
    .description('the rules in force, in the order they are tried')
    .option('--json', 'one JSON object', false)
    .action(async (options: { adminSocket: string; json: boolean }) => {
      const answer = await clientOf(options).get<RulesAnswer>(ADMIN_PATHS.rules);
      io.out(options.json ? `${JSON.stringify(answer)}\n` : listText(answer));
    });
}

function listText({ generation, rules }: RulesAnswer): string {
  const rows = [['PRIORITY', 'ACTION', 'MODE', 'RULE', 'CONDITION'], ...rules.map(rowOf)];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\nGeneration ${generation}: first match decides; what matches nothing is blocked.\n`;
}

function rowOf({ priority, action, mode, id, condition }: RuleSummary): string[] {
  return [String(priority), action, mode ?? '-', id, condition.replace(/\s+/g, ' ').trim()];
}
