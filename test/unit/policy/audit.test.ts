/**
 * Audit: what would be blocked is let through with the block beside it, by rule, by file and for the whole daemon; and
 * what stays closed all the same.
 */
import { describe, expect, it } from 'vitest';
import type { Allow, Decision, Verdict } from '../../../src/domain/verdict.ts';
import { type LoadContext, loadRules } from '../../../src/policy/load.ts';
import { formatProblem } from '../../../src/policy/problem.ts';
import type { RuleSet } from '../../../src/policy/rule-set.ts';
import { AGENT, connect, type FileText, fileOf, INTERCEPT, type RuleText, request, ruleSetOf, rulesOf } from './kit.ts';
import { CERTIFICATE, hello, metadata, steps } from './tls-kit.ts';

const HOST = 'http.host == "a.com"';
const AUDIT = { enforcement: 'audit' } as const;
const FILE_AUDIT: FileText = { defaults: AUDIT };
const block = (condition: string, more: Partial<RuleText> = {}): RuleText => ({ condition, action: 'block', ...more });

/** `allow rule-1 (would block rule-0)` */
function told(decision: Decision): string {
  if (decision.action !== 'allow') return `${decision.action} ${decision.ruleId}`;
  const { ruleId, wouldBlock } = decision;
  return wouldBlock === undefined ? `allow ${ruleId}` : `allow ${ruleId} (would block ${wouldBlock.ruleId})`;
}

const daemon = (rules: readonly RuleText[], more: FileText = {}) =>
  rulesOf(fileOf(rules, more), { enforcement: 'audit' });

describe('a block rule in audit', () => {
  it('that matches is told beside the verdict of the rules after it', () => {
    const rules = ruleSetOf(block(`${HOST} && http.path == "/no"`, AUDIT), { condition: HOST, egress: INTERCEPT });
    expect(told(rules.decideRequest(request('a.com', { target: '/no' })))).toBe('allow rule-1 (would block rule-0)');
    expect(told(rules.decideRequest(request('a.com', { target: '/' })))).toBe('allow rule-1');
    const enforced = ruleSetOf(block(`${HOST} && http.path == "/no"`), { condition: HOST, egress: INTERCEPT });
    expect(told(enforced.decideRequest(request('a.com', { target: '/no' })))).toBe('block rule-0');
  });

  it('that cannot be evaluated is told so too', () => {
    const rules = ruleSetOf(block(`${HOST} && http.headers["x"] == "1"`, AUDIT), {
      condition: HOST,
      egress: INTERCEPT,
    });
    const verdict = rules.decideRequest(request('a.com')) as Allow;
    expect(verdict.wouldBlock).toMatchObject({ ruleId: 'rule-0', cause: 'error' });
    expect(told(rules.decideRequest(request('a.com', { headers: ['X', '2'] })))).toBe('allow rule-1');
  });

  it('is told once, by the first, and an enforced block after it stands', () => {
    const both = [block(HOST, AUDIT), block(HOST, AUDIT)];
    expect(told(ruleSetOf(...both, { condition: HOST }).decideConnect(connect('a.com')))).toBe(
      'allow rule-2 (would block rule-0)',
    );
    expect(told(ruleSetOf(...both, block(HOST), { condition: HOST }).decideConnect(connect('a.com')))).toBe(
      'block rule-2',
    );
    expect(told(ruleSetOf(...both).decideConnect(connect('a.com')))).toBe('block default');
  });

  it('is passed over by connections, names, ports and leaves alike', () => {
    const late = `${HOST} && http.headers["x"] == "1"`;
    const tunnel = (enforcement: 'audit' | 'enforce') =>
      ruleSetOf(block(late, { enforcement }), { condition: HOST, egress: { ports: [443, 8443] } });
    expect(told(tunnel('audit').decideConnect(connect('a.com')))).toBe('allow rule-1 (would block rule-0)');
    expect(told(tunnel('enforce').decideConnect(connect('a.com')))).toBe('block rule-0');
    const whole = (enforcement: 'audit' | 'enforce') =>
      ruleSetOf(block(HOST, { enforcement }), { condition: HOST, egress: { ...INTERCEPT, ports: [8443] } });
    const name = { agent: AGENT, host: connect('a.com').host, recordType: 'A' };
    expect(told(whole('audit').decideName(name))).toBe('allow rule-1 (would block rule-0)');
    expect(told(whole('enforce').decideName(name))).toBe('block rule-0');
    expect(whole('audit').namedPorts(name)).toEqual([8443]);
    expect(whole('enforce').namedPorts(name)).toEqual([]);
    expect(told(whole('audit').decideConnect(connect('a.com', { port: 8443 })))).toBe(
      'allow rule-1 (would block rule-0)',
    );
  });

  it('that hangs on the certificate is told once that is seen', () => {
    const bad = 'http.host == "api.a.com" && tls.cert.issuer_cn == "Bad CA"';
    const rules = ruleSetOf(block(bad, AUDIT), { condition: 'http.host == "api.a.com"' });
    expect(steps(rules, hello(), CERTIFICATE).at(-1)).toBe('allow rule-1');
    expect(told(rules.decideCertificate(hello(), { ...CERTIFICATE, issuerCn: 'Bad CA' }))).toBe(
      'allow rule-1 (would block rule-0)',
    );
  });
});

describe('an allow rule in audit', () => {
  it('lets a response pass that it would refuse', () => {
    const rules = (enforcement: 'audit' | 'enforce') =>
      ruleSetOf({ condition: HOST, enforcement, egress: { ...INTERCEPT, response: 'http.response.status == 200' } });
    const answer = (set: RuleSet, status: number) =>
      told(set.decideResponse(set.decideRequest(request('a.com')) as Allow, request('a.com'), { status, headers: [] }));
    expect(answer(rules('audit'), 200)).toBe('allow rule-0');
    expect(answer(rules('audit'), 500)).toBe('allow rule-0 (would block rule-0)');
    expect(answer(rules('enforce'), 500)).toBe('block rule-0');
  });

  it('lets a certificate pass that cannot be seen, where it would deny', () => {
    const tls = { server_cn: { exact: ['api.a.com'] }, tls13_uninspectable: 'deny' };
    const of = (enforcement: 'audit' | 'enforce') =>
      told(ruleSetOf(metadata(tls, { enforcement })).decideCertificate(hello(), undefined));
    expect([of('audit'), of('enforce')]).toEqual(['allow rule-0 (would block rule-0)', 'block rule-0']);
  });
});

describe('the closing default in audit', () => {
  const rules = rulesOf(fileOf([{ condition: HOST, egress: INTERCEPT }], FILE_AUDIT));
  const decided = (set: RuleSet, host: string): Verdict[] => [
    set.decideConnect(connect(host)),
    set.decideRequest(request(host)) as Verdict,
    set.decideName({ agent: AGENT, host: connect(host).host, recordType: 'TXT' }),
  ];

  it('lets through what no rule allows, in every phase, and leaves private addresses closed', () => {
    for (const verdict of decided(rules, 'b.com')) {
      expect(told(verdict)).toBe('allow default (would block default)');
      expect(verdict).toMatchObject({ grant: { mode: 'proxy', allowPrivateIps: false, trustAnchors: [] } });
    }
    const enforced = rulesOf(fileOf([{ condition: HOST, egress: INTERCEPT }]));
    expect(decided(enforced, 'b.com').map(told)).toEqual(['block default', 'block default', 'block default']);
    expect([rules.enforcement, enforced.enforcement]).toEqual(['audit', 'enforce']);
  });

  it('tells the first rule that would have blocked, not itself', () => {
    const set = rulesOf(fileOf([block('http.host == "b.com"')], FILE_AUDIT));
    expect(decided(set, 'b.com').map(told)).toEqual(Array(3).fill('allow default (would block rule-0)'));
    expect(decided(set, 'c.com').map(told)).toEqual(Array(3).fill('allow default (would block default)'));
  });

  it('tunnels, or decrypts where the file says so, and then a leaf may be minted for any host', () => {
    const looking = rulesOf(fileOf([], { defaults: { ...AUDIT, unmatched: 'intercept' } }));
    expect(looking.decideConnect(connect('b.com'))).toMatchObject({ ruleId: 'default', grant: { mode: 'intercept' } });
    expect([looking.hasIntercept, looking.couldIntercept(connect('b.com').host)]).toEqual([true, true]);
    expect(rules.couldIntercept(connect('b.com').host)).toBe(false);
  });

  it('keeps what a rule says of a name over either scheme', () => {
    const plain = rulesOf(fileOf([{ condition: 'http.host == "b.com" && http.scheme == "http"' }], FILE_AUDIT));
    expect(told(plain.decideName({ agent: AGENT, host: connect('b.com').host, recordType: 'A' }))).toBe('allow rule-0');
  });
});

describe('who says what is in audit', () => {
  const enforcements = (set: RuleSet) => set.rules.map(({ enforcement }) => enforcement);

  it('is the rule before its file, and the daemon before both', () => {
    const texts: RuleText[] = [block(HOST), block(HOST, { enforcement: 'enforce' }), block(HOST, AUDIT)];
    expect(enforcements(rulesOf(fileOf(texts)))).toEqual(['enforce', 'enforce', 'audit']);
    expect(enforcements(rulesOf(fileOf(texts, FILE_AUDIT)))).toEqual(['audit', 'enforce', 'audit']);
    expect(enforcements(daemon(texts))).toEqual(['audit', 'audit', 'audit']);
    expect(told(daemon(texts).decideConnect(connect('a.com')))).toBe('allow default (would block rule-0)');
    expect(told(rulesOf(fileOf(texts, FILE_AUDIT)).decideConnect(connect('a.com')))).toBe('block rule-1');
  });

  const several = (files: Readonly<Record<string, FileText>>, context: Partial<LoadContext> = {}) =>
    loadRules(
      Object.entries(files).map(([file, more]) => ({
        file,
        text: fileOf([{ id: file, condition: `http.host == "${file}.com"`, action: 'block' }], more),
      })),
      { caLoaded: true, generation: 1, anchors: new Map(), ...context },
    );

  it('is every file for the closing default, so that one file opens nothing of another', () => {
    const mixed = several({ a: FILE_AUDIT, b: {} });
    if (!mixed.ok) throw new Error('does not load');
    expect(mixed.rules.enforcement).toBe('enforce');
    expect(enforcements(mixed.rules)).toEqual(['audit', 'enforce']);
    expect(told(mixed.rules.decideConnect(connect('c.com')))).toBe('block default');
    expect(mixed.warnings.map(formatProblem).join()).toMatch(/stays blocked, since b is not in audit/);
    const all = several({ a: FILE_AUDIT, b: FILE_AUDIT });
    expect(all.ok && all.rules.enforcement).toBe('audit');
    const byDaemon = several({ a: {}, b: {} }, { enforcement: 'audit' });
    expect(byDaemon.ok && told(byDaemon.rules.decideConnect(connect('c.com')))).toBe(
      'allow default (would block default)',
    );
  });

  it('agrees on how the unmatched is let through, or does not load', () => {
    const of = (a: 'tunnel' | 'intercept', b: 'tunnel' | 'intercept' | undefined) =>
      several({
        a: { defaults: { ...AUDIT, unmatched: a } },
        b: { defaults: b === undefined ? AUDIT : { ...AUDIT, unmatched: b } },
      });
    const one = of('intercept', undefined);
    expect(one.ok && one.rules.couldIntercept(connect('c.com').host)).toBe(true);
    const two = of('intercept', 'tunnel');
    expect(two.ok ? [] : two.problems.map(formatProblem)).toEqual([
      expect.stringMatching(/^b:1:\d+: error: a says unmatched: intercept, and there is one for all files/),
    ]);
    const lacking = several({ a: { defaults: { ...AUDIT, unmatched: 'intercept' } } }, { caLoaded: false });
    expect(lacking.ok ? [] : lacking.problems.map(({ message }) => message)).toEqual([
      'unmatched: intercept needs a CA, and no CA is loaded',
    ]);
  });
});
