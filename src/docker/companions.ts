/** Containers that share a namespace with one: whoever shares its network or its processes shares its lock, or breaks it. */

import { ROLE_LABEL } from './beside.ts';
import type { ContainerView } from './container-view.ts';
import { findContainer, listContainers } from './containers.ts';
import type { Engine } from './engine.ts';
import type { Companion } from './lockable.ts';

/** Of running containers alone; our own helpers are none. */
export async function companionsOf(engine: Engine, { id, name }: ContainerView): Promise<readonly Companion[]> {
  const listed = await listContainers(engine, { status: ['running', 'paused'] });
  const others = listed.filter((other) => other.id !== id && other.labels[ROLE_LABEL] !== 'helper');
  const views = await Promise.all(others.map((other) => findContainer(engine, other.id)));
  const shares = (mode: string) => mode === `container:${id}` || mode === `container:${name}`;
  return views
    .filter((view) => view !== undefined)
    .flatMap((container): Companion[] => {
      if (shares(container.pidMode)) return [{ name: container.name, shares: 'processes', container }];
      return shares(container.networkMode) ? [{ name: container.name, shares: 'network', container }] : [];
    });
}
