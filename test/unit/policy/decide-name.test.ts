import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import type { Verdict } from '../../../src/domain/verdict.ts';
import type { RuleSet } from '../../../src/policy/rule-set.ts';
import { AGENT, connect, INTERCEPT, ruleSetOf } from './kit.ts';

function name(rules: RuleSet, host: string, recordType = 'A', agent = AGENT): string {
  return told(rules.decideName({ agent, host: host as Host, recordType }));
}

function told(verdict: Verdict): string {
  return verdict.action === 'allow' ? `allow ${verdict.ruleId}` : `block ${verdict.ruleId} ${verdict.cause}`;
}

describe('a name', () => {
  it('is allowed where some allow rule is for its host, and blocked by default where none is', () => {
    const rules = ruleSetOf({ id: 'api', condition: 'http.host == "api.test"' });
    expect(name(rules, 'api.test')).toBe('allow api');
    expect(name(rules, 'other.test')).toBe('block default default');
  });

  it.each([
    ['the method', 'http.method == "POST"'],
    ['the path', 'http.path.startsWith("/v1/")'],
    ['a header', 'http.headers["x-key"] == "1"'],
    ['the body', 'http.body.contains("ok")', { ...INTERCEPT, match_body: true }],
    ['the port', 'network.port == 8443'],
    ['plain HTTP', 'http.scheme == "http"'],
    ['TLS', 'http.scheme == "https"'],
    ['the TLS server name', 'tls.sni == "api.test"'],
  ])(
    'is allowed where a rule for its host asks for %s too, and for no other host',
    (_what, condition, egress?: object) => {
      const rules = ruleSetOf({
        id: 'api',
        condition: `http.host == "api.test" && ${condition}`,
        egress: { ...INTERCEPT, ...egress },
      });
      expect(name(rules, 'api.test')).toBe('allow api');
      expect(name(rules, 'other.test')).toBe('block default default');
    },
  );

  it('is allowed by a rule that lists ports', () => {
    const rules = ruleSetOf({
      id: 'ssh',
      condition: 'http.host == "git.test"',
      egress: { mode: 'direct_ip', ports: [22] },
    });
    expect(name(rules, 'git.test')).toBe('allow ssh');
  });

  it('is for the agent that the rule names', () => {
    const rules = ruleSetOf({ id: 'mine', condition: 'http.host == "api.test" && agent.name == "agent-1"' });
    expect(name(rules, 'api.test')).toBe('allow mine');
    expect(name(rules, 'api.test', 'A', { ...AGENT, name: 'agent-2' })).toBe('block default default');
  });

  it('is blocked by a block rule that is sure before an allow rule is met, and not by one that may be about the request', () => {
    const allow = { id: 'all', condition: 'domain(http.host, "test")' };
    const sure = ruleSetOf({ id: 'no', condition: 'http.host == "bad.test"', action: 'block' }, allow);
    expect(name(sure, 'bad.test')).toBe('block no rule');
    expect(name(sure, 'good.test')).toBe('allow all');
    const perhaps = ruleSetOf({ id: 'no', condition: 'http.method == "DELETE"', action: 'block' }, allow);
    expect(name(perhaps, 'bad.test')).toBe('allow all');
  });

  it('is blocked by a block rule that cannot be evaluated, and not allowed by an allow rule that cannot', () => {
    const allow = { id: 'all', condition: 'domain(http.host, "test")' };
    const broken = 'agent.labels["absent"] == "x"';
    expect(name(ruleSetOf({ id: 'no', condition: broken, action: 'block' }, allow), 'a.test')).toBe('block no error');
    expect(name(ruleSetOf({ id: 'broken', condition: broken }), 'a.test')).toBe('block default default');
    expect(name(ruleSetOf({ id: 'broken', condition: broken }, allow), 'a.test')).toBe('allow all');
  });

  it('is not blocked by a rule against one of the two schemes', () => {
    const rules = ruleSetOf(
      { id: 'no-plain', condition: 'http.scheme == "http"', action: 'block' },
      { id: 'all', condition: 'domain(http.host, "test")' },
    );
    expect(name(rules, 'a.test')).toBe('allow all');
    const both = ruleSetOf(
      { id: 'none', condition: 'http.scheme in ["http", "https"]', action: 'block' },
      { id: 'all', condition: 'domain(http.host, "test")' },
    );
    expect(name(both, 'a.test')).toBe('block none rule');
  });

  it('is what dns.query says, there and nowhere else', () => {
    const rules = ruleSetOf({ id: 'old', condition: 'dns.query == "api.test"' });
    expect(name(rules, 'api.test')).toBe('allow old');
    expect(name(rules, 'other.test')).toBe('block default default');
    expect(told(rules.decideConnect(connect('api.test')))).toBe('block default default');
  });
});

describe('a record type', () => {
  it.each(['A', 'AAAA', 'HTTPS', 'SVCB'])('%s comes with every rule for the host', (type) => {
    expect(name(ruleSetOf({ id: 'api', condition: 'http.host == "api.test"' }), 'api.test', type)).toBe('allow api');
  });

  it.each(['TXT', 'NULL', 'MX', 'ANY', 'TYPE65280'])('%s does not, unless the rule names it', (type) => {
    const silent = ruleSetOf({ id: 'api', condition: 'http.host == "api.test"' });
    expect(name(silent, 'api.test', type)).toBe('block default default');
    const equal = ruleSetOf({ id: 'api', condition: `http.host == "api.test" && dns.record_type == "${type}"` });
    expect(name(equal, 'api.test', type)).toBe('allow api');
    const listed = ruleSetOf({
      id: 'api',
      condition: `http.host == "api.test" && dns.record_type in ["A", "${type}"]`,
    });
    expect(name(listed, 'api.test', type)).toBe('allow api');
    expect(name(listed, 'other.test', type)).toBe('block default default');
  });

  it('is not named by a rule that says what it must not be', () => {
    const rules = ruleSetOf(
      { id: 'not-a', condition: 'http.host == "api.test" && dns.record_type != "A"' },
      { id: 'not-mx', condition: 'http.host == "api.test" && !(dns.record_type == "MX")' },
    );
    expect(name(rules, 'api.test', 'TXT')).toBe('block default default');
    expect(name(rules, 'api.test', 'MX')).toBe('block default default');
    expect(name(rules, 'api.test', 'AAAA')).toBe('allow not-a');
    expect(name(rules, 'api.test', 'A')).toBe('allow not-mx');
  });

  it('is empty outside DNS', () => {
    const rules = ruleSetOf({ id: 'dns', condition: 'http.host == "api.test" && dns.record_type == "A"' });
    expect(name(rules, 'api.test')).toBe('allow dns');
    expect(told(rules.decideConnect(connect('api.test')))).toBe('block default default');
  });
});
