/**
 * `outcall attach CONTAINER...`: locks running containers to the appliance, or leaves them as they were and says why.
 * Exit 1 where one could not be locked; the others are attached all the same.
 */
import type { Command } from 'commander';
import type { Attached } from '../docker/attach.ts';
import type { Obstacle } from '../docker/lockable.ts';
import type { TrustReport } from '../docker/trust.ts';
import { type EngineOptions, withAppliance, withEngine } from './engine-option.ts';
import { CliError, type CliIo, EXIT_FAILURE } from './io.ts';
import { stepLines } from './step-lines.ts';

interface AttachOptions extends EngineOptions {
  readonly recreate: boolean;
  readonly isolate: boolean;
}

export function addAttachCommand(program: Command, io: CliIo): void {
  withEngine(program.command('attach'))
    .description('lock running containers to the appliance: network, names, trust')
    .argument('<container...>', 'names or ids')
    .option('--recreate', 'make them anew with mounts and variables instead; the old ones are kept, stopped', false)
    .option('--isolate', 'give each a network of its own, where no other agent is', false)
    .action((names: readonly string[], options: AttachOptions) => attachAll(io, names, options));
}

async function attachAll(io: CliIo, names: readonly string[], options: AttachOptions): Promise<void> {
  const failures: CliError[] = [];
  for (const name of names) {
    if (!options.json) io.err(`${name}\n`);
    try {
      const attached = await attachOne(io, name, options);
      if (options.json) io.out(`${JSON.stringify(attached)}\n`);
      else io.out(attachedText(attached));
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      failures.push(error);
    }
  }
  const [first] = failures;
  if (first === undefined) return;
  const code = failures.length === 1 ? first.exitCode : EXIT_FAILURE;
  throw new CliError(code, failures.map(({ message }) => message).join('\noutcall: '));
}

function attachOne(io: CliIo, name: string, options: AttachOptions): Promise<Attached> {
  return withAppliance(options, async (engine, appliance) => {
    const steps = stepLines(io, options.json);
    if (options.recreate) {
      const { recreate } = await import('../docker/recreate.ts');
      return recreate(engine, appliance, name, steps, options);
    }
    const { attach } = await import('../docker/attach.ts');
    return attach(engine, appliance, name, steps, options);
  });
}

function attachedText({ name, network, address, again, warnings, trust }: Attached): string {
  const done = `${name} is ${again ? 'still ' : ''}locked to network ${network} as ${address}\n`;
  return done + warnings.map(warningText).join('') + (trust === undefined ? '' : trustText(trust));
}

function warningText({ what, why, change }: Obstacle): string {
  return `  warning: ${what}: ${why}\n    -> ${change}\n`;
}

function trustText({ stores, skipped, variables }: TrustReport): string {
  const failed = stores
    .filter(({ result }) => result === 'failed')
    .map(({ path, detail }) => `  warning: the CA is not in ${path}: ${detail}\n`)
    .join('');
  const unread = skipped === undefined ? '' : `  warning: the CA is not installed: ${skipped}\n`;
  if (variables.length === 0) return failed + unread;
  const lines = variables.map(({ name, value, readers }) => `    ${name}=${value}  (${readers})\n`).join('');
  return `${failed}${unread}  When it is made the next time, set these, for runtimes with stores of their own:\n${lines}`;
}
