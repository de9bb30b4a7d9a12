import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { NetworkLock } from '../../../src/netfilter/lock.ts';
import { LockFailure } from '../../../src/netfilter/lock-failure.ts';
import { findAgentsInterface, type Plugged } from '../../../src/netfilter/plan.ts';
import { TestClock } from '../../kit/clock.ts';
import { FakeKernel } from './fake-kernel.ts';
import { ip, PLAN, range } from './plans.ts';

interface Scene {
  readonly lock: NetworkLock;
  readonly kernel: FakeKernel;
  readonly events: unknown[];
  /** Where the agents' network is plugged in. */
  plugged: Plugged | undefined;
}

function scene(): Scene {
  const kernel = new FakeKernel();
  const events: unknown[] = [];
  const take = (fields: object) => void events.push((fields as { event: string }).event);
  const state: { plugged: Plugged | undefined } = { plugged: PLAN };
  const lock = new NetworkLock({
    ...PLAN,
    kernel,
    clock: new TestClock(),
    log: { error: take, info: take },
    findAgents: () => {
      if (state.plugged === undefined) throw new LockFailure('unplugged');
      return state.plugged;
    },
  });
  return Object.assign(state, { lock, kernel, events });
}

describe('the lock', () => {
  it('is whole once it is set and reads back', async () => {
    const { lock, kernel } = scene();
    expect(lock.intact).toBe(false);
    await lock.set();
    expect([lock.intact, kernel.routed, kernel.applied.length]).toEqual([true, true, 1]);
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
    own.plugged = { ...PLAN, ownAddress: ip('10.203.128.2') };
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

  it('follows the agents’ network to another interface', async () => {
    const own = scene();
    await own.lock.set();
    own.plugged = { ...PLAN, agentsInterface: 'eth2' };
    await own.lock.check();
    expect(own.events).toContain('lock_broken');
    expect(own.kernel.applied.at(-1)).toContain('iifname "eth2" jump agents');
  });
});

describe("the interface on the agents' network", () => {
  const address = (text: string) => [{ address: text }] as never;
  const subnet = range('10.203.0.0/16');

  it('is the one that has an address in their subnet', () => {
    const interfaces = { lo: address('127.0.0.1'), eth0: address('10.203.0.2'), eth1: address('172.18.0.2') };
    expect(findAgentsInterface(subnet, interfaces)).toEqual({ agentsInterface: 'eth0', ownAddress: ip('10.203.0.2') });
  });

  it('is refused where there is none, or more than one', () => {
    expect(() => findAgentsInterface(subnet, { eth1: address('172.18.0.2') })).toThrow(
      '--agents-subnet: no interface has an address in 10.203.0.0/16; connect',
    );
    const twice = { eth0: address('10.203.0.2'), eth2: address('10.203.0.3') };
    expect(() => findAgentsInterface(subnet, twice)).toThrow('(eth0, eth2); give the appliance one');
  });
});
