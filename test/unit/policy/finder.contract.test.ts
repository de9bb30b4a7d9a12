/**
 * Two ways to find the rules for a host, the index and the scan of all rules, under one contract; and that no random
 * rule set or request can tell them apart.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestFacts } from '../../../src/domain/facts.ts';
import { checkCondition } from '../../../src/policy/cel-check.ts';
import { ENFORCED } from '../../../src/policy/closing.ts';
import { HostIndex, LinearScan, type RuleFinder } from '../../../src/policy/host-index.ts';
import type { Rule, RuleDraft } from '../../../src/policy/rule.ts';
import { type RuleSet, ruleSet } from '../../../src/policy/rule-set.ts';
import { conditions, hosts, requests } from './arbitrary.ts';
import { connect, request } from './kit.ts';

const RUNS = 500;

function draft(
  id: string,
  condition: string,
  action: 'allow' | 'block',
  mode: 'proxy' | 'intercept',
  matchBody: boolean,
): RuleDraft {
  const checked = checkCondition(condition);
  if (!checked.ok) throw new Error(`${condition}: ${checked.faults[0]?.message}`);
  return {
    view: {
      id,
      file: 'r.yaml',
      line: 1,
      priority: 100,
      description: '',
      condition,
      action,
      mode: action === 'block' ? null : mode,
      enforcement: 'enforce',
    },
    ...{ condition: checked.value, log: true, ports: undefined, matchBody, allowPrivateIps: false, trustAnchors: [] },
    ...{ tls: undefined, tlsGrant: undefined, response: undefined },
  };
}

const FINDERS: readonly (readonly [string, (rules: readonly Rule[]) => RuleFinder])[] = [
  ['the index', (rules) => new HostIndex(rules)],
  ['the linear scan', (rules) => new LinearScan(rules)],
];

describe.each(FINDERS)('%s', (_, finderOf) => {
  const decides = (host: string, ...conditionsOf: readonly string[]) => {
    const drafts = conditionsOf.map((condition, i) => draft(`${i}`, condition, 'allow', 'proxy', false));
    return ruleSet(drafts, 1, ENFORCED, finderOf).decideConnect(connect(host)).ruleId;
  };

  it.each([
    ['an exact host', 'http.host == "a.com"', ['a.com'], ['x.a.com', 'com', 'ba.com']],
    ['the host on the right', '"a.com" == network.hostname', ['a.com'], ['b.com']],
    ['a list of hosts', 'http.host in ["a.com", "b.com"]', ['a.com', 'b.com'], ['c.com']],
    ['a domain', 'domain(http.host, "a.com")', ['a.com', 'x.a.com', 'z.y.x.a.com'], ['xa.com', 'a.com.x', 'com']],
    ['a suffix on a label', 'http.host.endsWith(".a.com")', ['x.a.com', 'y.x.a.com'], ['a.com', 'xa.com']],
    [
      'a suffix off a label',
      'http.host.endsWith("a.com")',
      ['a.com', 'xa.com', 'x.a.com', 'x.ba.com'],
      ['b.com', 'com'],
    ],
    ['a suffix without a dot', 'http.host.endsWith("com")', ['a.com', 'com', 'xcom'], ['a.org']],
    ['an empty suffix', 'http.host.endsWith("")', ['a.com', 'org'], []],
    ['either of two', 'http.host == "a.com" || domain(http.host, "b.com")', ['a.com', 'x.b.com'], ['x.a.com']],
    [
      'both of two',
      'domain(http.host, "a.com") && http.host.endsWith(".x.a.com")',
      ['y.x.a.com'],
      ['x.a.com', 'a.com'],
    ],
    ['a host and something else', 'http.host == "a.com" && network.port == 443', ['a.com'], ['b.com']],
    ['a host or something else', 'http.host == "a.com" || network.port == 443', ['a.com', 'b.com'], []],
    ['any host but one', 'http.host != "a.com"', ['b.com'], ['a.com']],
    ['not a host', '!(http.host == "a.com")', ['b.com'], ['a.com']],
    ['a choice', 'network.port == 443 ? http.host == "a.com" : http.host == "b.com"', ['a.com'], ['b.com']],
    ['a pattern', 'http.host.matches("^a")', ['a.com'], ['b.com']],
    ['the server name', 'tls.sni == "a.com"', ['a.com'], ['b.com']],
    ['an address', 'http.host == "192.0.2.1"', ['192.0.2.1'], ['192.0.2.2']],
    ['contradictory hosts', 'http.host == "a.com" && http.host == "b.com"', [], ['a.com', 'b.com']],
    ['a variable', 'cel.bind(h, http.host, h == "a.com")', ['a.com'], ['b.com']],
  ])('finds a rule for %s', (_name, condition, matching, others) => {
    for (const host of matching) expect(decides(host, condition), host).toBe('0');
    for (const host of others) expect(decides(host, condition), host).toBe('default');
  });

  it('keeps the order of the rules, however they are found', () => {
    const one = ['domain(http.host, "a.com")', 'true', 'http.host == "x.a.com"'];
    expect([decides('x.a.com', ...one), decides('b.com', ...one)]).toEqual(['0', '1']);
    const other = ['http.host == "x.a.com"', 'http.host.endsWith(".com")', 'true', 'domain(http.host, "a.com")'];
    expect([decides('x.a.com', ...other), decides('a.com', ...other), decides('b.org', ...other)]).toEqual([
      '0',
      '1',
      '2',
    ]);
  });

  it('answers the same for a host however often it is asked, and with other hosts in between', () => {
    const drafts = [draft('0', 'domain(http.host, "a.com")', 'allow', 'proxy', false)];
    const rules = ruleSet(drafts, 1, ENFORCED, finderOf);
    const answers = Array.from(
      { length: 10_000 },
      (_unused, i) => rules.decideConnect(connect(i % 3 === 0 ? 'x.a.com' : `h${i}.org`)).ruleId,
    );
    expect(answers.every((answer, i) => answer === (i % 3 === 0 ? '0' : 'default'))).toBe(true);
  });
});

const drafts = fc
  .array(
    fc.record({
      condition: conditions(),
      action: fc.constantFrom('allow', 'block'),
      mode: fc.constantFrom('proxy', 'intercept'),
      matchBody: fc.boolean(),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((rules) =>
    rules.map(({ condition, action, mode, matchBody }, i) =>
      draft(
        `${i}`,
        condition,
        action as 'allow' | 'block',
        mode as 'proxy' | 'intercept',
        matchBody && action === 'allow' && mode === 'intercept',
      ),
    ),
  );

describe('the index and the linear scan', () => {
  it('never differ on a connection, a request or a leaf', () => {
    fc.assert(
      fc.property(drafts, fc.array(requests, { minLength: 1, maxLength: 4 }), hosts, (rules, facts, host) => {
        const index = ruleSet(rules, 1, ENFORCED, (all) => new HostIndex(all));
        const linear = ruleSet(rules, 1, ENFORCED, (all) => new LinearScan(all));
        for (const one of facts) expect(answers(index, one)).toEqual(answers(linear, one));
        expect(index.couldIntercept(connect(host).host)).toBe(linear.couldIntercept(connect(host).host));
      }),
      { numRuns: RUNS },
    );
  });

  it('differ in what they look at: the index does not grow with rules for other hosts', () => {
    const many = Array.from({ length: 3_000 }, (_, i) =>
      draft(`${i}`, `http.host == "h${i}.com"`, 'allow', 'proxy', false),
    );
    let looked: readonly Rule[] = [];
    ruleSet(many, 1, ENFORCED, (rules) => {
      const index = new HostIndex(rules);
      return { candidates: (host) => (looked = index.candidates(host)) };
    }).decideRequest(request('h7.com'));
    expect(looked.map((rule) => rule.view.id)).toEqual(['7']);
  });
});

function answers(rules: RuleSet, facts: RequestFacts): readonly unknown[] {
  return [rules.decideConnect(facts), rules.decideRequest(facts), rules.decideRequest({ ...facts, body: undefined })];
}
