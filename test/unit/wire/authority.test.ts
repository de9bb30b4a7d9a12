import { describe, expect, it } from 'vitest';
import { parseAbsoluteForm, parseConnectTarget, parseHostField } from '../../../src/wire/authority.ts';

/** What no door may take for a host, and what the record says of it. */
const BAD_HOSTS: readonly (readonly [string, string])[] = [
  ['', 'an empty host'],
  ['exa\0mple.com', 'a NUL byte'],
  ['example.com\r', 'CR or LF'],
  ['example.com\nx', 'CR or LF'],
  ['example.com ', 'white space'],
  ['exam\tple.com', 'white space'],
  ['exam\x01ple.com', 'a control byte'],
  ['exam\x7fple.com', 'a control byte'],
  ['exämple.com', 'not ASCII'],
  ['example%00.com', 'a percent sign'],
  ['example%2ecom', 'a percent sign'],
  ['user@example.com', 'userinfo'],
  ['user%40a@example.com', 'userinfo'],
  ['example.com/x', 'a path'],
  ['example.com\\x', 'a path'],
  ['example.com?x', 'a path'],
  ['example.com#x', 'a path'],
  ['2130706433', 'an IPv4 address that is not four plain'],
  ['0x7f000001', 'an IPv4 address that is not four plain'],
  ['0X7F.1', 'an IPv4 address that is not four plain'],
  ['127.1', 'an IPv4 address that is not four plain'],
  ['127.0.1', 'an IPv4 address that is not four plain'],
  ['0177.0.0.1', 'an IPv4 address that is not four plain'],
  ['127.0.0.01', 'an IPv4 address that is not four plain'],
  ['127.0.0.1.', 'an IPv4 address that is not four plain'],
  ['256.0.0.1', 'an IPv4 address that is not four plain'],
  ['1.2.3.4.5', 'an IPv4 address that is not four plain'],
  ['[fe80::1%eth0]', 'an IPv6 zone id'],
  ['[fe80::1%25eth0]', 'an IPv6 zone id'],
  ['[127.0.0.1]', 'not an IPv6 address'],
  ['[::1', 'an IPv6 address without brackets'],
  ['[]', 'not an IPv6 address'],
  ['[::1]x', 'an IPv6 address without brackets'],
  ['a..b', 'not a DNS name'],
  ['.a', 'not a DNS name'],
  ['-a.com', 'not a DNS name'],
  ['*.a.com', 'not a DNS name'],
  [`${'a'.repeat(64)}.com`, 'not a DNS name'],
  ['a'.repeat(300), 'not a DNS name'],
];

describe('a CONNECT target', () => {
  it.each([
    ['example.com:443', 'example.com', 443],
    ['EXAMPLE.com.:8443', 'example.com', 8443],
    ['192.0.2.1:1', '192.0.2.1', 1],
    ['[2001:DB8:0:0::1]:65535', '2001:db8::1', 65_535],
    ['xn--bcher-kva.example:443', 'xn--bcher-kva.example', 443],
  ])('%s is the canonical host and the port', (target, host, port) => {
    expect(parseConnectTarget(target)).toEqual({ ok: true, value: { host, port } });
  });

  it.each(BAD_HOSTS)('%j with a port is refused as %s, and example.com is not', (host, rule) => {
    expect(parseConnectTarget(`${host}:443`)).toMatchObject({ ok: false, detail: expect.stringContaining(rule) });
    expect(parseConnectTarget('example.com:443').ok).toBe(true);
  });

  it.each(['', '0', '00443', '0443', '+443', '-1', '4 43', '443x', '0x1bb', '65536', '99999', '443443', '４４３'])(
    'with the port %j is refused',
    (port) => {
      expect(parseConnectTarget(`example.com:${port}`).ok).toBe(false);
    },
  );

  it('without a port, with two, or with an unbracketed IPv6 address is refused', () => {
    for (const target of ['example.com', 'example.com:443:443', '::1:443', '2001:db8::1', 'http://example.com:443']) {
      expect(parseConnectTarget(target).ok).toBe(false);
    }
  });

  it('is shown escaped and cut where it is refused', () => {
    expect(parseConnectTarget('a\r\nb:443')).toEqual({ ok: false, detail: 'CR or LF in the host: a\\x0d\\x0ab:443' });
    const long = parseConnectTarget('-'.repeat(10_000));
    expect(long.ok ? '' : long.detail).toHaveLength('not a DNS name: '.length + 64 + '...'.length);
    const secret = parseConnectTarget('user:secret@api.test:443');
    expect(secret).toEqual({ ok: false, detail: 'userinfo before the host: [redacted]@api.test:443' });
  });
});

describe('a Host field', () => {
  it('has the default port unless it names one', () => {
    expect(parseHostField('Example.com', 443)).toEqual({ ok: true, value: { host: 'example.com', port: 443 } });
    expect(parseHostField('example.com:8080', 443)).toEqual({ ok: true, value: { host: 'example.com', port: 8080 } });
    expect(parseHostField('[::1]', 80)).toEqual({ ok: true, value: { host: '::1', port: 80 } });
  });

  it.each(BAD_HOSTS)('%j is refused as %s, and example.com is not', (host, rule) => {
    expect(parseHostField(host, 443)).toMatchObject({ ok: false, detail: expect.stringContaining(rule) });
    expect(parseHostField('example.com', 443).ok).toBe(true);
  });

  it('with an empty port or an unbracketed IPv6 address is refused', () => {
    for (const field of ['example.com:', '::1', '[::1]:', 'a:b:c']) expect(parseHostField(field, 443).ok).toBe(false);
  });
});

describe('an absolute-form target', () => {
  it.each([
    ['http://example.com/a?b', 'example.com', 80, '/a?b'],
    ['HTTP://Example.COM:8080/', 'example.com', 8080, '/'],
    ['http://example.com', 'example.com', 80, '/'],
    ['http://example.com?x=1', 'example.com', 80, '/?x=1'],
    ['http://[::1]:80//a', '::1', 80, '//a'],
    ['http://example.com/http://other.com/@', 'example.com', 80, '/http://other.com/@'],
  ])('%s is host, port and the raw origin-form', (uri, host, port, target) => {
    expect(parseAbsoluteForm(uri)).toEqual({ ok: true, value: { host, port, target } });
  });

  it.each([
    ['https://example.com/', 'https in absolute form'],
    ['ftp://example.com/', 'not an absolute http URI'],
    ['http:/example.com/', 'not an absolute http URI'],
    ['example.com/', 'not an absolute http URI'],
    ['/a', 'not an absolute http URI'],
    ['http://example.com/#x', 'a fragment'],
    ['http://example.com#x', 'a fragment'],
    ['http://user:pw@example.com/', 'userinfo'],
    ['http://example.com\\@other.com/', 'a path in the host'],
    ['http:///a', 'an empty host'],
    ['http://:80/', 'an empty host'],
    ['http://127.1/', 'an IPv4 address'],
    ['http://example.com:/', 'a port'],
    ['http://example.com:0/', 'a port'],
  ])('%s is refused as %s', (uri, rule) => {
    expect(parseAbsoluteForm(uri)).toMatchObject({ ok: false, detail: expect.stringContaining(rule) });
  });
});
