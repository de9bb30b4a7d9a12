import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { NetworkLock } from '../../../src/netfilter/lock.ts';
import { LockFailure } from '../../../src/netfilter/lock-failure.ts';
import { findPlugged, type Plugged, type PluggedNetwork } from '../../../src/netfilter/plan.ts';
import { TestClock } from '../../kit/clock.ts';
import { FakeKernel } from './fake-kernel.ts';
import { ip, PLAN, range, SHARED } from './plans.ts';

interface Scene {
  readonly lock: NetworkLock;
  readonly kernel: FakeKernel;
  readonly events: unknown[];
  /** What the lock was set for, each time. */
  readonly served: (readonly PluggedNetwork[])[];
  /** Where the agents' network is plugged in. */
  plugged: Plugged | undefined;
}

const PLUGGED: Plugged = { networks: PLAN.networks, outside: PLAN.outside, strange: [] };

function scene(): Scene {
  const kernel = new FakeKernel();
  const events: unknown[] = [];
  const take = (fields: object) => void events.push((fields as { event: string }).event);
  const state: { plugged: Plugged | undefined } = { plugged: PLUGGED };
  const served: (readonly PluggedNetwork[])[] = [];
  const lock = new NetworkLock({
    ...PLAN,
    agentsSubnet: SHARED.subnet,
    pool: SHARED.pool,
    isolated: range('10.204.0.0/14'),
    onNetworks: (networks) => served.push(networks),
    kernel,
    clock: new TestClock(),
    log: { error: take, info: take },
    findPlugged: () => {
      if (state.plugged === undefined) throw new LockFailure('unplugged');
      return state.plugged;
    },
  });
  return Object.assign(state, { lock, kernel, events, served });
}

describe('the lock', () => {
  it('is whole once it is set and reads back', async () => {
    const { lock, kernel } = scene();
    expect(lock.intact).toBe(false);
    await lock.set();
    expect([lock.intact, kernel.applied.length]).toEqual([true, 1]);
    expect([...kernel.routed]).toEqual(['10.203.128.0/17', '10.204.6.0/23']);
  });

  it('is not set where it does not read back as it was meant', async () => {
    const { lock, kernel } = scene();
    const apply = kernel.apply.bind(kernel);
    kernel.apply = async (text) => {
      await apply(text);
      kernel.table = 'changed';
    };
    await expect(lock.set()).rejects.toThrow('does not read back as it was set');
    expect(lock.intact).toBe(false);
  });

  it('is not set where the appliance itself has an address of the pool', async () => {
    const own = scene();
    own.plugged = { ...PLUGGED, networks: [{ ...SHARED, ownAddress: ip('10.203.128.2') }] };
    await expect(own.lock.set()).rejects.toThrow(
      "--pool: 10.203.128.0/17 holds the appliance's own address 10.203.128.2",
    );
    expect(own.kernel.applied).toEqual([]);
  });

  it.each(['gone', 'changed'] as const)(
    'that is %s is told, set again, and whole at the look after that',
    async (table) => {
      const { lock, kernel, events } = scene();
      await lock.set();
      kernel.table = table;
      await lock.check();
      expect([lock.intact, kernel.table]).toEqual([false, 'ours']);
      await lock.check();
      expect(lock.intact).toBe(true);
      expect(events).toEqual(['lock_set', 'lock_broken', 'lock_set', 'lock_restored']);
    },
  );

  it('is left alone while it is as it should be', async () => {
    const { lock, kernel } = scene();
    await lock.set();
    await lock.check();
    expect([lock.intact, kernel.applied.length]).toEqual([true, 1]);
  });

  it('is set again with the grants that were given', async () => {
    const { lock, kernel } = scene();
    await lock.set();
    await lock.grants.grant({ host: 'git.test' as Host, address: '10.203.128.9', ports: [22], agentIp: '10.203.0.11' });
    kernel.table = 'gone';
    kernel.grants.clear();
    await lock.check();
    expect([...kernel.grants]).toEqual(['10.203.128.9 . 22']);
    expect(await lock.listGrants()).toMatchObject([{ host: 'git.test', port: 22, expiresSecs: 599 }]);
  });

  it('is set again without a grant that nobody gave', async () => {
    const { lock, kernel } = scene();
    await lock.set();
    kernel.grants.add('10.203.128.77 . 22');
    await lock.check();
    expect([lock.intact, kernel.grants.size]).toEqual([false, 0]);
  });

  it('is not whole while it cannot be read, or the agents’ network is not there, and says which', async () => {
    const own = scene();
    const { lock, kernel, events } = own;
    await lock.set();
    kernel.failWith = 'nft failed';
    await lock.check();
    expect(lock.intact).toBe(false);
    kernel.failWith = undefined;
    await lock.check();
    expect(lock.intact).toBe(true);
    own.plugged = undefined;
    await lock.check();
    expect(lock.intact).toBe(false);
    expect(events).toEqual(['lock_set', 'lock_unreadable', 'lock_restored', 'lock_unreadable']);
  });

  it('follows networks that come, go and change their interface, without a word of having been broken', async () => {
    const own = scene();
    const { lock, kernel } = own;
    own.plugged = { ...PLUGGED, networks: [SHARED] };
    await lock.set();
    own.plugged = PLUGGED;
    await lock.check();
    expect(kernel.applied.at(-1)).toContain('iifname "eth2" jump agents1');
    own.plugged = { ...PLUGGED, networks: [{ ...SHARED, interface: 'eth3' }] };
    await lock.check();
    expect(kernel.applied.at(-1)).toContain('iifname "eth3" jump agents0');
    expect(kernel.applied.at(-1)).not.toContain('agents1');
    expect([...kernel.routed]).toEqual(['10.203.128.0/17']);
    expect(own.served.map((networks) => networks.map(({ subnet }) => subnet.cidr))).toEqual([
      ['10.203.0.0/16'],
      ['10.203.0.0/16', '10.204.4.0/22'],
      ['10.203.0.0/16'],
    ]);
    expect(own.events).not.toContain('lock_broken');
  });

  it('says once of an interface that is no network of one agent that it stays closed', async () => {
    const own = scene();
    own.plugged = { ...PLUGGED, strange: ['eth5: our address there is not 10.204.8.2'] };
    await own.lock.set();
    await own.lock.check();
    expect(own.events.filter((event) => event === 'network_refused')).toHaveLength(1);
  });
});

describe("the agents' networks among the interfaces", () => {
  const address = (cidr: string) => [{ address: cidr.split('/')[0], cidr }] as never;
  const ranges = { agentsSubnet: SHARED.subnet, pool: SHARED.pool, isolated: range('10.204.0.0/14') };
  const usual = { lo: address('127.0.0.1/8'), eth0: address('10.203.0.2/16'), eth1: address('172.18.0.2/16') };

  it('are the one with an address in their subnet, and those of one agent; the others are outside', () => {
    expect(findPlugged(ranges, { ...usual, eth2: address('10.204.4.2/22') })).toEqual(PLUGGED);
  });

  it('are no networks of one agent where the range is not told, and outside is then none of them', () => {
    const found = findPlugged({ ...ranges, isolated: undefined }, { ...usual, eth2: address('10.204.4.2/22') });
    expect([found.networks, found.outside]).toEqual([[SHARED], ['eth1', 'eth2']]);
  });

  it.each([
    ['10.204.4.9/22', 'eth2: our address there is not 10.204.4.2'],
    ['10.204.4.2/28', 'eth2: 10.204.4.0/28 is no network of one agent in 10.204.0.0/14'],
    ['10.204.0.2/12', 'eth2: 10.192.0.0/12 is no network of one agent in 10.204.0.0/14'],
  ])('are none at %s, which is neither outside nor served', (cidr, why) => {
    const found = findPlugged(ranges, { ...usual, eth2: address(cidr) });
    expect(found).toEqual({ networks: [SHARED], outside: ['eth1'], strange: [why] });
  });

  it('are refused, both of them, where two overlap', () => {
    const twice = { ...usual, eth2: address('10.204.4.2/22'), eth3: address('10.204.4.2/23') };
    const found = findPlugged(ranges, twice);
    expect([found.networks, found.outside, found.strange.length]).toEqual([[SHARED], ['eth1'], 2]);
  });

  it('are refused where the shared one is not there, or there twice', () => {
    expect(() => findPlugged(ranges, { eth1: address('172.18.0.2/16') })).toThrow(
      '--agents-subnet: no interface has an address in 10.203.0.0/16; connect',
    );
    const twice = { eth0: address('10.203.0.2/16'), eth2: address('10.203.0.3/16') };
    expect(() => findPlugged(ranges, twice)).toThrow('(eth0, eth2); give the appliance one');
  });
});
