import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { interfaceAddresses } from '../../../src/upstream/own-addresses.ts';
import { TestClock } from './support.ts';

describe('interfaceAddresses', () => {
  it('gives the address of every interface in canonical form', () => {
    const own = interfaceAddresses(new TestClock())();
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    expect(addresses.length).toBeGreaterThan(0);
    for (const { address } of addresses) expect(own).toContain(address);
    expect(own).not.toContain('192.0.2.1');
  });

  it('reads the interfaces again after a second, and when the clock was set back', () => {
    const clock = new TestClock();
    const addresses = interfaceAddresses(clock);
    const first = addresses();
    clock.advance(999);
    expect(addresses()).toBe(first);
    clock.advance(1);
    const second = addresses();
    expect(second).not.toBe(first);
    clock.advance(-3_600_000);
    expect(addresses()).not.toBe(second);
  });
});
