import { describe, expect, it } from 'vitest';
import { decideQuestion } from '../../../src/dns/filter.ts';
import { readName } from '../../../src/wire/dns-name.ts';
import { DNS_TYPES, type DnsTypeName, wireName } from '../../kit/dns-message.ts';
import { AGENT, type RuleText, ruleSetOf } from '../policy/kit.ts';

const API: RuleText = { id: 'api', condition: 'http.host == "api.test"' };

function decide(
  name: string | Buffer,
  type: DnsTypeName | number = 'A',
  rules: readonly RuleText[] = [API],
  inClass = 1,
) {
  const bytes = Buffer.concat([Buffer.alloc(12), typeof name === 'string' ? wireName(name) : name]);
  const question = {
    name: readName(bytes, 12)!,
    type: typeof type === 'number' ? type : DNS_TYPES[type],
    class: inClass,
  };
  return decideQuestion(question, AGENT, ruleSetOf(...rules));
}

describe('a question', () => {
  it('for the address of an allowed name is for a synthetic address', () => {
    expect(decide('API.test')).toMatchObject({ kind: 'address', host: 'api.test', allow: { ruleId: 'api' } });
  });

  it('for a name that no rule allows is blocked, with the verdict that says why', () => {
    expect(decide('other.test')).toMatchObject({ kind: 'blocked', block: { ruleId: 'default', cause: 'default' } });
    const no: RuleText = { id: 'no', condition: 'http.host == "api.test"', action: 'block' };
    expect(decide('api.test', 'A', [no, API])).toMatchObject({
      kind: 'blocked',
      block: { ruleId: 'no', cause: 'rule' },
    });
  });

  it.each(['AAAA', 'HTTPS', 'SVCB'] as const)('for %s of an allowed name has an empty answer', (type) => {
    expect(decide('api.test', type)).toMatchObject({ kind: 'empty', allow: { ruleId: 'api' } });
    expect(decide('other.test', type)).toMatchObject({ kind: 'blocked', block: { ruleId: 'default' } });
  });

  it('for HTTPS has an empty answer even where a rule names it', () => {
    const named: RuleText = { id: 'named', condition: 'http.host == "api.test" && dns.record_type == "HTTPS"' };
    expect(decide('api.test', 'HTTPS', [named])).toMatchObject({ kind: 'empty', allow: { ruleId: 'named' } });
    expect(decide('other.test', 'HTTPS', [named]).kind).toBe('blocked');
  });

  it('for AAAA never denies a name that has an address', () => {
    const noV6: RuleText = { id: 'no-v6', condition: 'dns.record_type == "AAAA"', action: 'block' };
    expect(decide('api.test', 'AAAA', [noV6, API])).toMatchObject({ kind: 'empty', allow: { ruleId: 'api' } });
    expect(decide('other.test', 'AAAA', [noV6, API]).kind).toBe('blocked');
  });

  it.each(['TXT', 'NULL', 'MX', 'SRV', 'NS', 'CNAME'] as const)(
    'for %s is refused unless a rule names the type',
    (type) => {
      expect(decide('api.test', type)).toMatchObject({ kind: 'type_refused', host: 'api.test' });
      const named: RuleText = { id: 'named', condition: `dns.query == "api.test" && dns.record_type == "${type}"` };
      expect(decide('api.test', type, [API, named])).toMatchObject({ kind: 'relay', allow: { ruleId: 'named' } });
      expect(decide('other.test', type, [API, named])).toMatchObject({ kind: 'type_refused' });
    },
  );

  it.each([0, 41, 128, 249, 250, 251, 252, 255])('for type %i is refused whatever a rule names', (type) => {
    const named: RuleText = { id: 'any', condition: 'dns.record_type in ["ANY", "AXFR", "IXFR", "OPT", "TYPE249"]' };
    expect(decide('api.test', type, [named])).toMatchObject({ kind: 'refused' });
  });

  it.each([3, 4, 254, 255])('of class %i is refused', (inClass) => {
    expect(decide('api.test', 'A', [API], inClass)).toMatchObject({ kind: 'refused' });
    expect(decide('api.test', 'A', [API], 1).kind).toBe('address');
  });

  const everything: readonly RuleText[] = [{ id: 'all', condition: 'true' }];

  it.each([
    ['a NUL', wireName('api.test\0.evil.test')],
    ['a dot inside a label', Buffer.from('\x08api.test\x00', 'latin1')],
    ['a space', wireName('api test')],
    ['a byte above ASCII', wireName('\xe4pi.test')],
    ['a hyphen at the start', wireName('-api.test')],
    ['an address for its text', wireName('127.0.0.1')],
    ['a number as its last label', wireName('api.1')],
    ['a Punycode label that IDNA cannot write', wireName('xn--a.test')],
    ['no label', wireName('')],
  ])('for a name with %s is for no host, though everything is allowed', (_what, name) => {
    expect(decide(name, 'A', everything)).toEqual({ kind: 'no_host' });
    expect(decide('api.test', 'A', everything).kind).toBe('address');
  });

  it('for PTR is about the address that the name says backwards', () => {
    expect(decide('7.128.203.10.in-addr.arpa', 'PTR')).toEqual({ kind: 'reverse', address: '10.203.128.7' });
  });

  it.each([
    '1.0.0.127.ip6.arpa',
    '256.0.0.10.in-addr.arpa',
    '01.0.0.10.in-addr.arpa',
    '0.0.10.in-addr.arpa',
    '1.1.0.0.10.in-addr.arpa',
    'api.test',
  ])('for PTR of %s is refused', (name) => {
    expect(decide(name, 'PTR')).toMatchObject({ kind: 'refused' });
  });
});
