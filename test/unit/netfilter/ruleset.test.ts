import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Ipv4Range } from '../../../src/domain/ipv4-range.ts';
import { grantText, type LockPlan, lockLines, lockText, revokeText } from '../../../src/netfilter/ruleset.ts';
import { ISOLATED, ip, PLAN, SHARED } from './plans.ts';

/** The words, numbers and signs that the lock is made of; nothing that a value could bring along is among them. */
const WORDS = new Set(
  `table delete add element set chain type size flags timeout dynamic filter hook priority policy accept drop jump reject
  prerouting input forward output agents0 agents1 door0 door1 direct inet outcall ipv4_addr inet_service iifname oifname meta nfproto ipv6
  l4proto ip saddr daddr udp tcp dport ct state established related tproxy to update with reset`.split(/\s+/),
);

function strangeWords(text: string, interfaceName: string): readonly string[] {
  const plain = text.replaceAll(`"${interfaceName}"`, '').replaceAll(/"(lo|eth[012])"/g, '');
  return plain.split(/[\s{};,:.!=@/-]+/).filter((word) => word !== '' && !WORDS.has(word) && !/^[0-9]+s?$/.test(word));
}

/** Each place that takes the name of an interface. */
function named(name: string): readonly LockPlan[] {
  return [
    { ...PLAN, networks: [{ ...SHARED, interface: name }] },
    { ...PLAN, outside: [name] },
  ];
}

function linesOf(plan: LockPlan, chain: string): readonly string[] {
  return lockLines(plan)
    .filter((line) => line.startsWith(`${chain}: `))
    .map((line) => line.slice(chain.length + 2));
}

describe('the rules of the lock', () => {
  it('let agents reach DNS, the proxy and the pool, and drop the rest', () => {
    expect(linesOf(PLAN, 'agents0')).toEqual([
      'ip daddr 10.203.0.2 udp dport 53 accept',
      'ip daddr 10.203.0.2 tcp dport { 53, 8080 } accept',
      'ip daddr 10.203.128.0/17 tcp dport { 80, 443 } accept',
      'ip daddr 10.203.128.0/17 ip daddr . tcp dport @direct accept',
      'ip daddr 10.203.128.0/17 meta l4proto tcp ct state established accept',
      'ip daddr 10.203.128.0/17 meta l4proto tcp reject with tcp reset',
      'drop',
    ]);
  });

  it('drop what no rule names in input, forward and output, IPv6 before anything else', () => {
    for (const chain of ['input', 'forward', 'output']) {
      expect(lockLines(PLAN)).toContain(`chain ${chain}: filter ${chain} 0 policy drop`);
    }
    for (const chain of ['input', 'output']) expect(linesOf(PLAN, chain)[1]).toBe('meta nfproto ipv6 drop');
    expect(linesOf(PLAN, 'forward')).toEqual([]);
  });

  it('hear on a network of one agent that agent alone, and on any network nothing for others than us and names', () => {
    expect(linesOf(PLAN, 'door1').slice(0, 2)).toEqual([
      'ip saddr != 10.204.4.3 drop',
      'ip daddr != 10.204.4.2 ip daddr != 10.204.6.0/23 drop',
    ]);
    expect(linesOf(PLAN, 'door0').slice(0, 4)).toEqual([
      'ip saddr != 10.203.0.0/16 drop',
      'ip saddr 10.203.128.0/17 drop',
      'ip saddr 10.203.0.2 drop',
      'ip daddr != 10.203.0.2 ip daddr != 10.203.128.0/17 drop',
    ]);
  });

  it('open the port of the metrics to the outside alone, on the address that it has', () => {
    const metrics = { address: ip('172.20.0.2'), port: 9_464 };
    const opened = (plan: LockPlan) => lockLines(plan).filter((line) => !lockLines(PLAN).includes(line));
    expect(opened({ ...PLAN, metrics })).toEqual(['input: iifname "eth1" ip daddr 172.20.0.2 tcp dport 9464 accept']);
    expect(opened({ ...PLAN, metrics: { ...metrics, address: undefined } })).toEqual([
      'input: iifname "eth1" tcp dport 9464 accept',
    ]);
  });

  it('name every interface, so that one that is plugged in later is closed both ways', () => {
    for (const chain of ['prerouting', 'input', 'output']) {
      const open = linesOf(PLAN, chain).filter((rule) => !rule.endsWith('drop'));
      expect(open.filter((rule) => !/^[io]ifname "(lo|eth0|eth1|eth2)" /.test(rule))).toEqual([]);
    }
    expect(linesOf(PLAN, 'output')).toEqual([
      'oifname "lo" accept',
      'meta nfproto ipv6 drop',
      'oifname "eth0" ct state established,related accept',
      'oifname "eth2" ct state established,related accept',
      'ip daddr 10.203.0.0/16 drop',
      'ip daddr 10.204.0.0/14 drop',
      'oifname "eth1" accept',
    ]);
  });

  it('open no DNS and no transparent door where there is none', () => {
    const bare = { ...PLAN, dnsPort: undefined, transparent: undefined };
    expect(linesOf(bare, 'agents0')).toEqual([
      'ip daddr 10.203.0.2 tcp dport 8080 accept',
      'ip daddr 10.203.128.0/17 meta l4proto tcp reject with tcp reset',
      'drop',
    ]);
    expect(lockText(bare, [])).not.toContain('tproxy');
  });

  it('name a port once where DNS and the proxy share it', () => {
    expect(linesOf({ ...PLAN, dnsPort: 8080 }, 'agents0')[1]).toBe('ip daddr 10.203.0.2 tcp dport 8080 accept');
  });

  it('replace our own table whole, grants included, and touch no other', () => {
    const text = lockText(PLAN, [{ address: ip('10.203.128.9'), port: 22 }]);
    expect(text.startsWith('table inet outcall\ndelete table inet outcall\ntable inet outcall {\n')).toBe(true);
    expect(text.endsWith('add element inet outcall direct { 10.203.128.9 . 22 }\n')).toBe(true);
    expect(text.match(/\btable\b.*/g)).toEqual(['table inet outcall', 'table inet outcall', 'table inet outcall {']);
    expect(text).not.toContain('flush');
  });

  it('give a grant its whole time again, and take one away that may be over', () => {
    const element = 'element inet outcall direct { 10.203.128.9 . 22, 10.203.128.9 . 2222 }';
    const grants = [22, 2222].map((port) => ({ address: ip('10.203.128.9'), port }));
    expect(grantText(grants)).toBe(`add ${element}\ndelete ${element}\nadd ${element}\n`);
    expect(revokeText(grants)).toBe(`add ${element}\ndelete ${element}\n`);
  });

  it('hold no word that is not theirs, whatever values they are made of', () => {
    const port = fc.integer({ min: 1, max: 65_535 });
    const address = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    const ranges = fc
      .tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }))
      .map(([text, prefix]) => Ipv4Range.parse(`${text}/${prefix}`));
    fc.assert(
      fc.property(port, port, port, address, ranges, (proxyPort, dnsPort, doorPort, own, pool) => {
        const transparent = { address: own, port: doorPort };
        const networks = [
          { ...SHARED, ownAddress: own, pool: pool ?? SHARED.pool },
          { ...ISOLATED, agent: own },
        ];
        const plan = { ...PLAN, proxyPort, dnsPort, transparent, networks };
        const text = lockText(plan, [{ address: own, port: proxyPort }]);
        return strangeWords(text, 'eth0').length === 0;
      }),
    );
  });

  it('take no name of an interface that could be read as anything else', () => {
    for (const name of ['eth0', 'br-1a2b3c', 'veth.7', 'enp0s31f6', 'a'.repeat(15)]) {
      for (const plan of named(name)) expect(strangeWords(lockText(plan, []), name)).toEqual([]);
    }
    const hostile = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '',
        'eth0"',
        'eth0" accept\n',
        '"; flush ruleset; #',
        'eth0\n',
        'a'.repeat(16),
        '-x',
        '.',
        '*',
        '$x',
        '@direct',
      ),
    );
    fc.assert(
      fc.property(hostile, (name) => {
        return named(name).every((plan) => {
          if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/.test(name))
            return strangeWords(lockText(plan, []), name).length === 0;
          expect(() => lockText(plan, [])).toThrow(RangeError);
          return true;
        });
      }),
    );
  });

  it.each([0, -1, 65_536, 1.5, Number.NaN])('take no port %s', (port) => {
    expect(() => lockText({ ...PLAN, proxyPort: port }, [])).toThrow(RangeError);
    expect(() => lockText({ ...PLAN, dnsPort: port }, [])).toThrow(RangeError);
    expect(() => lockText({ ...PLAN, transparent: { address: 0, port } }, [])).toThrow(RangeError);
    expect(() => grantText([{ address: 0, port }])).toThrow(RangeError);
  });

  it('take no address that is none', () => {
    expect(() => lockText({ ...PLAN, networks: [{ ...SHARED, ownAddress: 2 ** 32 }] }, [])).toThrow(RangeError);
    expect(() => grantText([{ address: Number.NaN, port: 22 }])).toThrow(RangeError);
  });
});
