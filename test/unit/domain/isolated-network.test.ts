import { describe, expect, it } from 'vitest';
import { formatIpv4, Ipv4Range } from '../../../src/domain/ipv4-range.ts';
import { isolatedNetwork, slicesOf } from '../../../src/domain/isolated-network.ts';

function range(text: string): Ipv4Range {
  const parsed = Ipv4Range.parse(text);
  if (parsed === undefined) throw new Error(`${text} is no range`);
  return parsed;
}

describe('a network of one agent', () => {
  it('has places for the appliance and the agent below its pool', () => {
    const network = isolatedNetwork(range('10.204.4.0/22'));
    expect(network?.pool.cidr).toBe('10.204.6.0/23');
    expect([network?.appliance, network?.agent].map((address) => formatIpv4(address ?? -1))).toEqual([
      '10.204.4.2',
      '10.204.4.3',
    ]);
  });

  it('is none where it would be too narrow or too wide', () => {
    for (const [text, is] of [
      ['10.204.0.0/27', true],
      ['10.204.0.0/28', false],
      ['10.204.0.0/16', true],
      ['10.204.0.0/15', false],
    ] as const) {
      expect([text, isolatedNetwork(range(text)) !== undefined]).toEqual([text, is]);
    }
  });

  it('is a part of the range, each once, lowest first', () => {
    const subnets = [...slicesOf(range('10.204.0.0/14'))].map(({ subnet }) => subnet.cidr);
    expect([subnets.length, new Set(subnets).size, subnets[0], subnets.at(-1)]).toEqual([
      256,
      256,
      '10.204.0.0/22',
      '10.207.252.0/22',
    ]);
    expect([...slicesOf(range('10.204.0.0/24'))].map(({ subnet }) => subnet.cidr)).toEqual(['10.204.0.0/24']);
    expect([...slicesOf(range('10.204.0.0/28'))]).toEqual([]);
  });
});
