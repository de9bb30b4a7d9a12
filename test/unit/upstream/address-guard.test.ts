import { describe, expect, it } from 'vitest';
import { AddressGuard, admitAddresses } from '../../../src/upstream/address-guard.ts';
import { cidrs } from './support.ts';

const PLAIN = { allowPrivateIps: false };
const PRIVATE_TOO = { allowPrivateIps: true };

describe('AddressGuard', () => {
  it('lets public addresses through under any grant', () => {
    const guard = guardWith();
    for (const address of ['8.8.8.8', '2606:4700::1']) {
      expect(guard.refusal(address, 443, PLAIN)).toBeUndefined();
      expect(guard.refusal(address, 443, PRIVATE_TOO)).toBeUndefined();
    }
  });

  it.each(['10.0.0.1', '172.16.0.1', '192.168.1.1', '100.64.0.1', 'fd12::1'])(
    'lets %s through only under a grant of private addresses or a range that holds it',
    (address) => {
      expect(guardWith().refusal(address, 443, PLAIN)).toMatch(/^(private|shared) address /);
      expect(guardWith().refusal(address, 443, PRIVATE_TOO)).toBeUndefined();
      expect(guardWith('0.0.0.0/0', '::/0').refusal(address, 443, PLAIN)).toBeUndefined();
    },
  );

  it.each([
    ['127.0.0.1', '127.0.0.0/8', '126.0.0.0/7'],
    ['::1', '::1/128', '::/127'],
    ['169.254.1.1', '169.254.0.0/16', '169.254.0.0/15'],
    ['fe80::1', 'fe80::/10', 'fe80::/9'],
  ])('lets %s through only in a range that means it: %s, not %s', (address, meant, tooWide) => {
    expect(guardWith().refusal(address, 443, PRIVATE_TOO)).toContain(address);
    expect(guardWith(tooWide).refusal(address, 443, PRIVATE_TOO)).toContain(address);
    expect(guardWith(meant).refusal(address, 443, PLAIN)).toBeUndefined();
  });

  it.each(['169.254.169.254', '169.254.170.2', '100.100.100.200', '168.63.129.16', 'fd00:ec2::254'])(
    'lets the metadata address %s through only where it is named by itself',
    (address) => {
      const wide = guardWith(
        '0.0.0.0/0',
        '::/0',
        '169.254.0.0/16',
        '100.64.0.0/10',
        '168.63.129.16/31',
        'fd00:ec2::/64',
      );
      expect(wide.refusal(address, 443, PRIVATE_TOO)).toBe(`metadata address ${address}`);
      expect(guardWith(address).refusal(address, 443, PLAIN)).toBeUndefined();
    },
  );

  it.each(['10.203.0.7', '::ffff:10.203.0.7', '10.203.128.1'])(
    "lets %s of the agents' network through under no grant and no range, not even named by itself",
    (address) => {
      const options = {
        allowPrivate: cidrs('0.0.0.0/0', '10.203.0.7', '10.203.128.1'),
        ownAddresses: () => new Set<string>(),
      };
      const locked = new AddressGuard({ ...options, neverDial: cidrs('10.203.0.0/16') });
      expect(admitAddresses(locked, [address], 443, PRIVATE_TOO).refusals[0]).toMatch(
        /^address of the agents' network 10\.203/,
      );
      expect(admitAddresses(locked, ['10.204.0.7'], 443, PRIVATE_TOO).admitted).toEqual(['10.204.0.7']);
      expect(admitAddresses(new AddressGuard(options), [address], 443, PLAIN).refusals).toEqual([]);
    },
  );

  it.each(['10.203.0.2', '8.8.4.4', 'fd12::2', '198.18.0.2'])(
    'lets our own address %s through only where it is named by itself',
    (own) => {
      const range = guardWith('0.0.0.0/0', '::/0', '198.18.0.0/15').own(own);
      expect(range.refusal(own, 443, PRIVATE_TOO)).toBe(`own address ${own}`);
      expect(guardWith(own).own(own).refusal(own, 443, PLAIN)).toBeUndefined();
      expect(guardWith('0.0.0.0/0', '::/0').refusal(own, 443, PRIVATE_TOO)).toBeUndefined();
    },
  );

  it('treats loopback as loopback though it is on our own interface', () => {
    expect(guardWith('127.0.0.0/8').own('127.0.0.1').refusal('127.0.0.1', 443, PLAIN)).toBeUndefined();
    expect(guardWith().own('127.0.0.1').refusal('127.0.0.1', 443, PRIVATE_TOO)).toBe('loopback address 127.0.0.1');
  });

  it.each(['198.18.0.1', '203.0.113.1', '240.0.0.1', '2001:db8::1'])(
    'lets %s through only in a range of the operator',
    (address) => {
      expect(guardWith().refusal(address, 443, PRIVATE_TOO)).toContain(address);
      expect(
        guardWith('198.18.0.0/15', '203.0.113.0/24', '240.0.0.0/4', '2001:db8::/32').refusal(address, 443, PLAIN),
      ).toBeUndefined();
    },
  );

  it.each([
    '0.0.0.0',
    '::',
    '224.0.0.1',
    'ff02::1',
    '255.255.255.255',
    '64:ff9b::a00:1',
    '2002:a00:1::',
    '2001:0:1::1',
    '::a00:1',
    'localhost',
  ])('never lets %s through', (address) => {
    expect(
      guardWith('0.0.0.0/0', '::/0', '0.0.0.0/8', '224.0.0.0/4', '64:ff9b::/96').refusal(address, 443, PRIVATE_TOO),
    ).toContain(address);
  });
});

describe('admitAddresses', () => {
  it('keeps what may be dialled in its order, and gives the reason for each of the others', () => {
    const found = ['8.8.8.8', '::ffff:10.0.0.1', '169.254.169.254', '2606:4700::1'];
    expect(admitAddresses(guardWith(), found, 443, PLAIN)).toEqual({
      admitted: ['8.8.8.8', '2606:4700::1'],
      refusals: ['private address 10.0.0.1', 'metadata address 169.254.169.254'],
    });
  });

  it('gives the canonical spelling to dial', () => {
    expect(admitAddresses(guardWith(), ['::ffff:8.8.8.8'], 443, PLAIN).admitted).toEqual(['8.8.8.8']);
  });
});

function guardWith(...allowPrivate: string[]) {
  const make = (own: readonly string[]) =>
    new AddressGuard({ allowPrivate: cidrs(...allowPrivate), ownAddresses: () => new Set(own) });
  return Object.assign(make([]), { own: (...addresses: string[]) => make(addresses) });
}
