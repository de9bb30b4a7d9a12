import { describe, expect, it } from 'vitest';
import { DNS_LIMITS } from '../../../src/dns/limits.ts';
import { Sources } from '../../../src/dns/sources.ts';
import { CidrSet } from '../../../src/domain/ip.ts';
import { TestClock } from '../../kit/clock.ts';

function sources() {
  const subnet = CidrSet.parse(['10.203.0.0/16']);
  if (!subnet.ok) throw new Error('the subnet is wrong');
  return new Sources(subnet.value, DNS_LIMITS, new TestClock());
}

describe('Sources', () => {
  it('knows an agent by its address, in either spelling, and keeps its share', () => {
    const known = sources();
    const agent = known.of('10.203.0.5');
    expect(agent).toMatchObject({ ip: '10.203.0.5', isAgent: true });
    expect(known.of('10.203.0.5')).toBe(agent);
    expect(known.of('::ffff:10.203.0.5')).toMatchObject({ ip: '10.203.0.5', isAgent: true });
    expect(known.of('10.203.0.6').share).not.toBe(agent.share);
  });

  it('lets all strangers share one', () => {
    const known = sources();
    const [one, two] = [known.of('10.204.0.1'), known.of('2001:db8::1')];
    expect([one.isAgent, two.isAgent]).toEqual([false, false]);
    expect(one.share).toBe(two.share);
  });
});
