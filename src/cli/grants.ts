/** `outcall grants`: the ports of names that agents reach beside 80 and 443, and until when. */
import type { Command } from 'commander';
import { ADMIN_PATHS, type GrantSummary, type GrantsAnswer } from '../domain/admin-api.ts';
import { clientOf, withAdminSocket } from './admin-socket-option.ts';
import type { CliIo } from './io.ts';

export function addGrantsCommand(program: Command, io: CliIo): void {
  withAdminSocket(program.command('grants'))
    .description('the ports of names that agents reach beside 80 and 443, and until when')
    .option('--json', 'one JSON object', false)
    .action(async (options: { adminSocket: string; json: boolean }) => {
      const answer = await clientOf(options).get<GrantsAnswer>(ADMIN_PATHS.grants);
      io.out(options.json ? `${JSON.stringify(answer)}\n` : grantsText(answer));
    });
}

function grantsText({ grants }: GrantsAnswer): string {
  if (grants.length === 0) return 'No agent has asked for a name whose rules name ports other than 80 and 443.\n';
  const rows = [['HOST', 'PORT', 'ADDRESS', 'ENDS IN', 'AGENTS'], ...grants.map(rowOf)];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

function rowOf({ host, port, address, expires_secs, agents }: GrantSummary): string[] {
  return [host, String(port), address, expires_secs === null ? 'over' : `${expires_secs} s`, agents.join(' ')];
}
