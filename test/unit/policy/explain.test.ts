import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import type { Asked, AskedRequest, PhaseTrace } from '../../../src/policy/explain.ts';
import type { RuleSet } from '../../../src/policy/rule-set.ts';
import { AGENT, INTERCEPT, ruleSetOf } from './kit.ts';
import { CERTIFICATE } from './tls-kit.ts';

const NOT_KNOWN = { name: 'agent-1', ip: '10.203.0.7' };
const API = 'http.host == "api.example.com"';

function asked(request: Partial<AskedRequest> | undefined, more: Partial<Asked> = {}): Asked {
  const whole = {
    scheme: 'https',
    method: 'GET',
    target: '/',
    headers: [],
    bodySize: 0,
    body: '',
    ...request,
  } as const;
  return {
    ...{ agent: AGENT, host: 'api.example.com' as Host, port: 443, ...more },
    ...(request === undefined ? {} : { request: whole }),
  };
}

function last(rules: RuleSet, question: Asked): PhaseTrace {
  return rules.explain(question).phases.at(-1) as PhaseTrace;
}

describe('an explanation', () => {
  const rules = ruleSetOf(
    { id: 'no-admin', condition: `${API} && http.path.startsWith("/admin")`, action: 'block' },
    { id: 'elsewhere', condition: 'http.host == "other.example.com"' },
    { id: 'get', condition: `${API} && (http.method == "GET" || http.method == "HEAD")`, egress: INTERCEPT },
  );

  it('names the phases up to the one that settles it, each with its decider', () => {
    const { phases } = rules.explain(asked({ method: 'POST' }, { recordType: 'A' }));
    expect(phases.map(({ phase, verdict, rule }) => [phase, verdict, rule])).toEqual([
      ['dns', 'allow', 'get'],
      ['connect', 'allow', 'get'],
      ['request', 'block', 'default'],
    ]);
    const blocked = rules.explain(asked({}, { host: 'nowhere.example.com' as Host }));
    expect(blocked.phases.map(({ phase, verdict, rule }) => [phase, verdict, rule])).toEqual([
      ['connect', 'block', 'default'],
    ]);
  });

  it('shows each part of each rule that was considered with its value and what it compares', () => {
    const trace = last(rules, asked({ method: 'POST', target: '/v1' }));
    expect(trace.elsewhere).toBe(1);
    expect(trace.rules.map(({ id, outcome, decides }) => [id, outcome, decides])).toEqual([
      ['no-admin', 'false', false],
      ['get', 'false', false],
    ]);
    expect(trace.rules[0]?.parts[1]).toEqual({
      ...{ source: 'http.path.startsWith("/admin")', value: 'false', depth: 0 },
      operands: [{ source: 'http.path', value: '"/v1"' }],
    });
    expect(trace.rules[1]?.parts.map(({ source, value, depth }) => [source, value, depth])).toEqual([
      [API, 'true', 0],
      ['http.method == "GET" || http.method == "HEAD"', 'false', 0],
      ['http.method == "GET"', 'false', 1],
      ['http.method == "HEAD"', 'false', 1],
    ]);
  });

  it('has in CONNECT what is inside as unknown for a rule that decrypts, and as CONNECT for any other', () => {
    const [connect] = rules.explain(asked(undefined)).phases;
    const value = (id: string, part: number) => connect?.rules.find((rule) => rule.id === id)?.parts[part]?.value;
    expect(value('get', 1)).toBe('unknown');
    expect(connect?.rules.find(({ id }) => id === 'no-admin')?.parts[1]?.operands[0]?.value).toBe('"/"');
  });

  it('says that a rule is for other ports, and which error an evaluation ended in', () => {
    const set = ruleSetOf(
      { id: 'ssh', condition: API, egress: { mode: 'direct_ip', ports: [22] } },
      { id: 'team', condition: `${API} && http.headers["x-team"] == "red"`, action: 'block' },
      { id: 'all', condition: API, egress: INTERCEPT },
    );
    const trace = last(set, asked({}));
    expect(trace).toMatchObject({ verdict: 'block', rule: 'team' });
    expect(trace.rules.map(({ outcome }) => outcome)).toEqual(['skipped', 'error']);
    expect(trace.rules[1]?.error).toMatch(/x-team/);
    expect(last(set, asked({ headers: ['X-Team', 'blue'] }))).toMatchObject({ verdict: 'allow', rule: 'all' });
  });
});

describe('an explanation from facts of which some are not known', () => {
  it('is unknown where it hangs on them, and certain where it does not', () => {
    const rules = ruleSetOf(
      { id: 'team', condition: `${API} && http.header("x-team") == "red"`, egress: INTERCEPT },
      { id: 'get', condition: `${API} && http.method == "GET"`, egress: INTERCEPT },
    );
    const unknown = { headers: undefined } as unknown as Partial<AskedRequest>;
    expect(last(rules, asked(unknown))).toMatchObject({ verdict: 'unknown', rule: 'team' });
    expect(last(rules, asked({}))).toMatchObject({ verdict: 'allow', rule: 'get' });
  });

  it('is unknown at CONNECT where a tunnel hangs on the labels of an agent', () => {
    const rules = ruleSetOf({ id: 'red', condition: `${API} && agent.labels["team"] == "red"` });
    expect(last(rules, asked(undefined, { agent: NOT_KNOWN }))).toMatchObject({ verdict: 'unknown', rule: 'red' });
    expect(last(rules, asked(undefined))).toMatchObject({ verdict: 'allow', rule: 'red' });
  });

  it('hangs on a redacted value only where a condition would tell one value from another', () => {
    const rules = ruleSetOf(
      { id: 'fetch', condition: `${API} && http.query["service"] == ["git-upload-pack"]`, egress: INTERCEPT },
      { id: 'page', condition: `${API} && http.path.matches("^/list[?]page=[0-9]+$")`, egress: INTERCEPT },
      { id: 'search', condition: `${API} && http.path.startsWith("/search?q=")`, egress: INTERCEPT },
    );
    const ask = (target: string) => last(rules, asked({ target }));
    expect(ask('/refs?service=[redacted]')).toMatchObject({ verdict: 'unknown', rule: 'fetch' });
    expect(ask('/list?page=[redacted]')).toMatchObject({ verdict: 'unknown', rule: 'page' });
    expect(ask('/search?q=[redacted]&x=[redacted]')).toMatchObject({ verdict: 'allow', rule: 'search' });
    expect(ask('/other?q=[redacted]')).toMatchObject({ verdict: 'block', rule: 'default' });
    expect(ask('/refs?service=git-upload-pack')).toMatchObject({ verdict: 'allow', rule: 'fetch' });
  });
});

describe('an explanation of what TLS shows', () => {
  const match = { sni: { exact: ['api.example.com'] }, server_cn: { exact: ['api.example.com'] } };
  const rules = ruleSetOf(
    { id: 'seen', condition: API, egress: { tls: match } },
    {
      id: 'rest',
      condition: `${API} && http.method == "GET"`,
      egress: { ...INTERCEPT, response: 'http.response.status == 200' },
    },
  );
  const tls = { sni: 'api.example.com', version: '1.3', alpn: [] };
  const certificate = { ...CERTIFICATE, subjectCn: 'api.example.com' };
  const phases = (more: Partial<Asked>) =>
    rules.explain(asked({}, more)).phases.map(({ phase, verdict, rule, mode }) => [phase, verdict, rule, mode]);

  it('goes as far as there are facts, and says on which rule it hangs', () => {
    const connect = ['connect', 'unknown', 'seen', null];
    const hello = ['hello', 'unknown', 'seen', null];
    expect(phases({})).toEqual([connect]);
    expect(phases({ tls })).toEqual([connect, hello]);
    expect(phases({ tls, certificate })).toEqual([connect, hello, ['certificate', 'allow', 'seen', 'proxy']]);
    const request = ['request', 'allow', 'rest', 'intercept'];
    const intercepted = [connect, hello, ['certificate', 'allow', 'rest', 'intercept'], request];
    expect(phases({ tls, certificate: null })).toEqual(intercepted);
    const response = { status: 500, headers: [] };
    expect(phases({ tls, certificate: null, response })).toEqual([...intercepted, ['response', 'block', 'rest', null]]);
    expect(phases({ tls: { ...tls, sni: '' } })).toEqual([connect, ['hello', 'allow', 'rest', 'intercept'], request]);
  });

  it('shows what each matcher comes to, and the parts of the response condition', () => {
    const traces = rules.explain(asked({}, { tls, certificate: null, response: { status: 500, headers: [] } })).phases;
    const parts = (phase: string) =>
      traces.find((trace) => trace.phase === phase)?.rules[0]?.parts.map(({ source, value }) => [source, value]);
    const condition = [API, 'true'];
    expect(parts('hello')).toEqual([
      condition,
      ['egress.tls.sni', 'true'],
      ['the certificate, by egress.tls', 'unknown'],
    ]);
    expect(parts('certificate')).toEqual([
      condition,
      ['egress.tls.sni', 'true'],
      ['the certificate, by egress.tls', 'false'],
    ]);
    expect(parts('request')).toEqual([]);
    expect(parts('response')).toEqual([['http.response.status == 200', 'false']]);
  });

  it('tells what would have been blocked, in audit', () => {
    const audit = ruleSetOf(
      { id: 'no', condition: API, action: 'block', enforcement: 'audit' },
      { id: 'yes', condition: API },
    );
    expect(last(audit, asked(undefined))).toMatchObject({ verdict: 'allow', rule: 'yes', wouldBlock: 'no' });
    expect(last(rules, asked(undefined, { tls: { ...tls, sni: '' } }))).toMatchObject({ wouldBlock: null });
  });
});
