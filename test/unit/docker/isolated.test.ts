import { describe, expect, it } from 'vitest';
import { listAgents } from '../../../src/docker/agents.ts';
import { type Appliance, findAppliance } from '../../../src/docker/appliance.ts';
import { attach } from '../../../src/docker/attach.ts';
import { detach } from '../../../src/docker/detach.ts';
import { keep } from '../../../src/docker/keep.ts';
import { recreate } from '../../../src/docker/recreate.ts';
import { silentSteps } from '../../../src/docker/steps.ts';
import { FakeEngine } from './fake-engine.ts';
import { FakeContainer, FakeWorld } from './fake-world.ts';

const ISOLATE = { isolate: true };

function scene(...names: readonly string[]): FakeWorld {
  const world = new FakeWorld();
  for (const name of names) world.add(new FakeContainer(name, { Image: 'debian', Labels: { name } }));
  return world;
}

function applianceOf({ engine }: FakeEngine): Promise<Appliance> {
  return findAppliance(engine, { network: 'outcall' });
}

async function isolate(fake: FakeEngine, name: string) {
  return attach(fake.engine, await applianceOf(fake), name, silentSteps, ISOLATE);
}

function networksOf(world: FakeWorld, name: string): readonly string[] {
  return [...(world.find(name)?.networks.keys() ?? [])];
}

describe('outcall attach --isolate', () => {
  it('gives each agent a closed network of its own, with the appliance on it and nobody else', async () => {
    const world = scene('web', 'other');
    await using fake = await FakeEngine.start(world);
    const [web, other] = [await isolate(fake, 'web'), await isolate(fake, 'other')];
    expect([web.network, web.address, other.network, other.address]).toEqual([
      'outcall-1',
      '10.204.0.3',
      'outcall-2',
      '10.204.4.3',
    ]);
    expect([networksOf(world, 'web'), networksOf(world, 'appliance')]).toEqual([
      ['outcall-1'],
      ['outcall', 'outcall-1', 'outcall-2'],
    ]);
    expect(world.find('appliance')?.networks.get('outcall-2')).toEqual({
      IPAMConfig: { IPv4Address: '10.204.4.2' },
      MacAddress: '02:42:0a:cc:04:02',
    });
    expect(world.find('web')?.files.get('/etc/resolv.conf')).toContain('nameserver 10.204.0.2\n');
    expect(world.networks.get('outcall-1')).toMatchObject({
      Internal: true,
      Options: { 'com.docker.network.bridge.inhibit_ipv4': 'true' },
      IPAM: { Config: [{ Subnet: '10.204.0.0/22', IPRange: '10.204.1.0/24', Gateway: '10.204.0.1' }] },
    });
    const standings = await listAgents(fake.engine, await applianceOf(fake));
    expect(standings.map(({ name, state, problems }) => [name, state, problems])).toEqual([
      ['other', 'isolated', []],
      ['web', 'isolated', []],
    ]);
  });

  it('passes over parts of the range that another network has, and says so where there is none left', async () => {
    const world = scene('web', 'other');
    world.isolatedRange = '10.204.0.0/21';
    world.addNetwork('mine', { IPAM: { Config: [{ Subnet: '10.204.2.0/24' }] } });
    await using fake = await FakeEngine.start(world);
    expect((await isolate(fake, 'web')).address).toBe('10.204.4.3');
    await expect(isolate(fake, 'other')).rejects.toThrow('10.204.0.0/21 has no room for another network of one agent');
    expect(networksOf(world, 'other')).toEqual(['bridge']);
  });

  it('is refused where the appliance has no range for it, and where the agent is on the shared network already', async () => {
    const world = scene('web');
    await using fake = await FakeEngine.start(world);
    world.isolatedRange = undefined;
    await expect(isolate(fake, 'web')).rejects.toThrow('has no range for networks of one agent');
    world.isolatedRange = '10.204.0.0/14';
    await attach(fake.engine, await applianceOf(fake), 'web', silentSteps);
    await expect(isolate(fake, 'web')).rejects.toThrow('web is attached to network outcall already');
    expect(networksOf(world, 'web')).toEqual(['outcall']);
  });

  it('leaves nothing behind, whichever of its changes the engine refuses', async () => {
    const counting = scene('web');
    await using counted = await FakeEngine.start(counting);
    await isolate(counted, 'web');
    for (let refused = 0; refused < counted.changes.length; refused++) {
      const world = scene('web');
      await using fake = await FakeEngine.start(world);
      fake.refuse = refused;
      await isolate(fake, 'web').catch(() => undefined);
      const change = counted.changes[refused];
      const attached = networksOf(world, 'web').includes('outcall-1');
      // Removing a helper container is the one change whose failure comes after all is done.
      if (attached && change?.startsWith('DELETE /containers/')) continue;
      expect
        .soft([networksOf(world, 'web'), networksOf(world, 'appliance')], change)
        .toEqual([['bridge'], ['outcall']]);
      expect.soft([...world.networks.keys()], change).toEqual(['bridge', 'outcall']);
    }
  });

  it('given again connects an appliance that was made anew', async () => {
    const world = scene('web');
    await using fake = await FakeEngine.start(world);
    await isolate(fake, 'web');
    world.find('appliance')?.networks.delete('outcall-1');
    const again = await attach(fake.engine, await applianceOf(fake), 'web', silentSteps);
    expect(again).toMatchObject({ again: true, network: 'outcall-1', address: '10.204.0.3' });
    expect(networksOf(world, 'appliance')).toEqual(['outcall', 'outcall-1']);
  });

  it('with --recreate makes the copy on a network of its own, and detach takes all of it back', async () => {
    const world = scene('web');
    await using fake = await FakeEngine.start(world);
    const appliance = await applianceOf(fake);
    await recreate(fake.engine, appliance, 'web', silentSteps, ISOLATE);
    expect(networksOf(world, 'web')).toEqual(['outcall-1']);
    expect(world.find('web')?.spec.HostConfig).toMatchObject({ NetworkMode: 'outcall-1', Dns: ['10.204.0.2'] });
    await detach(fake.engine, appliance, 'web', silentSteps);
    expect([networksOf(world, 'web'), networksOf(world, 'appliance')]).toEqual([['bridge'], ['outcall']]);
    expect([...world.networks.keys()]).toEqual(['bridge', 'outcall']);
  });
});

describe('a network of one agent', () => {
  it('goes with detach', async () => {
    const world = scene('web');
    await using fake = await FakeEngine.start(world);
    await isolate(fake, 'web');
    const { problems } = await detach(fake.engine, await applianceOf(fake), 'web', silentSteps);
    expect([problems, networksOf(world, 'web'), networksOf(world, 'appliance')]).toEqual([[], ['bridge'], ['outcall']]);
    expect([...world.networks.keys()]).toEqual(['bridge', 'outcall']);
  });

  it('is joined again by an appliance that was made anew, before its agent is known to it', async () => {
    const world = scene('web');
    await using fake = await FakeEngine.start(world);
    const { id } = await isolate(fake, 'web');
    world.find('appliance')?.networks.delete('outcall-1');
    world.agents.clear();
    expect(await keep(fake.engine, await applianceOf(fake), id)).toBe('locked');
    expect(networksOf(world, 'appliance')).toEqual(['outcall', 'outcall-1']);
    expect(world.agents.get(id)).toMatchObject({ name: 'web', ip: '10.204.0.3' });
  });

  it('goes when its agent is gone for good, and not while that is stopped', async () => {
    const world = scene('web', 'other');
    await using fake = await FakeEngine.start(world);
    const [web, other] = [await isolate(fake, 'web'), await isolate(fake, 'other')];
    const appliance = await applianceOf(fake);
    const container = world.find('web') as FakeContainer;
    container.running = false;
    expect(await keep(fake.engine, appliance, web.id)).toBe('gone');
    expect([...world.networks.keys()]).toContain('outcall-1');
    world.containers.splice(world.containers.indexOf(container), 1);
    expect(await keep(fake.engine, appliance, web.id)).toBe('gone');
    expect([...world.networks.keys()]).toEqual(['bridge', 'outcall', 'outcall-2']);
    expect(networksOf(world, 'appliance')).toEqual(['outcall', 'outcall-2']);
    expect(world.agents.has(other.id)).toBe(true);
  });

  it('with another container on it is told', async () => {
    const world = scene('web', 'intruder');
    await using fake = await FakeEngine.start(world);
    await isolate(fake, 'web');
    world.connect(world.find('intruder') as FakeContainer, 'outcall-1', {});
    const standings = await listAgents(fake.engine, await applianceOf(fake));
    expect(standings.find(({ name }) => name === 'web')).toMatchObject({
      state: 'open',
      problems: ['intruder is on its own network too'],
    });
  });
});
