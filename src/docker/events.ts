/** The engine's events as far as they matter to agents: which container must be looked at again. */

import { ROLE_LABEL } from './beside.ts';
import { type Engine, said } from './engine.ts';

/** What happened: to one container, or to the appliance, after which nobody is known to it. */
export type Happening = { readonly kind: 'container'; readonly id: string } | { readonly kind: 'appliance' };

interface EngineEvent {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes?: Readonly<Record<string, string>> };
}

const CONTAINER_ACTIONS = new Set(['start', 'die', 'destroy', 'rename', 'unpause']);
const NETWORK_ACTIONS = new Set(['connect', 'disconnect']);
/** `health_status: healthy`: only then does the appliance answer. */
const HEALTHY = /^health_status: healthy$/;

/** Ends when the engine does, or with `signal`. Rejects with DockerFailure where the engine cannot be asked. */
export async function* happenings(engine: Engine, signal: AbortSignal): AsyncGenerator<Happening> {
  const filters = JSON.stringify({ type: ['container', 'network'] });
  const stream = await said('listening to the engine', engine.docker.getEvents({ filters }));
  const stop = () => (stream as unknown as { destroy(): void }).destroy();
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const line of linesOf(stream)) {
      const happening = happeningOf(JSON.parse(line) as EngineEvent);
      if (happening !== undefined) yield happening;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
  }
}

async function* linesOf(stream: NodeJS.ReadableStream): AsyncGenerator<string> {
  let rest = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.filter((line) => line !== '');
  }
}

export function happeningOf({ Type, Action, Actor }: EngineEvent): Happening | undefined {
  const { ID, Attributes = {} } = Actor;
  if (Type === 'network') {
    const id = Attributes['container'];
    return NETWORK_ACTIONS.has(Action) && id !== undefined ? { kind: 'container', id } : undefined;
  }
  const role = Attributes[ROLE_LABEL];
  if (role === 'helper') return undefined;
  if (role === 'appliance') return HEALTHY.test(Action) ? { kind: 'appliance' } : undefined;
  return CONTAINER_ACTIONS.has(Action) ? { kind: 'container', id: ID } : undefined;
}
