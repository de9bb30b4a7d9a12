/**
 * What conditions see of headers, query, body and JSON.
 */
import { describe, expect, it } from 'vitest';
import type { RequestFacts } from '../../../src/domain/facts.ts';
import { MATCH_BODY, request, ruleSetOf } from './kit.ts';

function holds(condition: string, facts: Partial<RequestFacts>): boolean {
  const verdict = ruleSetOf({ condition, egress: MATCH_BODY }).decideRequest(request('a.com', { body: '', ...facts }));
  return verdict.action === 'allow';
}

describe('http.headers', () => {
  const headers = ['Host', 'a.com', 'X-A', '1', 'x-a', '2', 'Cookie', 'a=1', 'COOKIE', 'b=2', 'Empty', ''];

  it('has names in lower case and joins values of one name as their RFCs say', () => {
    expect(holds('http.headers["x-a"] == "1, 2"', { headers })).toBe(true);
    expect(holds('http.headers["cookie"] == "a=1; b=2"', { headers })).toBe(true);
    expect(holds('http.headers.size() == 4 && "empty" in http.headers', { headers })).toBe(true);
    expect(holds('"x-b" in http.headers || "X-A" in http.headers', { headers })).toBe(false);
  });

  it('is asked through http.header() in any case, with "" for what is absent', () => {
    expect(holds('http.header("x-A") == "1, 2" && http.header("cookie") == "a=1; b=2"', { headers })).toBe(true);
    expect(holds('http.header("X-B") == "" && http.header("empty") == ""', { headers })).toBe(true);
    expect(holds('["x-a", "X-A"].all(name, http.header(name) == "1, 2")', { headers })).toBe(true);
  });

  it('has no entries but those of the request', () => {
    for (const name of ['__proto__', 'constructor', 'toString', 'size']) {
      expect(holds(`"${name.toLowerCase()}" in http.headers || has(http.headers.${name})`, { headers })).toBe(false);
      expect(holds(`http.header("${name}") == ""`, { headers })).toBe(true);
    }
    expect(holds('http.headers["__proto__"] == "x"', { headers: ['__proto__', 'x'] })).toBe(true);
  });
});

describe('http.query', () => {
  const target = '/p?a=1&a=2&b=x+y%20z&c&%C3%A9=%E2%82%AC&d=1;e=2';

  it('has every value of each parameter, decoded', () => {
    expect(
      holds('http.query["a"] == ["1", "2"] && http.query["b"] == ["x y z"] && http.query["c"] == [""]', { target }),
    ).toBe(true);
    expect(holds('http.query["é"] == ["€"] && http.query["d"] == ["1;e=2"]', { target })).toBe(true);
  });

  it('cannot be fooled by a second value', () => {
    expect(holds('http.query["mode"] == ["read"]', { target: '/?mode=read' })).toBe(true);
    expect(holds('http.query["mode"] == ["read"]', { target: '/?mode=read&mode=write' })).toBe(false);
  });

  it('is empty without a query', () => {
    expect(holds('http.query.size() == 0', { target: '/p' })).toBe(true);
    expect(holds('http.query.size() == 0', { target: '/p?' })).toBe(true);
    expect(holds('"a" in http.query', { target: '/p' })).toBe(false);
  });
});

describe('http.path', () => {
  it('is the path and the query as they will be forwarded', () => {
    expect(holds('http.path == "/a%2Fb?c=d"', { target: '/a%2Fb?c=d' })).toBe(true);
  });
});

describe('http.json', () => {
  const body =
    '{"n":1,"f":1.5,"s":"x","b":true,"z":null,"l":[1,"two",{"k":"v"}],"__proto__":"own","o":{"deep":{"er":1}}}';

  it.each([
    'http.json.n == 1 && http.json.f == 1.5 && http.json.n < 2 && http.json.s == "x" && http.json.b == true',
    'http.json.z == null && has(http.json.z) && !has(http.json.y) && "z" in http.json',
    'http.json.l.size() == 3 && http.json.l[1] == "two" && http.json.l[2].k == "v" && http.json.l.exists(i, i == 1)',
    'http.json.o.deep.er == 1 && http.json.o.?deep.?missing.orValue(7.0) == 7.0',
    'http.json["__proto__"] == "own"',
    'http.json.all(key, key != "absent")',
    'http.json.s + "y" == "xy" && http.json.n + 1.0 == 2.0 && int(http.json.n) == 1',
  ])('reads the body as JSON: %s', (condition) => {
    expect(holds(condition, { body })).toBe(true);
  });

  it.each([
    'http.json.toString == "x"',
    'has(http.json.constructor)',
    'http.json.hasOwnProperty == null',
    'http.json.l.length == 3',
    'http.json.l["0"] == 1',
    'http.json.l[-1] == 1',
  ])('reads own keys and nothing of the language underneath: %s', (condition) => {
    expect(holds(condition, { body })).toBe(false);
  });

  it('is null where the body is not JSON, and whatever the Content-Type says where it is', () => {
    expect(holds('http.json == null', { body: '{"a":' })).toBe(true);
    expect(holds('http.json == null', { body: '' })).toBe(true);
    expect(holds('http.json == null', { body: null })).toBe(true);
    expect(holds('http.json.a == 1', { body: '{"a":1}', headers: ['Content-Type', 'text/plain'] })).toBe(true);
  });

  it('is read anew for each request', () => {
    const rules = ruleSetOf({ condition: 'http.json.a == 1', egress: MATCH_BODY });
    const answers = ['{"a":1}', '{"a":2}', '{"a":1}', 'x'].map(
      (text) => rules.decideRequest(request('a.com', { body: text })).action,
    );
    expect(answers).toEqual(['allow', 'block', 'allow', 'block']);
  });
});

describe('one rule set', () => {
  it('keeps nothing of a request for the next', () => {
    const rules = ruleSetOf({
      condition: 'http.headers["x-a"] == "1" && http.query["q"] == ["1"]',
      egress: MATCH_BODY,
    });
    const full = { headers: ['x-a', '1'], target: '/?q=1' };
    const told = [full, {}, { headers: full.headers }, { target: full.target }, full].map(
      (facts) => rules.decideRequest(request('a.com', facts)).action,
    );
    expect(told).toEqual(['allow', 'block', 'block', 'block', 'allow']);
  });
});
