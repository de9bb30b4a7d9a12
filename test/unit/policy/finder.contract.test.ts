/**
 * Two ways to find the rules for a host, the index and the scan of all rules, under one contract; and that no random
 * rule set or request can tell them apart.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CertificateFacts, RequestFacts, TlsFacts } from '../../../src/domain/facts.ts';
import { type Closing, ENFORCED } from '../../../src/policy/closing.ts';
import { HostIndex, LinearScan, type RuleFinder } from '../../../src/policy/host-index.ts';
import type { Rule, RuleDraft } from '../../../src/policy/rule.ts';
import { type RuleSet, ruleSet } from '../../../src/policy/rule-set.ts';
import { hosts, requests } from './arbitrary.ts';
import { anyDrafts, certificates, draft, hellos, inAudit } from './arbitrary-rules.ts';
import { connect, request } from './kit.ts';

const RUNS = 500;

const FINDERS: readonly (readonly [string, (rules: readonly Rule[]) => RuleFinder])[] = [
  ['the index', (rules) => new HostIndex(rules)],
  ['the linear scan', (rules) => new LinearScan(rules)],
];

describe.each(FINDERS)('%s', (_, finderOf) => {
  const decides = (host: string, ...conditionsOf: readonly string[]) => {
    const drafts = conditionsOf.map((condition, i) => draft(`${i}`, { condition }));
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
    const drafts = [draft('0', { condition: 'domain(http.host, "a.com")' })];
    const rules = ruleSet(drafts, 1, ENFORCED, finderOf);
    const answers = Array.from(
      { length: 10_000 },
      (_unused, i) => rules.decideConnect(connect(i % 3 === 0 ? 'x.a.com' : `h${i}.org`)).ruleId,
    );
    expect(answers.every((answer, i) => answer === (i % 3 === 0 ? '0' : 'default'))).toBe(true);
  });
});

describe('the index and the linear scan', () => {
  const handshakes = fc.record({ tls: hellos, certificate: certificates });

  it.each<readonly [string, (rules: readonly RuleDraft[]) => readonly RuleDraft[], Closing]>([
    ['enforced', (rules) => rules, ENFORCED],
    ['in audit', inAudit, { enforcement: 'audit', unmatched: 'tunnel' }],
    ['partly in audit', (rules) => [...inAudit(rules.slice(0, 2)), ...rules.slice(2)], ENFORCED],
  ])('never differ on any question, %s', (_, change, closing) => {
    fc.assert(
      fc.property(anyDrafts, requests, handshakes, hosts, (rules, facts, seen, host) => {
        const index = ruleSet(change(rules), 1, closing, (all) => new HostIndex(all));
        const linear = ruleSet(change(rules), 1, closing, (all) => new LinearScan(all));
        expect(answers(index, facts, seen)).toEqual(answers(linear, facts, seen));
        expect(index.couldIntercept(connect(host).host)).toBe(linear.couldIntercept(connect(host).host));
      }),
      { numRuns: RUNS },
    );
  });

  it('differ in what they look at: the index does not grow with rules for other hosts', () => {
    const many = Array.from({ length: 3_000 }, (_, i) => draft(`${i}`, { condition: `http.host == "h${i}.com"` }));
    let looked: readonly Rule[] = [];
    ruleSet(many, 1, ENFORCED, (rules) => {
      const index = new HostIndex(rules);
      return { candidates: (host) => (looked = index.candidates(host)) };
    }).decideRequest(request('h7.com'));
    expect(looked.map((rule) => rule.view.id)).toEqual(['7']);
  });
});

interface Handshake {
  readonly tls: TlsFacts;
  readonly certificate: CertificateFacts | undefined;
}

/** What the set says to every question that there is. */
function answers(rules: RuleSet, facts: RequestFacts, { tls, certificate }: Handshake): readonly unknown[] {
  const request = rules.decideRequest({ ...facts, tls });
  const name = { agent: facts.agent, host: facts.host, recordType: 'A' };
  return [
    rules.decideConnect(facts),
    rules.decideHello({ ...facts, tls }),
    rules.decideCertificate({ ...facts, tls }, certificate),
    request,
    rules.decideRequest({ ...facts, body: undefined }),
    request.action === 'allow' && rules.decideResponse(request, { ...facts, tls }, { status: 200, headers: [] }),
    rules.decideName(name),
    rules.decideName({ ...name, recordType: 'TXT' }),
    [...rules.namedPorts(name)].sort((a, b) => a - b),
  ];
}
