/**
 * What all commands on containers share: the options that say which appliance, the way to the engine (loaded only now,
 * so that other commands start without it), and its failures in words.
 */
import { type Command, Option } from 'commander';
import type { Appliance, ApplianceOptions } from '../docker/appliance.ts';
import type { Engine } from '../docker/engine.ts';
import { CliError, EXIT_FAILURE, EXIT_NOT_FOUND } from './io.ts';

/** As compose/appliance.yaml names it. */
const DEFAULT_NETWORK = 'outcall';

export interface EngineOptions extends ApplianceOptions {
  readonly json: boolean;
}

/** Adds --network, --appliance and --json. */
export function withEngine(command: Command): Command {
  return command
    .addOption(new Option('--network <name>', "the agents' network").env('OUTCALL_NETWORK').default(DEFAULT_NETWORK))
    .addOption(new Option('--appliance <container>', 'the appliance, where several run').env('OUTCALL_APPLIANCE'))
    .option('--json', 'one JSON object', false);
}

/** Runs `work` with the engine; a DockerFailure becomes a CliError with its remedies. */
export async function withinEngine<T>(work: (engine: Engine) => Promise<T>): Promise<T> {
  const [{ openEngine }, { DockerFailure }] = await Promise.all([
    import('../docker/engine.ts'),
    import('../docker/failure.ts'),
  ]);
  try {
    return await work(await openEngine());
  } catch (error) {
    if (!(error instanceof DockerFailure)) throw error;
    const remedies = error.remedies.map((remedy) => `\n  -> ${remedy}`).join('');
    const code = error.kind === 'absent' ? EXIT_NOT_FOUND : EXIT_FAILURE;
    throw new CliError(code, `${error.message}${remedies}`, { cause: error });
  }
}

/** The same, with the appliance that the options name. */
export function withAppliance<T>(
  options: ApplianceOptions,
  work: (engine: Engine, appliance: Appliance) => Promise<T>,
): Promise<T> {
  return withinEngine(async (engine) => {
    const { findAppliance } = await import('../docker/appliance.ts');
    return work(engine, await findAppliance(engine, options));
  });
}
