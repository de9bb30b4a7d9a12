import { describe, expect, it } from 'vitest';
import { SyntheticPool } from '../../../src/dns/pool.ts';
import type { Host } from '../../../src/domain/hostname.ts';
import { TestClock } from '../../kit/clock.ts';

const HOUR_MS = 3_600_000;

function fixture(cidr = '10.203.128.0/17', reserved: readonly string[] = []) {
  const clock = new TestClock();
  const reassigned: string[] = [];
  const onReassign = (address: string, former: Host) => reassigned.push(`${address} ${former}`);
  const pool = new SyntheticPool({ cidr, reserved, clock, onReassign });
  return {
    pool,
    clock,
    reassigned,
    addressFor: (host: string, agent?: string) => pool.addressFor(host as Host, agent),
  };
}

/** Takes every address of a /28 by agents that keep to their share of four. */
function fill(names: ReturnType<typeof fixture>, count = 14): string[] {
  return Array.from({ length: count }, (_, i) => names.addressFor(`n${i}.test`, `agent-${i >> 2}`) as string);
}

describe('SyntheticPool', () => {
  it('gives each name an address of its own, the same each time, and knows the name by it', () => {
    const { pool, addressFor } = fixture();
    const first = addressFor('a.test') as string;
    const second = addressFor('b.test') as string;
    expect(first).toMatch(/^10\.203\.(1[2-9][0-9]|2[0-9]{2})\.[0-9]+$/);
    expect(second).not.toBe(first);
    expect(addressFor('a.test')).toBe(first);
    expect([pool.hostOf(first), pool.hostOf(second), pool.nameAt(second)]).toEqual(['a.test', 'b.test', 'b.test']);
  });

  it('gives a name the same address after a restart, in whichever order names are asked for', () => {
    const [before, after] = [fixture(), fixture()];
    const names = Array.from({ length: 50 }, (_, i) => `n${i}.test`);
    const given = new Map(names.map((name) => [name, before.addressFor(name)]));
    for (const name of names.toReversed()) expect(after.addressFor(name)).toBe(given.get(name));
  });

  it('holds the addresses of its range, and no name for those that it did not give', () => {
    const { pool } = fixture();
    expect(['10.203.128.0', '10.203.255.255'].map((each) => pool.holds(each))).toEqual([true, true]);
    expect(['10.203.127.255', '10.204.0.0', '::1', 'a.test'].map((each) => pool.holds(each))).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(pool.hostOf('10.203.128.9')).toBeUndefined();
    expect(pool.hostOf('192.0.2.1')).toBeUndefined();
  });

  it('never gives the first and last address of its range, nor a reserved one', () => {
    const names = fixture('10.0.0.16/28', ['10.0.0.17', '192.0.2.1']);
    const given = fill(names, 13);
    const expected = Array.from({ length: 13 }, (_, i) => `10.0.0.${18 + i}`);
    expect(new Set(given)).toEqual(new Set(expected));
    expect(names.addressFor('one-more.test', 'agent-4')).toBeUndefined();
  });

  it('has no address while all were used within the hour, and then takes that of the name used longest ago', () => {
    const names = fixture('10.0.0.0/28');
    const given = fill(names);
    names.clock.advance(HOUR_MS - 10_000);
    names.addressFor('n0.test', 'agent-0');
    expect(names.addressFor('new.test', 'agent-9')).toBeUndefined();
    expect(names.reassigned).toEqual([]);
    names.clock.advance(10_000);
    expect(names.addressFor('new.test', 'agent-9')).toBe(given[1]);
    expect(names.reassigned).toEqual([`${given[1]} n1.test`]);
    expect(names.pool.hostOf(given[1] as string)).toBe('new.test');
    expect(names.pool.hostOf(given[0] as string)).toBe('n0.test');
  });

  it('counts a connection as a use, and a look at the name as none', () => {
    const names = fixture('10.0.0.0/28');
    const given = fill(names);
    names.clock.advance(HOUR_MS - 10_000);
    names.pool.hostOf(given[0] as string);
    names.pool.nameAt(given[1] as string);
    names.clock.advance(10_000);
    expect(names.addressFor('new.test', 'agent-9')).toBe(given[1]);
  });

  it('keeps the address of a name that rested, for as long as there are others', () => {
    const { addressFor, clock, pool, reassigned } = fixture();
    const address = addressFor('a.test') as string;
    clock.advance(100 * HOUR_MS);
    addressFor('b.test');
    expect(pool.nameAt(address)).toBe('a.test');
    expect(addressFor('a.test')).toBe(address);
    expect(reassigned).toEqual([]);
  });

  it('gives one agent a quarter of its addresses within the hour, and others what they ask for', () => {
    const { addressFor, clock } = fixture('10.0.0.0/28');
    const own = Array.from({ length: 5 }, (_, i) => addressFor(`n${i}.test`, 'greedy'));
    expect(own.map((address) => address !== undefined)).toEqual([true, true, true, true, false]);
    expect(addressFor('n0.test', 'greedy')).toBe(own[0]);
    expect(addressFor('n4.test', 'other')).toBeDefined();
    expect(addressFor('n4.test', 'greedy')).toBeDefined();
    clock.advance(HOUR_MS);
    expect(addressFor('n5.test', 'greedy')).toBeDefined();
  });

  it('gives one agent all of it where the pool is its own', () => {
    const pool = new SyntheticPool({ cidr: '10.0.0.0/28', agentShare: 1, clock: new TestClock() });
    const own = Array.from({ length: 15 }, (_, i) => pool.addressFor(`n${i}.test` as Host, 'only'));
    expect(own.filter((address) => address !== undefined)).toHaveLength(14);
  });

  it('that is cleared stands for nothing, tells of each name, and is whole again', () => {
    const { addressFor, pool, reassigned } = fixture('10.0.0.0/28');
    const former = addressFor('a.test') ?? '';
    addressFor('b.test');
    pool.clear();
    expect([pool.size, pool.hostOf(former)]).toEqual([0, undefined]);
    expect(reassigned.map((each) => each.split(' ')[1])).toEqual(['a.test', 'b.test']);
    expect(addressFor('a.test')).toBe(former);
  });

  it.each(['10.0.0.0', '10.0.0.0/7', '10.0.0.0/29', '10.0.0.0/x', '::/64', '10.0.0.0/16/2', ''])(
    'refuses the range %j',
    (cidr) => {
      expect(() => fixture(cidr)).toThrow(RangeError);
      expect(() => fixture('10.0.0.0/28')).not.toThrow();
    },
  );

  it('finds room for every name until it is full', () => {
    const { addressFor, pool } = fixture('10.0.0.0/22');
    const given = new Set(Array.from({ length: 1_022 }, (_, i) => addressFor(`n${i}.test`, `agent-${i >> 7}`)));
    expect(given.size).toBe(1_022);
    expect(given.has(undefined)).toBe(false);
    expect(pool.size).toBe(1_022);
  });
});
