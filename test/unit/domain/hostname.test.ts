import { isIP, isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalHost, hostInUrl, isAddress } from '../../../src/domain/hostname.ts';

const LONG_LABEL = 'a'.repeat(63);
/** 4 x 63 characters and three dots are 255; a name may have 253. */
const LONGEST = [LONG_LABEL, LONG_LABEL, LONG_LABEL, 'a'.repeat(61)].join('.');

describe('a canonical host', () => {
  it.each([
    ['example.com', 'example.com'],
    ['EXAMPLE.Com', 'example.com'],
    ['example.com.', 'example.com'],
    ['localhost', 'localhost'],
    ['_dmarc.example.com', '_dmarc.example.com'],
    ['a--b.example', 'a--b.example'],
    ['1.example', '1.example'],
    ['1e100.net', '1e100.net'],
    ['0x.example', '0x.example'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['BÜCHER.example', 'xn--bcher-kva.example'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['XN--BCHER-KVA.example', 'xn--bcher-kva.example'],
    ['faß.example', 'xn--fa-hia.example'],
    ['xn--ls8h.example', 'xn--ls8h.example'],
    ['r3---sn-xn--a.example', 'r3---sn-xn--a.example'],
    ['例え.テスト', 'xn--r8jz45g.xn--zckzah'],
    ['192.0.2.1', '192.0.2.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['[::1]', '::1'],
    ['::1', '::1'],
    ['[2001:DB8:0:0:0:0:0:1]', '2001:db8::1'],
    ['2001:0db8::0001', '2001:db8::1'],
    ['[::ffff:192.0.2.1]', '::ffff:c000:201'],
    [LONGEST, LONGEST],
    [`${LONGEST}.`, LONGEST],
  ])('of %s is %s', (text, host) => {
    expect(canonicalHost(text)).toBe(host);
  });

  it.each([
    '',
    '.',
    '..',
    '.example.com',
    'example..com',
    'example.com..',
    '-example.com',
    'example-.com',
    'exam ple.com',
    ' example.com',
    'example.com ',
    'example.com\t',
    'example.com\0',
    'example.com\0.evil.com',
    'example.com\r\n',
    'exam\x7fple.com',
    'example%2ecom',
    'example.com%00',
    'exam/ple.com',
    'exam\\ple.com',
    'exam?ple.com',
    'exam#ple.com',
    'user@example.com',
    'example.com:443',
    '*.example.com',
    'exam,ple.com',
    '[example.com]',
    '[example.com',
    'example.com]',
    `${LONG_LABEL}a.com`,
    `${LONGEST}a`,
    'a'.repeat(10_000),
    '2130706433',
    '0x7f000001',
    '0X7F.0.0.1',
    '0x7f.1',
    '0x',
    'a.0x',
    '0177.0.0.1',
    '127.0.0.01',
    '127.1',
    '127.0.1',
    '1.2.3.4.5',
    '1.2.3',
    '256.1.1.1',
    '127.0.0.1.',
    'example.1',
    '１２７.0.0.1',
    '127。0。0。1',
    '①②⑦.0.0.1',
    '::1%lo',
    '[fe80::1%25eth0]',
    '[::1]]',
    '[[::1]]',
    '[::1]:80',
    '[]',
    '[127.0.0.1]',
    '::ffff:127.1',
    '::g',
    '1::2::3',
    'xn--',
    'xn--a',
    'xn--a.example',
    'xn--jm6c',
    'xn--wca',
    'xn--kba.example',
    'www.xn--abc',
    'xn--K-.example',
    'xn--\u00fc.example',
    '\u00ad',
    'a\u200bb.example\u0000',
    '\ud800.example',
  ])('is not made of %j, while example.com has one', (text) => {
    expect(canonicalHost(text)).toBeUndefined();
    expect(canonicalHost('example.com')).toBe('example.com');
  });

  it('is told apart from a name and put in brackets where it is IPv6', () => {
    const of = (text: string) => canonicalHost(text) ?? expect.fail(text);
    expect([isAddress(of('example.com')), isAddress(of('192.0.2.1')), isAddress(of('::1'))]).toEqual([
      false,
      true,
      true,
    ]);
    expect(hostInUrl(of('example.com'))).toBe('example.com');
    expect(hostInUrl(of('192.0.2.1'))).toBe('192.0.2.1');
    expect(hostInUrl(of('::1'))).toBe('[::1]');
  });
});

/** Texts near hosts: names, addresses in every spelling, and what IDNA maps to something else. */
const nearHost = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'aZ09-_.:[]%xn'), maxLength: 24 }),
  fc.string({
    unit: fc.constantFrom('a', '1', '.', 'ü', 'ß', 'ς', '。', '．', '\u00ad', '\u200d', 'K', 'ﬁ', '①', '\u0130', 'א'),
    maxLength: 10,
  }),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.domain(),
  fc.ipV4(),
  fc.ipV4Extended(),
  fc.ipV6(),
  fc.ipV6().map((address) => `[${address}]`),
  fc
    .tuple(fc.constantFrom('xn--', 'XN--'), fc.string({ unit: fc.constantFrom(...'abz019-'), maxLength: 8 }))
    .map((parts) => parts.join('')),
);

describe('for any text the canonical host', () => {
  it('is its own canonical form, in brackets too where it is IPv6, and in any case with a trailing dot where it is a name', () => {
    fc.assert(
      fc.property(nearHost, (text) => {
        const host = canonicalHost(text);
        if (host === undefined) return;
        expect(canonicalHost(host)).toBe(host);
        expect(canonicalHost(hostInUrl(host))).toBe(host);
        expect(canonicalHost(host.toUpperCase())).toBe(host);
        if (!isAddress(host)) expect(canonicalHost(`${host}.`)).toBe(host);
      }),
      { numRuns: 5000 },
    );
  });

  it('is an address to Node exactly when it is one to us, and lower-case ASCII otherwise', () => {
    fc.assert(
      fc.property(nearHost, (text) => {
        const host = canonicalHost(text);
        if (host === undefined) return;
        expect(isIP(host) !== 0).toBe(isAddress(host));
        if (isAddress(host)) return;
        expect(host).toMatch(/^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/);
        expect(host.length).toBeLessThanOrEqual(253);
      }),
      { numRuns: 5000 },
    );
  });

  it('is the host that the WHATWG URL parser would dial, so no client and no library reads another', () => {
    fc.assert(
      fc.property(nearHost, (text) => {
        const host = canonicalHost(text);
        if (host === undefined) return;
        expect(new URL(`http://${hostInUrl(host)}/`).hostname).toBe(hostInUrl(host));
      }),
      { numRuns: 5000 },
    );
  });

  it('keeps an address the same address', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.ipV6(), (v4, v6) => {
        expect(canonicalHost(v4)).toBe(v4);
        const host = canonicalHost(v6) ?? '';
        expect(isIPv6(host)).toBe(true);
        expect(new URL(`http://[${v6}]/`).hostname).toBe(`[${host}]`);
      }),
      { numRuns: 500 },
    );
  });

  it('exists for an IPv4 spelling only where that is four plain decimal numbers', () => {
    fc.assert(
      fc.property(fc.ipV4Extended(), (text) => {
        expect(canonicalHost(text)).toBe(isIPv4(text) ? text : undefined);
      }),
      { numRuns: 2000 },
    );
  });
});
