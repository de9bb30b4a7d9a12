import { describe, expect, it, vi } from 'vitest';
import { listAgents } from '../../../src/docker/agents.ts';
import { findAppliance } from '../../../src/docker/appliance.ts';
import { attach } from '../../../src/docker/attach.ts';
import { fingerprintOf } from '../../../src/docker/certificate-text.ts';
import { silentSteps } from '../../../src/docker/steps.ts';
import { watch } from '../../../src/docker/watch.ts';
import { testCa } from '../../kit/pki.ts';
import { Seen } from '../../kit/seen.ts';
import { FakeEngine } from './fake-engine.ts';
import type { FakeContainer } from './fake-world.ts';
import { APPLIANCE_ADDRESS, FakeContainer as Container, FakeWorld, HOST_RESOLVER } from './fake-world.ts';

const OPTIONS = { network: 'outcall' };

interface Said {
  readonly name: string | undefined;
  readonly what: string;
}

async function whileWatching(fake: FakeEngine, use: (said: Seen<Said>) => Promise<void>): Promise<void> {
  const said = new Seen<Said>('word of watch');
  const stop = new AbortController();
  const listening = new Promise<void>((resolve) => {
    fake.world.onListening = resolve;
  });
  const report = {
    kept: (name: string, what: string) => said.push({ name, what }),
    problem: (name: string | undefined, what: string) => said.push({ name, what }),
  };
  const watching = watch(async () => fake.engine, OPTIONS, report, stop.signal);
  try {
    await listening;
    await use(said);
  } finally {
    stop.abort();
    await watching;
  }
}

async function attached(): Promise<{ fake: FakeEngine; web: FakeContainer }> {
  const world = new FakeWorld();
  const web = world.add(new Container('web', { Image: 'debian' }));
  const fake = await FakeEngine.start(world);
  await attach(fake.engine, await findAppliance(fake.engine, OPTIONS), 'web', silentSteps);
  return { fake, web };
}

function started(container: FakeContainer) {
  return { Type: 'container', Action: 'start', Actor: { ID: container.id, Attributes: {} } };
}

describe('outcall watch', () => {
  it('brings a container that started again back to what attach made of it', async () => {
    const { fake, web } = await attached();
    await using _ = fake;
    await whileWatching(fake, async (said) => {
      expect(await said.next()).toEqual({ name: 'web', what: 'locked' });
      web.files.set('/etc/resolv.conf', `nameserver ${HOST_RESOLVER}\n`);
      fake.happen(started(web));
      expect(await said.next()).toEqual({ name: 'web', what: 'locked' });
      expect(web.files.get('/etc/resolv.conf')).toContain(APPLIANCE_ADDRESS);
    });
  });

  it('takes a container off a network that somebody connected it to, and never gives one back', async () => {
    const { fake, web } = await attached();
    await using _ = fake;
    await whileWatching(fake, async (said) => {
      await said.next();
      fake.world.connect(web, 'bridge', {});
      fake.happen({
        Type: 'network',
        Action: 'connect',
        Actor: { ID: 'id-bridge', Attributes: { container: web.id } },
      });
      expect(await said.next()).toEqual({ name: 'web', what: 'locked' });
      expect([...web.networks.keys()]).toEqual(['outcall']);
    });
    expect(fake.changes.filter((change) => change === 'POST /networks/bridge/connect')).toEqual([]);
  });

  it('tells a new appliance who everybody is, those that are only on the network too', async () => {
    const { fake, web } = await attached();
    await using _ = fake;
    const joined = fake.world.add(new Container('joined', { Image: 'node' }), {
      outcall: { IPAMConfig: { IPv4Address: '10.203.64.9' } },
    });
    await whileWatching(fake, async (said) => {
      expect([await said.next(), await said.next()]).toEqual([
        { name: 'web', what: 'locked' },
        { name: 'joined', what: 'known' },
      ]);
      fake.world.agents.clear();
      const role = { 'outcall.role': 'appliance' };
      fake.happen({ Type: 'container', Action: 'health_status: healthy', Actor: { ID: 'x', Attributes: role } });
      await said.next();
      await said.next();
      expect([...fake.world.agents.keys()]).toEqual([web.id, joined.id]);
      expect(fake.world.agents.get(joined.id)).toMatchObject({ name: 'joined', image: 'node', ip: '10.203.64.9' });
    });
  });

  it('lets the appliance forget a container that stopped', async () => {
    const { fake, web } = await attached();
    await using _ = fake;
    await whileWatching(fake, async (said) => {
      await said.next();
      web.running = false;
      fake.happen({ Type: 'container', Action: 'die', Actor: { ID: web.id, Attributes: {} } });
      expect(await said.next()).toEqual({ name: 'web', what: 'gone' });
      expect(fake.world.agents.size).toBe(0);
    });
  });
});

describe('a CA that is replaced', () => {
  it('is noticed by watch within half a minute, and all agents trust it then; without a change nobody is looked at', async () => {
    const { fake, web } = await attached();
    await using _ = fake;
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      await whileWatching(fake, async (said) => {
        expect(await said.next()).toEqual({ name: 'web', what: 'locked' });
        vi.advanceTimersByTime(60_000);
        const ca = testCa('Outcall next CA').certPem;
        fake.world.caPem = ca;
        vi.advanceTimersByTime(30_000);
        expect(await said.next()).toEqual({ name: 'web', what: 'locked' });
        expect(web.files.get('/etc/outcall/trust/ca.crt')).toBe(ca);
        expect([...fake.world.agents.values()]).toMatchObject([{ name: 'web', trusts: [fingerprintOf(ca)] }]);
        expect(said.all.length).toBe(2);
      });
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('the standing of agents', () => {
  it('is locked after attach, joined by configuration alone, open on a second network, stopped where nothing runs', async () => {
    const { fake, web } = await attached();
    await using _ = fake;
    const { world } = fake;
    world.add(new Container('joined', {}), { outcall: { IPAMConfig: { IPv4Address: '10.203.64.9' } } });
    const appliance = await findAppliance(fake.engine, OPTIONS);
    const states = async () => (await listAgents(fake.engine, appliance)).map(({ name, state }) => `${name} ${state}`);
    expect(await states()).toEqual(['joined joined', 'web locked']);
    world.connect(web, 'bridge', {});
    expect(await states()).toEqual(['joined joined', 'web open']);
    web.running = false;
    expect(await states()).toEqual(['joined joined', 'web stopped']);
  });

  it('names a resolver that is not ours, and an agent that the appliance does not know', async () => {
    const { fake, web } = await attached();
    await using _ = fake;
    const appliance = await findAppliance(fake.engine, OPTIONS);
    expect((await listAgents(fake.engine, appliance))[0]?.problems).toEqual([]);
    web.files.set('/etc/resolv.conf', `nameserver ${HOST_RESOLVER}\n`);
    fake.world.agents.clear();
    expect((await listAgents(fake.engine, appliance))[0]?.problems).toEqual([
      `names are asked of ${HOST_RESOLVER}`,
      'the appliance does not know who it is',
    ]);
  });
});
