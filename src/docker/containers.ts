/** Containers of the engine as views: one by name or id, and lists of them. Changes none. */
import {
  type ContainerView,
  containerView,
  endpointView,
  type InspectedEndpoint,
  type Inspection,
} from './container-view.ts';
import { type Engine, said, saidOrAbsent } from './engine.ts';
import { DockerFailure } from './failure.ts';

/** Short ids are what `docker ps` shows. */
export const SHORT_ID_CHARS = 12;

export interface ListedContainer {
  readonly id: string;
  readonly name: string;
  readonly running: boolean;
  readonly networkMode: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Network name -> its addresses there: the one in use, and the fixed one that a stopped container comes back with. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
}

/** Rejects with DockerFailure `absent` where there is no such container. */
export async function inspectContainer(engine: Engine, nameOrId: string): Promise<ContainerView> {
  const found = await findContainer(engine, nameOrId);
  if (found !== undefined) return found;
  throw new DockerFailure('absent', `there is no container ${nameOrId}`, ['docker ps --all lists them']);
}

export async function findContainer(engine: Engine, nameOrId: string): Promise<ContainerView | undefined> {
  const inspection = await inspectRaw(engine, nameOrId);
  return inspection === undefined ? undefined : containerView(inspection);
}

/** The engine's whole answer, for what makes a container anew. */
export function inspectRaw(engine: Engine, nameOrId: string): Promise<Inspection | undefined> {
  const answer = engine.docker.getContainer(nameOrId).inspect() as Promise<unknown> as Promise<Inspection>;
  return saidOrAbsent(`reading container ${nameOrId}`, answer);
}

/** Stopped ones too. `filters` as in GET /containers/json. */
export async function listContainers(
  engine: Engine,
  filters: Readonly<Record<string, readonly string[]>> = {},
): Promise<readonly ListedContainer[]> {
  const options = { all: true, filters: JSON.stringify(filters) };
  const listed = (await said('listing containers', engine.docker.listContainers(options))) as readonly Listed[];
  return listed.map(listedView);
}

interface Listed {
  readonly Id: string;
  readonly Names?: readonly string[] | null;
  readonly State: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly HostConfig?: { readonly NetworkMode?: string };
  readonly NetworkSettings?: { readonly Networks?: Readonly<Record<string, InspectedEndpoint>> | null };
}

function listedView(listed: Listed): ListedContainer {
  const networks = Object.entries(listed.NetworkSettings?.Networks ?? {});
  return {
    id: listed.Id,
    name: (listed.Names?.[0] ?? listed.Id).replace(/^\//, ''),
    running: listed.State === 'running' || listed.State === 'paused',
    networkMode: listed.HostConfig?.NetworkMode ?? '',
    labels: listed.Labels ?? {},
    addresses: new Map(
      networks.map(([name, endpoint]) => {
        const { address, fixedAddress } = endpointView(listed.Id, endpoint);
        return [name, [address, fixedAddress ?? ''].filter((text) => text !== '')];
      }),
    ),
  };
}
