import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CidrSet, canonicalIp, classifyIp, type IpClass } from '../../../src/domain/ip.ts';

/** [before, first, last, after]: the address just below a block, its two ends, the one just above; and three classes. */
type Boundary = readonly [string, string, string, string, IpClass, IpClass, IpClass];

const V4_BOUNDARIES: readonly Boundary[] = [
  ['-', '0.0.0.0', '0.255.255.255', '1.0.0.0', 'invalid', 'unspecified', 'public'],
  ['9.255.255.255', '10.0.0.0', '10.255.255.255', '11.0.0.0', 'public', 'private', 'public'],
  ['100.63.255.255', '100.64.0.0', '100.127.255.255', '100.128.0.0', 'public', 'shared', 'public'],
  ['100.100.100.199', '100.100.100.200', '100.100.100.200', '100.100.100.201', 'shared', 'metadata', 'shared'],
  ['126.255.255.255', '127.0.0.0', '127.255.255.255', '128.0.0.0', 'public', 'loopback', 'public'],
  ['168.63.129.15', '168.63.129.16', '168.63.129.16', '168.63.129.17', 'public', 'metadata', 'public'],
  ['169.253.255.255', '169.254.0.0', '169.254.255.255', '169.255.0.0', 'public', 'link_local', 'public'],
  ['169.254.0.22', '169.254.0.23', '169.254.0.23', '169.254.0.24', 'link_local', 'metadata', 'link_local'],
  ['169.254.42.41', '169.254.42.42', '169.254.42.42', '169.254.42.43', 'link_local', 'metadata', 'link_local'],
  ['169.254.168.255', '169.254.169.0', '169.254.169.255', '169.254.170.0', 'link_local', 'metadata', 'link_local'],
  ['169.254.170.1', '169.254.170.2', '169.254.170.2', '169.254.170.3', 'link_local', 'metadata', 'link_local'],
  ['169.254.170.22', '169.254.170.23', '169.254.170.23', '169.254.170.24', 'link_local', 'metadata', 'link_local'],
  ['172.15.255.255', '172.16.0.0', '172.31.255.255', '172.32.0.0', 'public', 'private', 'public'],
  ['191.255.255.255', '192.0.0.0', '192.0.0.255', '192.0.1.0', 'public', 'reserved', 'public'],
  ['192.0.0.191', '192.0.0.192', '192.0.0.192', '192.0.0.193', 'reserved', 'metadata', 'reserved'],
  ['192.0.1.255', '192.0.2.0', '192.0.2.255', '192.0.3.0', 'public', 'documentation', 'public'],
  ['192.31.195.255', '192.31.196.0', '192.31.196.255', '192.31.197.0', 'public', 'reserved', 'public'],
  ['192.52.192.255', '192.52.193.0', '192.52.193.255', '192.52.194.0', 'public', 'reserved', 'public'],
  ['192.88.98.255', '192.88.99.0', '192.88.99.255', '192.88.100.0', 'public', 'translated', 'public'],
  ['192.167.255.255', '192.168.0.0', '192.168.255.255', '192.169.0.0', 'public', 'private', 'public'],
  ['192.175.47.255', '192.175.48.0', '192.175.48.255', '192.175.49.0', 'public', 'reserved', 'public'],
  ['198.17.255.255', '198.18.0.0', '198.19.255.255', '198.20.0.0', 'public', 'benchmarking', 'public'],
  ['198.51.99.255', '198.51.100.0', '198.51.100.255', '198.51.101.0', 'public', 'documentation', 'public'],
  ['203.0.112.255', '203.0.113.0', '203.0.113.255', '203.0.114.0', 'public', 'documentation', 'public'],
  ['223.255.255.255', '224.0.0.0', '239.255.255.255', '240.0.0.0', 'public', 'multicast', 'reserved'],
  ['239.255.255.255', '240.0.0.0', '255.255.255.254', '255.255.255.255', 'multicast', 'reserved', 'broadcast'],
];

const F = 'ffff:ffff:ffff:ffff';
const V6_BOUNDARIES: readonly Boundary[] = [
  ['-', '::', '::', '::1', 'invalid', 'unspecified', 'loopback'],
  ['::', '::1', '::1', '::2', 'unspecified', 'loopback', 'translated'],
  ['::1', '::2', '::ffff:ffff', '::1:0:0', 'loopback', 'translated', 'reserved'],
  [`::fffe:ffff:ffff:ffff`, '::ffff:0:0:0', '::ffff:0:ffff:ffff', '::ffff:1:0:0', 'reserved', 'translated', 'reserved'],
  [`64:ff9a:${F}:ffff:ffff`, '64:ff9b::', '64:ff9b::ffff:ffff', '64:ff9b::1:0:0', 'reserved', 'translated', 'reserved'],
  [`64:ff9b:0:${F}:ffff`, '64:ff9b:1::', `64:ff9b:1:${F}:ffff`, '64:ff9b:2::', 'reserved', 'translated', 'reserved'],
  [`ff:ffff:ffff:ffff:${F}`, '100::', `100::${F}`, '100:0:0:1::', 'reserved', 'reserved', 'reserved'],
  [`1fff:ffff:ffff:ffff:${F}`, '2000::', `2000:ffff:ffff:ffff:${F}`, '2001::', 'reserved', 'public', 'translated'],
  [`2000:ffff:ffff:ffff:${F}`, '2001::', `2001:0:ffff:ffff:${F}`, '2001:1::', 'public', 'translated', 'reserved'],
  [`2001:1:ffff:ffff:${F}`, '2001:2::', `2001:2:0:ffff:${F}`, '2001:2:1::', 'reserved', 'benchmarking', 'reserved'],
  [`2001:2:0:ffff:${F}`, '2001:2:1::', `2001:1ff:ffff:ffff:${F}`, '2001:200::', 'benchmarking', 'reserved', 'public'],
  [
    `2001:db7:ffff:ffff:${F}`,
    '2001:db8::',
    `2001:db8:ffff:ffff:${F}`,
    '2001:db9::',
    'public',
    'documentation',
    'public',
  ],
  [`2001:ffff:ffff:ffff:${F}`, '2002::', `2002:ffff:ffff:ffff:${F}`, '2003::', 'public', 'translated', 'public'],
  [
    `2620:4f:7fff:ffff:${F}`,
    '2620:4f:8000::',
    `2620:4f:8000:ffff:${F}`,
    '2620:4f:8001::',
    'public',
    'reserved',
    'public',
  ],
  [`3ffe:ffff:ffff:ffff:${F}`, '3fff::', `3fff:fff:ffff:ffff:${F}`, '3fff:1000::', 'public', 'documentation', 'public'],
  [`3ffe:ffff:ffff:ffff:${F}`, '3fff:1000::', `3fff:ffff:ffff:ffff:${F}`, '4000::', 'public', 'public', 'reserved'],
  [`5eff:ffff:ffff:ffff:${F}`, '5f00::', `5f00:ffff:ffff:ffff:${F}`, '5f01::', 'reserved', 'reserved', 'reserved'],
  [`fbff:ffff:ffff:ffff:${F}`, 'fc00::', `fdff:ffff:ffff:ffff:${F}`, 'fe00::', 'reserved', 'private', 'reserved'],
  [`fd00:ec1:ffff:ffff:${F}`, 'fd00:ec2::', `fd00:ec2:ffff:ffff:${F}`, 'fd00:ec3::', 'private', 'metadata', 'private'],
  ['fd00:42::41', 'fd00:42::42', 'fd00:42::42', 'fd00:42::43', 'private', 'metadata', 'private'],
  ['fd20:ce::253', 'fd20:ce::254', 'fd20:ce::254', 'fd20:ce::255', 'private', 'metadata', 'private'],
  [`fe7f:ffff:ffff:ffff:${F}`, 'fe80::', `febf:ffff:ffff:ffff:${F}`, 'fec0::', 'reserved', 'link_local', 'reserved'],
  [`feff:ffff:ffff:ffff:${F}`, 'ff00::', `ffff:ffff:ffff:ffff:${F}`, '-', 'reserved', 'multicast', 'invalid'],
];

describe('classifyIp', () => {
  it.each([...V4_BOUNDARIES, ...V6_BOUNDARIES])(
    'ends a block where the registry does: %s | %s - %s | %s',
    (before, first, last, after, below, inside, above) => {
      expect([before, first, last, after].map(classifyIp)).toEqual([below, inside, inside, above]);
    },
  );

  it.each(V4_BOUNDARIES.slice(1))('judges the IPv4 address inside an IPv4-mapped one: %s | %s', (...row) => {
    for (const address of row.slice(0, 4)) {
      expect(classifyIp(`::ffff:${address}`)).toBe(classifyIp(address));
      expect(classifyIp(`::FFFF:${address}`)).toBe(classifyIp(address));
    }
  });

  it('judges a mapped address written in hex as it does the dotted one', () => {
    expect(classifyIp('::ffff:a9fe:a9fe')).toBe('metadata');
    expect(classifyIp('0:0:0:0:0:ffff:7f00:1')).toBe('loopback');
    expect(classifyIp('::ffff:808:808')).toBe('public');
  });

  it('sees an ISATAP address in a public or private prefix, and a plain one that differs in one bit', () => {
    expect(classifyIp('2600::5efe:10.0.0.1')).toBe('translated');
    expect(classifyIp('2600::200:5efe:10.0.0.1')).toBe('translated');
    expect(classifyIp('fd12::5efe:10.0.0.1')).toBe('translated');
    expect(classifyIp('2600::5eff:10.0.0.1')).toBe('public');
    expect(classifyIp('fd12::5eff:10.0.0.1')).toBe('private');
  });

  it.each([
    '',
    'localhost',
    '127.1',
    '2130706433',
    '0x7f.0.0.1',
    '0177.0.0.1',
    '010.0.0.1',
    '1.2.3.4.',
    ' 1.2.3.4',
    '[::1]',
    'fe80::1%eth0',
    '::ffff:1.2.3.4%1',
    '1.2.3.4/32',
  ])('takes %j for no address at all', (text) => {
    expect(classifyIp(text)).toBe('invalid');
    expect(canonicalIp(text)).toBeUndefined();
  });

  it('calls ordinary servers public', () => {
    for (const address of ['1.1.1.1', '8.8.8.8', '140.82.121.4', '2606:4700::6810:84e5', '2a00:1450:4001::200e']) {
      expect(classifyIp(address)).toBe('public');
    }
  });
});

describe('canonicalIp', () => {
  it('has one spelling for each value', () => {
    expect(canonicalIp('::FFFF:10.0.0.1')).toBe('10.0.0.1');
    expect(canonicalIp('::ffff:a00:1')).toBe('10.0.0.1');
    expect(canonicalIp('2001:0DB8:0:0:0:0:0:1')).toBe('2001:db8::1');
    expect(canonicalIp('::')).toBe('::');
    expect(canonicalIp('64:ff9b::1.2.3.4')).toBe('64:ff9b::102:304');
  });

  it('is its own fixed point, keeps the class, and agrees with the WHATWG parser', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const canonical = canonicalIp(address) as string;
        expect(canonicalIp(canonical)).toBe(canonical);
        expect(classifyIp(canonical)).toBe(classifyIp(address));
        const reference = new URL(`http://[${address}]/`).hostname.slice(1, -1);
        if (!reference.startsWith('::ffff:')) expect(canonical).toBe(reference);
      }),
    );
  });
});

describe('CidrSet', () => {
  it('holds a range from its first to its last address and nothing beside it', () => {
    const set = setOf('10.1.0.0/16', 'fd12::/32');
    expect(['10.0.255.255', '10.1.0.0', '10.1.255.255', '10.2.0.0'].map((ip) => set.contains(ip))).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(
      [`fd11:ffff:ffff:ffff:${F}`, 'fd12::', `fd12:0:ffff:ffff:${F}`, 'fd12:1::'].map((ip) => set.contains(ip)),
    ).toEqual([false, true, true, false]);
  });

  it('keeps the families apart, whatever their numbers', () => {
    expect(setOf('0.0.0.0/0').contains('::1')).toBe(false);
    expect(setOf('::/0').contains('10.0.0.1')).toBe(false);
    expect(setOf('0.0.0.0/0').contains('10.0.0.1')).toBe(true);
  });

  it('holds a mapped address where it holds the IPv4 address inside', () => {
    expect(setOf('10.0.0.0/8').contains('::ffff:10.0.0.1')).toBe(true);
    expect(setOf('10.0.0.0/8').contains('::ffff:11.0.0.1')).toBe(false);
  });

  it('takes a single address for itself alone', () => {
    expect(setOf('192.0.2.7').contains('192.0.2.7')).toBe(true);
    expect(setOf('192.0.2.7').contains('192.0.2.8')).toBe(false);
    expect(setOf('2001:db8::7').contains('2001:db8::8')).toBe(false);
  });

  it('leaves out ranges that are wider than the caller minds', () => {
    const set = setOf('0.0.0.0/0', '127.0.0.0/8', '169.254.169.254/32');
    expect(set.contains('127.0.0.1', 8)).toBe(true);
    expect(set.contains('127.0.0.1', 9)).toBe(false);
    expect(set.contains('169.254.169.254', 'exact')).toBe(true);
    expect(set.contains('169.254.169.253', 'exact')).toBe(false);
  });

  it('is empty without ranges', () => {
    expect(CidrSet.empty.contains('10.0.0.1')).toBe(false);
    expect(setOf().contains('::1')).toBe(false);
  });

  it.each([
    ['10.0.0.1/8', '10.0.0.0/8'],
    ['192.168.1.200/25', '192.168.1.128/25'],
    ['fd12::1/64', 'fd12::/64'],
    ['1.2.3.4/0', '0.0.0.0/0'],
  ])('refuses %s, which has host bits set, and says to write %s', (value, fix) => {
    const result = CidrSet.parse([value]);
    expect(result).toMatchObject({ ok: false, problems: [{ value, fix, message: expect.stringContaining(fix) }] });
    expect(CidrSet.parse([fix]).ok).toBe(true);
  });

  it.each([
    '',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    '10.0.0.0/8 ',
    '10/8',
    '::/129',
    'fe80::1%1/64',
    'example.com',
    '10.0.0.0/1e1',
  ])('refuses %j', (value) => {
    expect(CidrSet.parse([value])).toMatchObject({ ok: false, problems: [{ value }] });
  });

  it('reports every wrong entry of a list at once', () => {
    const result = CidrSet.parse(['10.0.0.0/8', 'nonsense', '10.0.0.1/8']);
    expect(result).toMatchObject({ ok: false, problems: [{ value: 'nonsense' }, { value: '10.0.0.1/8' }] });
  });

  it('agrees with a comparison of bit strings', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 0, max: 32 }), fc.ipV4(), (base, prefix, other) => {
        const network = bitsOf(base).slice(0, prefix);
        const cidr = `${addressOf(network.padEnd(32, '0'))}/${prefix}`;
        expect(setOf(cidr).contains(other)).toBe(bitsOf(other).startsWith(network));
        expect(setOf(cidr).contains(base)).toBe(true);
      }),
    );
  });
});

function setOf(...list: string[]): CidrSet {
  const result = CidrSet.parse(list);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.value;
}

function bitsOf(address: string): string {
  return address
    .split('.')
    .map((octet) => Number(octet).toString(2).padStart(8, '0'))
    .join('');
}

function addressOf(bits: string): string {
  return (bits.match(/.{8}/g) ?? []).map((octet) => Number.parseInt(octet, 2)).join('.');
}
