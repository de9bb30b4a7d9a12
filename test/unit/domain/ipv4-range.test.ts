import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatIpv4, Ipv4Range, parseIpv4 } from '../../../src/domain/ipv4-range.ts';

function range(text: string): Ipv4Range {
  const parsed = Ipv4Range.parse(text);
  if (parsed === undefined) throw new Error(`${text} is no range`);
  return parsed;
}

describe('an IPv4 address as a number', () => {
  it('is written as it was read', () => {
    fc.assert(fc.property(fc.ipV4(), (text) => formatIpv4(parseIpv4(text) as number) === text));
  });

  it('is read from four plain decimal numbers only', () => {
    for (const text of ['', '1.2.3', '1.2.3.4.5', '01.2.3.4', '0x1.2.3.4', '1.2.3.256', '::1', ' 1.2.3.4']) {
      expect([text, parseIpv4(text)]).toEqual([text, undefined]);
    }
    expect(parseIpv4('255.255.255.255')).toBe(4_294_967_295);
  });

  it.each([-1, 2 ** 32, 1.5, Number.NaN])('is not %s', (number) => {
    expect(() => formatIpv4(number)).toThrow(RangeError);
  });
});

describe('an IPv4 range', () => {
  it('is read and written in CIDR notation', () => {
    for (const text of ['10.203.0.0/16', '0.0.0.0/0', '10.203.0.2/32', '128.0.0.0/1'])
      expect(range(text).cidr).toBe(text);
  });

  it.each([
    '10.203.0.1/16',
    '10.203.0.0',
    '10.203.0.0/33',
    '10.203.0.0/016',
    '10.203.0.0/-1',
    '::/0',
    '10.203.0.0/16 ',
  ])('is not %s', (text) => {
    expect(Ipv4Range.parse(text)).toBeUndefined();
  });

  it('holds its addresses from the first to the last', () => {
    const pool = range('10.203.128.0/17');
    const holds = (text: string) => pool.contains(parseIpv4(text) as number);
    expect(['10.203.127.255', '10.203.128.0', '10.203.255.255', '10.204.0.0'].map(holds)).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it('covers a range that is inside it, and no other', () => {
    const subnet = range('10.203.0.0/16');
    expect(['10.203.128.0/17', '10.203.0.0/16'].map((text) => subnet.covers(range(text)))).toEqual([true, true]);
    expect(['10.202.0.0/15', '10.204.0.0/17'].map((text) => subnet.covers(range(text)))).toEqual([false, false]);
  });

  it('overlaps one that has an address of it, from either side', () => {
    const subnet = range('10.203.0.0/16');
    for (const [text, is] of [
      ['10.203.4.0/22', true],
      ['10.200.0.0/13', true],
      ['10.204.0.0/14', false],
      ['10.202.0.0/16', false],
    ] as const) {
      expect([text, subnet.overlaps(range(text)), range(text).overlaps(subnet)]).toEqual([text, is, is]);
    }
  });

  it('is found around an address, and has an upper half unless it is one address', () => {
    expect(Ipv4Range.around(parseIpv4('10.204.6.9') as number, 22).cidr).toBe('10.204.4.0/22');
    expect(range('10.204.4.0/22').upperHalf?.cidr).toBe('10.204.6.0/23');
    expect(range('10.204.4.1/32').upperHalf).toBeUndefined();
  });
});
