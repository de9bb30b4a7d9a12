import { describe, expect, it } from 'vitest';
import { type CasesOutcome, runCases } from '../../../src/policy/case-run.ts';
import { readCases } from '../../../src/policy/cases.ts';
import { formatProblem } from '../../../src/policy/problem.ts';
import type { RuleSet } from '../../../src/policy/rule-set.ts';
import { normaliseTarget } from '../../../src/wire/target.ts';
import { INTERCEPT, ruleSetOf, rulesOf } from './kit.ts';

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

describe('cases of TLS, of answers and of audit', () => {
  const failures = (rules: RuleSet, ...cases: readonly object[]) => {
    const { cases: found, problems } = read(file(cases.map((one, i) => ({ name: `case ${i}`, ...one }))));
    expect(problems.map(formatProblem)).toEqual([]);
    return runCases(rules, found).results.flatMap((result) => result.failures);
  };

  it('hand the rules the ClientHello and the certificate, which holds under the roots that they ask for unless they say no', () => {
    const tls = { server_san: { exact: ['api.test'] }, tls13_uninspectable: 'deny' };
    const rules = ruleSetOf({ id: 'pinned', condition: 'http.host == "api.test"', egress: { mode: 'proxy', tls } });
    const asked = { connect: 'api.test:443', tls: { version: '1.2' }, certificate: { san: ['api.test'] } };
    expect(failures(rules, { ...asked, expect: 'allow', rule: 'pinned' })).toEqual([]);
    expect(failures(rules, { ...asked, certificate: { san: ['other.test'] }, expect: 'block' })).toEqual([]);
    expect(failures(rules, { ...asked, certificate: { san: ['api.test'], valid: false }, expect: 'block' })).toEqual(
      [],
    );
    expect(failures(rules, { ...asked, certificate: null, expect: 'block' })).toEqual([]);
    expect(failures(rules, { connect: 'api.test:443', expect: 'allow' })).toEqual([
      'expected allow, got unknown by pinned',
    ]);
  });

  it('hand the rules the answer of the origin', () => {
    const egress = { ...INTERCEPT, response: 'http.response.status == 200' };
    const rules = ruleSetOf({ id: 'ok', condition: 'http.host == "api.test"', egress });
    const asked = { request: 'GET https://api.test/' };
    expect(failures(rules, { ...asked, response: { status: 200 }, expect: 'allow' })).toEqual([]);
    expect(failures(rules, { ...asked, response: { status: 404 }, expect: 'block', rule: 'ok' })).toEqual([]);
  });

  it('say what would have been blocked in audit, which counts as deciding', () => {
    const rule = { id: 'no', condition: 'http.host == "api.test"', action: 'block', enforcement: 'audit' };
    const rules = rulesOf(JSON.stringify({ version: '1', defaults: { enforcement: 'audit' }, rules: [rule] }));
    const asked = { connect: 'api.test:443', expect: 'allow' };
    expect(failures(rules, { ...asked, would_block: 'no' })).toEqual([]);
    expect(failures(rules, { ...asked, would_block: 'default' })).toEqual([
      'expected that default would block it, got no',
    ]);
    const { cases } = read(file([{ name: 'one', ...asked }]));
    expect(runCases(rules, cases).dead).toEqual([]);
  });

  it('are refused where an answer or a certificate belongs to nothing', () => {
    const messages = (one: object) =>
      read(file([{ name: 'one', expect: 'block', ...one }])).problems.map(({ message }) => message);
    expect(messages({ dns: 'a.test', response: { status: 200 } })).toEqual(['only a request has an answer']);
    expect(messages({ connect: 'a.test:443', certificate: null })).toEqual([
      'a certificate is looked at after a ClientHello',
    ]);
    expect(messages({ connect: 'a.test:443', tls: {}, certificate: null })).toEqual([]);
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
    expect(messages({})).toEqual(['one thing is asked at a time']);
    expect(messages({ dns: 'a.test', connect: 'a.test:1' })).toEqual(['one thing is asked at a time']);
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
