/**
 * domain(), glob(), cidr(), http.header(), http.query and http.json at their edges: what is matched, and the nearest
 * that is not.
 */
import { describe, expect, it } from 'vitest';
import type { RequestFacts } from '../../../src/domain/facts.ts';
import { AGENT, MATCH_BODY, request, ruleSetOf } from './kit.ts';

function told(condition: string, host: string, facts: Partial<RequestFacts> = {}): string {
  const verdict = ruleSetOf({ condition, egress: MATCH_BODY }).decideRequest(request(host, { body: '', ...facts }));
  return verdict.action;
}

describe('domain()', () => {
  it.each([
    [
      'example.com',
      ['example.com', 'a.example.com', 'a.b.example.com'],
      ['badexample.com', 'com', 'example.com.evil.org'],
    ],
    ['xn--bcher-kva.example', ['xn--bcher-kva.example', 'a.xn--bcher-kva.example'], ['bcher.example']],
    ['192.0.2.1', ['192.0.2.1'], ['1.192.0.2.1.evil.org', '192.0.2.11']],
    ['2001:db8::1', ['2001:db8::1'], ['2001:db8::11']],
  ])('%s is itself and what is below it, on label boundaries', (name, inside, outside) => {
    for (const host of inside) expect(told(`domain(http.host, "${name}")`, host), host).toBe('allow');
    for (const host of outside) expect(told(`domain(http.host, "${name}")`, host), host).toBe('block');
  });
});

describe('glob()', () => {
  it.each([
    ['/v1/*', ['/v1/a', '/v1/', '/v1/a?b=c'], ['/v1', '/v1/a/b', '/v1/a?b=c/d', 'x/v1/a']],
    ['/v1/**', ['/v1/', '/v1/a/b?c=d/e'], ['/v1', '/v2/a']],
    ['/v1/*/files/**', ['/v1/x/files/', '/v1/x/files/a/b'], ['/v1/x/y/files/a', '/v1/files/a']],
    ['/a.b+c(d)[e]{f}^$|?', ['/a.b+c(d)[e]{f}^$|?'], ['/aXb+c(d)[e]{f}^$|?', '/a.b+c(d)[e]{f}^$|']],
    ['', [], ['/']],
  ])('%s is the whole text, and its other characters are themselves', (pattern, matching, others) => {
    const of = (target: string) => told(`glob(http.path, "${pattern}")`, 'a.com', { target });
    for (const target of matching) expect(of(target), target).toBe('allow');
    for (const target of others) expect(of(target), target).toBe('block');
  });

  it('crosses lines with ** and is read in any text', () => {
    expect(told('glob(http.body, "a**z")', 'a.com', { body: 'a\n/\nz' })).toBe('allow');
    expect(told('glob(http.body, "a*z")', 'a.com', { body: 'a/z' })).toBe('block');
  });
});

describe('cidr()', () => {
  const of = (range: string, ip: string) => told(`cidr(agent.ip, "${range}")`, 'a.com', { agent: { ...AGENT, ip } });

  it.each([
    ['10.0.0.0/8', ['10.0.0.0', '10.255.255.255', '::ffff:10.1.2.3'], ['11.0.0.0', '9.255.255.255', '::10.1.2.3', '']],
    ['192.0.2.7', ['192.0.2.7'], ['192.0.2.8']],
    ['192.0.2.7/32', ['192.0.2.7'], ['192.0.2.6']],
    ['0.0.0.0/0', ['1.2.3.4'], ['2001:db8::1', 'a.com']],
    ['2001:db8::/32', ['2001:db8::1', '2001:db8:ffff::'], ['2001:db9::', '10.0.0.1']],
  ])('%s is the range to its last bit, and false for what is no address', (range, inside, outside) => {
    for (const ip of inside) expect(of(range, ip), ip).toBe('allow');
    for (const ip of outside) expect(of(range, ip), ip).toBe('block');
  });

  it('of a host is false for a name, where network.ip has no value', () => {
    expect(told('!cidr(http.host, "10.0.0.0/8")', 'a.com')).toBe('allow');
    expect(told('!cidr(network.ip, "10.0.0.0/8")', 'a.com')).toBe('block');
    expect(told('!cidr(network.ip, "10.0.0.0/8")', '192.0.2.1')).toBe('allow');
  });
});

describe('http.header()', () => {
  it('takes a name that is worked out, and is "" for one that is not there', () => {
    const headers = ['X-Team', 'blue', 'x-team', 'red'];
    expect(told('http.header("x-" + "TEAM") == "blue, red"', 'a.com', { headers })).toBe('allow');
    expect(told('http.header("x-" + "TEAMS") == ""', 'a.com', { headers })).toBe('allow');
    expect(told('http.header("x-team") == "blue"', 'a.com', { headers })).toBe('block');
  });
});

describe('http.query', () => {
  const of = (condition: string, target: string) => told(condition, 'a.com', { target });

  it('has all values of a parameter that comes more than once, in their order', () => {
    expect(of('http.query["a"] == ["1", "2"]', '/?a=1&b=3&a=2')).toBe('allow');
    expect(of('http.query["a"] == ["2", "1"]', '/?a=1&b=3&a=2')).toBe('block');
    expect(of('http.query["a"].all(v, v == "1")', '/?a=1&a=1')).toBe('allow');
    expect(of('http.query["a"].all(v, v == "1")', '/?a=1&a=2')).toBe('block');
    expect(of('http.query["a"].size() == 1 && "1" in http.query["a"]', '/?a=1&%61=2')).toBe('block');
  });

  it('tells names in another case or in brackets apart, and knows no other separator than &', () => {
    expect(of('http.query.size() == 3 && "a[]" in http.query', '/?a=1&A=2&a%5B%5D=3')).toBe('allow');
    expect(of('http.query["a"] == ["1;b=2"]', '/?a=1;b=2')).toBe('allow');
    expect(of('"" in http.query && http.query[""] == ["1"]', '/?=1')).toBe('allow');
    expect(of('http.query["a"] == ["b=c"]', '/?a=b=c')).toBe('allow');
  });

  it('reads what is not UTF-8 as U+FFFD, and a lone % as itself', () => {
    expect(of('http.query["a"] == ["\\uFFFD"]', '/?a=%FF')).toBe('allow');
    expect(of('http.query["a"] == ["100%"]', '/?a=100%')).toBe('allow');
  });

  it('is an error for a parameter that is not there, unless it is asked for', () => {
    expect(of('!("1" in http.query["a"])', '/')).toBe('block');
    expect(of('http.query[?"a"].orValue([]) == []', '/')).toBe('allow');
    expect(of('!("a" in http.query)', '/')).toBe('allow');
  });
});

describe('http.json', () => {
  const of = (condition: string, body: string) => told(condition, 'a.com', { body });

  it('keeps the last of two keys, as those who read JSON do', () => {
    expect(of('http.json.a == 2', '{"a":1,"a":2}')).toBe('allow');
    expect(of('http.json.a == 1', '{"a":1,"a":2}')).toBe('block');
  });

  it('is null for what is nearly JSON', () => {
    for (const body of ["{'a':1}", '{"a":1,}', '{"a":1} x', 'NaN', '\uFEFF{}', '{"a":1}{"b":2}'])
      expect(of('http.json == null', body), body).toBe('allow');
    expect(of('http.json == null', ' {"a":1}\n')).toBe('block');
  });

  it('is null for a JSON null too, and an error below anything that is no object', () => {
    expect(of('http.json == null', 'null')).toBe('allow');
    expect(of('http.json.a == 1 || true', '[1]')).toBe('allow');
    expect(of('http.json.a != 1', '[1]')).toBe('block');
  });
});
