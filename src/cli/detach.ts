/** `outcall detach CONTAINER...`: gives containers back the networks, names and trust that they had before. */
import type { Command } from 'commander';
import type { Detached } from '../docker/detach.ts';
import { type EngineOptions, withAppliance, withEngine } from './engine-option.ts';
import { CliError, type CliIo, EXIT_FAILURE } from './io.ts';
import { stepLines } from './step-lines.ts';

export function addDetachCommand(program: Command, io: CliIo): void {
  withEngine(program.command('detach'))
    .description('give containers back what they had before they were attached')
    .argument('<container...>', 'names or ids')
    .action((names: readonly string[], options: EngineOptions) => detachAll(io, names, options));
}

async function detachAll(io: CliIo, names: readonly string[], options: EngineOptions): Promise<void> {
  const { detach } = await import('../docker/detach.ts');
  const problems: string[] = [];
  for (const name of names) {
    const detached = await withAppliance(options, (engine, appliance) =>
      detach(engine, appliance, name, stepLines(io, options.json)),
    );
    io.out(options.json ? `${JSON.stringify(detached)}\n` : detachedText(detached));
    problems.push(...detached.problems.map((problem) => `${detached.name}: ${problem}`));
  }
  if (problems.length > 0) throw new CliError(EXIT_FAILURE, `not all could be given back: ${problems.join('; ')}`);
}

function detachedText({ name, networks }: Detached): string {
  return `${name} is detached; its networks: ${networks.join(', ') || 'none'}\n`;
}
