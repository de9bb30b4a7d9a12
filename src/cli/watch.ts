/**
 * `outcall watch`: stays, and attaches again what starts again. The one command that is meant to run for long with the
 * engine's socket, in a container of its own (compose/watch.yaml).
 */
import type { Command } from 'commander';
import type { Kept } from '../docker/keep.ts';
import { type EngineOptions, withEngine } from './engine-option.ts';
import type { CliIo } from './io.ts';

const WORDS: Readonly<Record<Kept, string | undefined>> = {
  locked: 'is locked',
  known: 'is known to the appliance',
  gone: undefined,
  none: undefined,
};

export function addWatchCommand(program: Command, io: CliIo): void {
  withEngine(program.command('watch'))
    .description('stay, and keep agents attached when they, the appliance or the engine start again')
    .action((options: EngineOptions) => stay(io, options));
}

async function stay(io: CliIo, options: EngineOptions): Promise<void> {
  const [{ watch }, { openEngine }] = await Promise.all([import('../docker/watch.ts'), import('../docker/engine.ts')]);
  const stop = new AbortController();
  const abort = () => stop.abort();
  process.once('SIGINT', abort).once('SIGTERM', abort);
  const say = (fields: { agent?: string; state?: string; problem?: string }, text: string) =>
    io.out(options.json ? `${JSON.stringify({ time: new Date().toISOString(), ...fields })}\n` : `${text}\n`);
  const report = {
    kept: (agent: string, kept: Kept) => {
      const words = WORDS[kept];
      if (words !== undefined) say({ agent, state: kept }, `${agent} ${words}`);
    },
    problem: (agent: string | undefined, problem: string) =>
      say(
        { ...(agent === undefined ? {} : { agent }), problem },
        agent === undefined ? problem : `${agent}: ${problem}`,
      ),
  };
  await watch(openEngine, options, report, stop.signal);
  process.off('SIGINT', abort).off('SIGTERM', abort);
}
