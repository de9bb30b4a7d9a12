import { describe, expect, it } from 'vitest';
import { type CasesOutcome, runCases } from '../../../src/policy/case-run.ts';
import { readCases } from '../../../src/policy/cases.ts';
import { formatProblem } from '../../../src/policy/problem.ts';
import { normaliseTarget } from '../../../src/wire/target.ts';
import { INTERCEPT, ruleSetOf } from './kit.ts';

const RULES = ruleSetOf(
  { id: 'no-admin', condition: 'http.host == "api.test" && http.path.startsWith("/admin")', action: 'block' },
  { id: 'red', condition: 'http.host == "api.test" && agent.labels["team"] == "red"', egress: INTERCEPT },
  {
    id: 'hello',
    condition: 'http.host == "api.test" && http.body == "hello"',
    egress: { ...INTERCEPT, match_body: true },
  },
  { id: 'tunnel', condition: 'http.host == "tunnel.test"' },
);

function file(cases: readonly object[], more: object = {}): string {
  return JSON.stringify({ version: '1', ...more, cases });
}

function read(text: string) {
  return readCases({ file: 'rules.test.yaml', text }, normaliseTarget);
}

function outcome(...cases: readonly object[]): CasesOutcome {
  const { cases: found, problems } = read(file(cases));
  expect(problems.map(formatProblem)).toEqual([]);
  return runCases(RULES, found);
}

const failuresOf = (...cases: readonly object[]) => outcome(...cases).results.map(({ failures }) => failures);

describe('cases', () => {
  it('pass where verdict, rule and mode are as they say, and fail naming what was given instead', () => {
    const asked = { name: 'one', connect: 'tunnel.test:443', expect: 'allow' };
    expect(failuresOf({ ...asked, rule: 'tunnel', mode: 'proxy' })).toEqual([[]]);
    expect(failuresOf({ ...asked, rule: 'tunel', mode: 'intercept' })).toEqual([
      [
        'expected allow by tunel, got it by tunnel; no rule has the id tunel, did you mean tunnel?',
        'expected mode intercept, got proxy',
      ],
    ]);
    expect(failuresOf({ name: 'two', dns: 'nowhere.test A', expect: 'allow' })).toEqual([
      ['expected allow, got block by default'],
    ]);
  });

  it('hand the rules the agent, the fields and the body that they give, and nothing else', () => {
    const request = { name: 'one', request: 'POST https://api.test/x' };
    const red = { agent: { labels: { team: 'red' } } };
    expect(failuresOf({ ...request, ...red, expect: 'allow', rule: 'red' })).toEqual([[]]);
    expect(failuresOf({ ...request, expect: 'block', rule: 'default' })).toEqual([[]]);
    expect(failuresOf({ ...request, body: 'hello', expect: 'allow', rule: 'hello' })).toEqual([[]]);
  });

  it('take the agent of the file where they name none', () => {
    const { cases } = read(file([{ name: 'one', dns: 'a.test', expect: 'block' }], { agent: { name: 'web-1' } }));
    expect(cases[0]?.asked.agent.name).toBe('web-1');
  });

  it('leave rules that decide none of them named as dead, and count the others', () => {
    const { dead, coveragePercent } = outcome(
      { name: 'one', connect: 'tunnel.test:443', expect: 'allow' },
      { name: 'two', request: 'GET https://api.test/admin', agent: { labels: { team: 'red' } }, expect: 'block' },
    );
    expect(dead.map(({ id }) => id)).toEqual(['red', 'hello']);
    expect(coveragePercent).toBe(50);
  });
});

describe('a file of cases', () => {
  it('is refused with every mistake at its place and with what to write', () => {
    const text = `version: "1"
cases:
  - name: dots
    request: GET https://api.test/a/../b
    expct: allow
  - name: both
    request: GET https://api.test/
    dns: api.test
    expect: alow
  - connect: api.test
    expect: block
`;
    const { cases, problems } = read(text);
    expect(cases).toEqual([]);
    expect(problems.map(formatProblem)).toEqual([
      'rules.test.yaml:3:5: error: expect is missing (the verdict)\n    fix: add expect: allow',
      'rules.test.yaml:5:5: error: unknown key expct (found: expct)\n    fix: expect:',
      'rules.test.yaml:9:13: error: expect: must be "allow" or "block" (the verdict) (found: alow)\n    fix: expect: allow',
      'rules.test.yaml:10:5: error: name is missing (what the case shows)\n    fix: add name: messages go out',
    ]);
  });

  it('is refused where a case asks nothing, two things, or what the doors refuse by themselves', () => {
    const fixed = { name: 'one', expect: 'block' };
    const messages = (one: object) => read(file([{ ...fixed, ...one }])).problems.map(({ message }) => message);
    expect(messages({})).toEqual(['a case asks one thing']);
    expect(messages({ dns: 'a.test', connect: 'a.test:1' })).toEqual(['a case asks one thing']);
    expect(messages({ request: 'GET https://api.test/a/../b' })).toEqual([
      'refused before any rule is asked: a dot segment in the request target: /a/../b',
    ]);
    expect(messages({ connect: 'a.test:70000' })).toEqual(['not a host and a port']);
    expect(messages({ dns: 'a_b..test A' })).toEqual(['not a host name or address']);
    expect(messages({ dns: 'a.test A', body: 'x' })).toEqual(['only a request has headers and a body']);
    expect(messages({ dns: 'a.test A', mode: 'proxy' })).toEqual(['what is blocked has no mode']);
    expect(messages({ dns: 'a.test A' })).toEqual([]);
  });
});
