/** `outcall probe`: what `outcall attach` runs in an agent's network namespace to look around there. Not for people. */
import type { Command } from 'commander';
import type { ProbeRequest } from '../docker/probe.ts';
import type { CliIo } from './io.ts';

export function addProbeCommand(program: Command, io: CliIo): void {
  program
    .command('probe', { hidden: true })
    .description('look around in this network namespace')
    .argument('<request>', 'JSON')
    .action(async (request: string) => {
      const { probe } = await import('../docker/probe.ts');
      io.out(`${JSON.stringify(await probe(JSON.parse(request) as ProbeRequest))}\n`);
    });
}
