import { describe, expect, it, vi } from 'vitest';
import { PoolClient } from '../../../src/daemon/pool-client.ts';
import type { Host } from '../../../src/domain/hostname.ts';
import { TestClock } from '../../kit/clock.ts';

const ADDRESS = '10.203.128.9';
const GIT = 'git.test' as Host;

function scene(): { client: PoolClient; asked: string[]; clock: TestClock } {
  const asked: string[] = [];
  const clock = new TestClock();
  return { client: new PoolClient((address) => asked.push(address), clock), asked, clock };
}

describe("a worker's view of the synthetic addresses", () => {
  it('asks once for all that wait, and remembers the answer for a minute', async () => {
    const { client, asked, clock } = scene();
    const waiting = [client.hostOf(ADDRESS), client.hostOf(ADDRESS)];
    client.answered(ADDRESS, GIT);
    expect(await Promise.all(waiting)).toEqual([GIT, GIT]);
    clock.advance(50_000);
    expect(await client.hostOf(ADDRESS)).toBe(GIT);
    expect(asked).toEqual([ADDRESS]);
    clock.advance(10_000);
    void client.hostOf(ADDRESS);
    expect(asked).toEqual([ADDRESS, ADDRESS]);
  });

  it('does not remember that an address stands for no name', async () => {
    const { client, asked } = scene();
    const first = client.hostOf(ADDRESS);
    client.answered(ADDRESS, undefined);
    expect(await first).toBeUndefined();
    void client.hostOf(ADDRESS);
    expect(asked).toHaveLength(2);
  });

  it('forgets a name at once when its address changes hands', async () => {
    const { client } = scene();
    const first = client.hostOf(ADDRESS);
    client.answered(ADDRESS, GIT);
    await first;
    client.forget(ADDRESS);
    const second = client.hostOf(ADDRESS);
    client.answered(ADDRESS, 'db.test' as Host);
    expect(await second).toBe('db.test');
  });

  it('has no name for an address where the supervisor does not answer in time', async () => {
    vi.useFakeTimers();
    try {
      const { client, asked } = scene();
      const unanswered = client.hostOf(ADDRESS);
      await vi.advanceTimersByTimeAsync(2_000);
      expect(await unanswered).toBeUndefined();
      void client.hostOf(ADDRESS);
      expect(asked).toHaveLength(2);
    } finally {
      vi.useRealTimers();
    }
  });

  it('remembers a bounded number of addresses', async () => {
    const { client, asked } = scene();
    for (let i = 0; i < 5_000; i++) client.answered(`10.203.${128 + (i >> 8)}.${i & 255}`, GIT);
    void client.hostOf('10.203.128.0');
    expect(asked).toEqual(['10.203.128.0']);
    expect(await client.hostOf('10.203.147.135')).toBe(GIT);
  });
});
