/** `outcall ps`: the containers behind the appliance and how they stand. Exit 1 where one has a way round. */
import type { Command } from 'commander';
import type { AgentStanding } from '../docker/agents.ts';
import { type EngineOptions, withAppliance, withEngine } from './engine-option.ts';
import { CliError, type CliIo, EXIT_FAILURE } from './io.ts';

export function addPsCommand(program: Command, io: CliIo): void {
  withEngine(program.command('ps'))
    .description('the containers behind the appliance, and how they stand')
    .action((options: EngineOptions) => list(io, options));
}

async function list(io: CliIo, options: EngineOptions): Promise<void> {
  const { listAgents } = await import('../docker/agents.ts');
  const agents = await withAppliance(options, listAgents);
  io.out(options.json ? `${JSON.stringify({ agents: agents.map(viewOf) })}\n` : table(agents));
  const open = agents.filter(({ state }) => state === 'open').map(({ name }) => name);
  if (open.length > 0) throw new CliError(EXIT_FAILURE, `not locked: ${open.join(', ')}`);
}

function viewOf({ id, name, image, address, state, problems }: AgentStanding): object {
  return { id, name, image, address, state, problems };
}

function table(agents: readonly AgentStanding[]): string {
  if (agents.length === 0) return 'There are no agents. outcall attach CONTAINER makes one.\n';
  const rows = [
    ['NAME', 'IMAGE', 'ADDRESS', 'STATE', 'PROBLEMS'],
    ...agents.map(({ name, image, address, state, problems }) => [
      name,
      image,
      address,
      state,
      problems.join('; ') || '-',
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
