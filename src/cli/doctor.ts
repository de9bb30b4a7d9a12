/** `outcall doctor`: what the lock rests on, looked at piece by piece. Exit 1 where something is broken. */
import type { Command } from 'commander';
import type { Finding } from '../docker/doctor.ts';
import { type EngineOptions, withEngine, withinEngine } from './engine-option.ts';
import { CliError, type CliIo, EXIT_FAILURE } from './io.ts';

const MARKS: Readonly<Record<Finding['state'], string>> = { ok: ' ok ', warn: 'warn', fail: 'FAIL' };

export function addDoctorCommand(program: Command, io: CliIo): void {
  withEngine(program.command('doctor'))
    .description('look at engine, network, lock, CA, rules and each agent, and say what to do')
    .action((options: EngineOptions) => examine(io, options));
}

async function examine(io: CliIo, options: EngineOptions): Promise<void> {
  const { doctor } = await import('../docker/doctor.ts');
  const findings = await withinEngine((engine) => doctor(engine, options, Date.now()));
  if (options.json) io.out(`${JSON.stringify({ findings })}\n`);
  else io.out(findings.map(findingText).join(''));
  const broken = findings.filter(({ state }) => state === 'fail').length;
  if (broken > 0) throw new CliError(EXIT_FAILURE, `${broken} of ${findings.length} checks failed`);
}

function findingText({ about, state, text, remedy }: Finding): string {
  return `${MARKS[state]}  ${about}: ${text}\n${remedy === undefined ? '' : `        -> ${remedy}\n`}`;
}
