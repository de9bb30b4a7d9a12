/**
 * The two phases: what a connection may become, and what each request inside it may do. Each negative has beside it
 * the one fact that would turn it.
 */
import { describe, expect, it } from 'vitest';
import type { Decision } from '../../../src/domain/verdict.ts';
import { AGENT, connect, INTERCEPT, MATCH_BODY, type RuleText, request, ruleSetOf } from './kit.ts';

/** action, and the rule that gave it. */
function told(decision: Decision): string {
  return decision.action === 'block'
    ? `block ${decision.ruleId} (${decision.cause})`
    : `${decision.action} ${decision.ruleId}`;
}

const MESSAGES = 'http.host == "api.anthropic.com" && http.method == "POST" && http.path.startsWith("/v1/messages")';

describe('a rule for the method and path of one host (S011-AS-001, S011-AS-002)', () => {
  const rules = ruleSetOf({ condition: MESSAGES, egress: INTERCEPT });

  it('intercepts connections to the host and refuses those to others', () => {
    expect(rules.decideConnect(connect('api.anthropic.com'))).toMatchObject({
      action: 'allow',
      grant: { mode: 'intercept' },
    });
    expect(told(rules.decideConnect(connect('api.openai.com')))).toBe('block default (default)');
  });

  it('allows the method and path inside and blocks others', () => {
    const inside = (method: string, target: string) =>
      told(rules.decideRequest(request('api.anthropic.com', { method, target })));
    expect(inside('POST', '/v1/messages?beta=true')).toBe('allow rule-0');
    expect(inside('GET', '/v1/messages')).toBe('block default (default)');
    expect(inside('POST', '/v1/models')).toBe('block default (default)');
  });

  it('lets leaves be minted for the host and no other', () => {
    expect(rules.couldIntercept(connect('api.anthropic.com').host)).toBe(true);
    expect(rules.couldIntercept(connect('api.openai.com').host)).toBe(false);
    expect(rules.couldIntercept(connect('x.api.anthropic.com').host)).toBe(false);
  });
});

describe('at CONNECT', () => {
  it('a tunnel rule sees method CONNECT and path /', () => {
    const rules = ruleSetOf({ condition: 'http.host == "a.com" && http.method == "CONNECT" && http.path == "/"' });
    expect(rules.decideConnect(connect('a.com'))).toMatchObject({ action: 'allow', grant: { mode: 'proxy' } });
    const get = ruleSetOf({ condition: 'http.host == "a.com" && http.method == "GET"' });
    expect(told(get.decideConnect(connect('a.com')))).toBe('block default (default)');
    expect(told(get.decideRequest(request('a.com', { scheme: 'http' })))).toBe('allow rule-0');
  });

  it('the first rule that matches decides', () => {
    const host = 'http.host == "a.com"';
    expect(
      told(ruleSetOf({ condition: host }, { condition: host, action: 'block' }).decideConnect(connect('a.com'))),
    ).toBe('allow rule-0');
    expect(
      told(ruleSetOf({ condition: host, action: 'block' }, { condition: host }).decideConnect(connect('a.com'))),
    ).toBe('block rule-0 (rule)');
    const swapped = ruleSetOf({ condition: host, priority: 2 }, { condition: host, action: 'block', priority: 1 });
    expect(told(swapped.decideConnect(connect('a.com')))).toBe('block rule-1 (rule)');
  });

  it('an intercept rule comes before a tunnel rule behind it, and not before one in front of it', () => {
    const tunnel = { condition: 'http.host == "a.com"' };
    const intercept = { condition: 'http.host == "a.com" && http.method == "GET"', egress: INTERCEPT };
    expect(ruleSetOf(intercept, tunnel).decideConnect(connect('a.com'))).toMatchObject({
      grant: { mode: 'intercept' },
    });
    expect(ruleSetOf(tunnel, intercept).decideConnect(connect('a.com'))).toMatchObject({ grant: { mode: 'proxy' } });
  });

  it('an intercept rule that no request could make true does not intercept', () => {
    const of = (condition: string) => told(ruleSetOf({ condition, egress: INTERCEPT }).decideConnect(connect('a.com')));
    expect(of('http.host == "b.com" && http.method == "GET"')).toBe('block default (default)');
    expect(of('agent.name == "other" && http.method == "GET"')).toBe('block default (default)');
    expect(of('agent.name == "agent-1" && http.method == "GET"')).toBe('allow rule-0');
    expect(of('agent.labels["nothing"] == "" && http.method == "GET"')).toBe('allow rule-0');
    expect(of('agent.labels["nothing"] == ""')).toBe('block default (default)');
  });

  it.each([
    'has(http.headers.x) && http.host == "a.com"',
    '"x" in http.headers && http.host == "a.com"',
    'http.headers[?"x"].orValue("") == "1" && http.host == "a.com"',
    'http.json.?a.hasValue() && http.host == "a.com"',
    '!has(http.headers.x) && http.host == "a.com"',
    'http.method != "GET" && http.host == "a.com"',
    '(http.host == "a.com" ? http.method : "none") == "GET"',
    'http.query.exists(k, k == "x") && http.host == "a.com"',
    '["GET"].exists(m, m == http.method) && http.host == "a.com"',
    'http.header("x") == "1" && http.host == "a.com"',
    'glob(http.path, "/x/*") && http.host == "a.com"',
    'cel.bind(m, http.method, m == "GET" || m == "PUT") && http.host == "a.com"',
  ])('what the request will say is unknown, neither true nor false: %s', (condition) => {
    const rules = ruleSetOf({ condition, egress: MATCH_BODY });
    expect(rules.decideConnect(connect('a.com')).action).toBe('allow');
    expect(rules.decideConnect(connect('b.com')).action).toBe('block');
  });

  it('an intercepted connection is granted what any rule grants that may still allow inside', () => {
    const host = 'http.host == "a.com"';
    const grantOf = (...more: readonly RuleText[]) => {
      const verdict = ruleSetOf(
        { condition: `${host} && http.method == "GET"`, egress: INTERCEPT },
        ...more,
      ).decideConnect(connect('a.com'));
      return verdict.action === 'allow' && verdict.grant.allowPrivateIps;
    };
    const privately = { mode: 'intercept', allow_private_ips: true };
    expect(grantOf()).toBe(false);
    expect(grantOf({ condition: `${host} && http.method == "PUT"`, egress: privately })).toBe(true);
    expect(grantOf({ condition: `${host} && http.method == "PUT"`, egress: { ...privately, ports: [8443] } })).toBe(
      false,
    );
    expect(grantOf({ condition: 'http.host == "b.com"', egress: privately })).toBe(false);
    // What stands behind a rule that decides the whole host is never reached inside.
    expect(
      grantOf(
        { condition: host, action: 'block' },
        { condition: `${host} && http.method == "PUT"`, egress: privately },
      ),
    ).toBe(false);
    expect(
      grantOf(
        { condition: host, egress: INTERCEPT },
        { condition: `${host} && http.method == "PUT"`, egress: privately },
      ),
    ).toBe(false);
  });
});

describe('ports', () => {
  const rules = ruleSetOf({
    condition: 'http.host == "db.example.com"',
    egress: { mode: 'direct_ip', ports: [5432, 5433] },
  });

  it('limit a rule to themselves', () => {
    expect(rules.decideConnect(connect('db.example.com', { port: 5432 }))).toMatchObject({
      action: 'allow',
      grant: { mode: 'direct_ip' },
    });
    expect(told(rules.decideConnect(connect('db.example.com', { port: 443 })))).toBe('block default (default)');
    expect(told(rules.decideRequest(request('db.example.com', { port: 443 })))).toBe('block default (default)');
  });

  it('are any where a rule lists none, and a condition may say which', () => {
    expect(told(ruleSetOf({ condition: 'http.host == "a.com"' }).decideConnect(connect('a.com', { port: 22 })))).toBe(
      'allow rule-0',
    );
    const http = ruleSetOf({ condition: 'http.host == "a.com" && network.port < 1024' });
    expect(told(http.decideConnect(connect('a.com', { port: 22 })))).toBe('allow rule-0');
    expect(told(http.decideConnect(connect('a.com', { port: 8080 })))).toBe('block default (default)');
  });
});

describe('an error', () => {
  const behind = { condition: 'http.host == "a.com"' };
  const label = 'agent.labels["absent"] == "x"';

  it('in a block rule blocks, and says that it was an error', () => {
    const rules = ruleSetOf({ condition: label, action: 'block' }, behind);
    expect(rules.decideConnect(connect('a.com'))).toEqual({
      ...{ action: 'block', ruleId: 'rule-0', cause: 'error', reason: 'rule rule-0 could not be evaluated', log: true },
    });
    const agent = { ...AGENT, labels: { absent: 'y' } };
    expect(told(rules.decideConnect(connect('a.com', { agent })))).toBe('allow rule-1');
    expect(told(rules.decideConnect(connect('a.com', { agent: { ...AGENT, labels: { absent: 'x' } } })))).toBe(
      'block rule-0 (rule)',
    );
  });

  it('in an allow rule does not match', () => {
    expect(told(ruleSetOf({ condition: label }).decideConnect(connect('a.com')))).toBe('block default (default)');
    expect(told(ruleSetOf({ condition: `!(${label})` }).decideConnect(connect('a.com')))).toBe(
      'block default (default)',
    );
    expect(told(ruleSetOf({ condition: `${label} || http.host == "a.com"` }).decideConnect(connect('a.com')))).toBe(
      'allow rule-0',
    );
  });

  it('counts only where it decides', () => {
    const rules = ruleSetOf({ condition: `http.host == "b.com" && ${label}`, action: 'block' }, behind);
    expect(told(rules.decideConnect(connect('a.com')))).toBe('allow rule-1');
    expect(told(rules.decideConnect(connect('b.com')))).toBe('block rule-0 (error)');
  });

  it('of a missing header blocks the request in a block rule, and http.header() asks without error', () => {
    const strict = ruleSetOf({ condition: 'http.headers["x-a"] == "bad"', action: 'block' }, behind);
    const easy = ruleSetOf({ condition: 'http.header("X-A") == "bad"', action: 'block' }, behind);
    expect(told(strict.decideRequest(request('a.com')))).toBe('block rule-0 (error)');
    expect(told(strict.decideRequest(request('a.com', { headers: ['X-A', 'good'] })))).toBe('allow rule-1');
    expect(told(easy.decideRequest(request('a.com')))).toBe('allow rule-1');
    expect(told(easy.decideRequest(request('a.com', { headers: ['x-A', 'bad'] })))).toBe('block rule-0 (rule)');
  });
});

describe('a block rule about what is inside, at CONNECT', () => {
  const byBody = { condition: 'http.host == "a.com" && http.body.contains("rm -rf")', action: 'block' as const };
  const byHeader = { condition: 'http.host == "a.com" && http.headers["x-a"] == "bad"', action: 'block' as const };

  it.each([byBody, byHeader])('waits for the request where the connection is intercepted: $condition', (block) => {
    const rules = ruleSetOf(block, { condition: 'http.host == "a.com"', egress: MATCH_BODY });
    expect(told(rules.decideConnect(connect('a.com')))).toBe('allow rule-1');
    expect(rules.decideRequest(request('a.com', { body: 'rm -rf /', headers: ['x-a', 'bad'] })).action).toBe('block');
    expect(told(rules.decideRequest(request('a.com', { body: 'ls', headers: ['x-a', 'good'] })))).toBe('allow rule-1');
  });

  it.each([byBody, byHeader])('blocks the connection where it would never be seen: $condition', (block) => {
    const rules = ruleSetOf(block, { condition: 'http.host in ["a.com", "b.com"]' });
    expect(told(rules.decideConnect(connect('a.com')))).toBe('block rule-0 (error)');
    expect(told(rules.decideConnect(connect('b.com')))).toBe('allow rule-1');
  });

  it('does not wait where its error has nothing to do with the request', () => {
    const intercept = { condition: 'http.host == "a.com"', egress: INTERCEPT };
    const error = 'agent.labels["absent"] == "x"';
    const alone = ruleSetOf({ condition: error, action: 'block' }, intercept);
    expect(told(alone.decideConnect(connect('a.com')))).toBe('block rule-0 (error)');
    const both = ruleSetOf({ condition: `${error} && http.method == "GET" && ${error}`, action: 'block' }, intercept);
    expect(told(both.decideConnect(connect('a.com')))).toBe('allow rule-1');
    expect(told(both.decideRequest(request('a.com', { method: 'PUT' })))).toBe('allow rule-1');
    expect(told(both.decideRequest(request('a.com', { method: 'GET' })))).toBe('block rule-0 (error)');
  });
});

describe('a body', () => {
  const secret = { condition: 'http.host == "a.com" && http.body.contains("secret")', action: 'block' as const };
  const reading = { condition: 'http.host == "a.com" && http.json.model == "small"', egress: MATCH_BODY };
  const plain = { condition: 'http.host == "a.com"', egress: INTERCEPT };

  it('is asked for by the rule that depends on it, and only by that', () => {
    const rules = ruleSetOf(reading, plain);
    expect(rules.decideRequest(request('a.com'))).toEqual({ action: 'need_body', ruleId: 'rule-0' });
    expect(told(rules.decideRequest(request('b.com')))).toBe('block default (default)');
    expect(told(ruleSetOf(plain, reading).decideRequest(request('a.com')))).toBe('allow rule-0');
    const guarded = ruleSetOf({ ...reading, condition: `http.method == "POST" && ${reading.condition}` }, plain);
    expect(told(guarded.decideRequest(request('a.com', { method: 'GET' })))).toBe('allow rule-1');
    expect(guarded.decideRequest(request('a.com', { method: 'POST' })).action).toBe('need_body');
  });

  it('decides once it has been read', () => {
    const rules = ruleSetOf(reading);
    expect(told(rules.decideRequest(request('a.com', { body: '{"model":"small"}' })))).toBe('allow rule-0');
    expect(told(rules.decideRequest(request('a.com', { body: '{"model":"large"}' })))).toBe('block default (default)');
    expect(told(rules.decideRequest(request('a.com', { body: 'model: small' })))).toBe('block default (default)');
  });

  it('that could not be read slips past no block rule, and satisfies no allow rule (S011-EC-005)', () => {
    expect(told(ruleSetOf(secret, plain).decideRequest(request('a.com', { body: null })))).toBe('block rule-0 (error)');
    expect(told(ruleSetOf(secret, plain).decideRequest(request('a.com', { body: 'x' })))).toBe('allow rule-1');
    expect(told(ruleSetOf(reading).decideRequest(request('a.com', { body: null })))).toBe('block default (default)');
    const guarded = {
      condition: 'http.host == "a.com" && (http.body == null || http.json.model == "small")',
      egress: MATCH_BODY,
    };
    expect(told(ruleSetOf(guarded).decideRequest(request('a.com', { body: null })))).toBe('allow rule-0');
  });

  it('is read for a block rule that looks at it, without match_body', () => {
    const rules = ruleSetOf(secret, plain);
    expect(rules.decideRequest(request('a.com'))).toEqual({ action: 'need_body', ruleId: 'rule-0' });
    expect(told(rules.decideRequest(request('a.com', { body: 'a secret' })))).toBe('block rule-0 (rule)');
  });

  it('is null for an allow rule without match_body, even when another rule had it read', () => {
    const rules = ruleSetOf(
      { ...reading, condition: 'http.body.contains("x")' },
      { condition: 'http.body == null', egress: INTERCEPT },
    );
    expect(told(rules.decideRequest(request('a.com', { body: 'y' })))).toBe('allow rule-1');
  });

  it('has a size that waits for the body under match_body, and is the Content-Length otherwise', () => {
    const small = 'http.host == "a.com" && http.body_size < 10';
    expect(
      ruleSetOf({ condition: small, egress: MATCH_BODY }).decideRequest(request('a.com', { bodySize: 0 })).action,
    ).toBe('need_body');
    expect(
      told(ruleSetOf({ condition: small, egress: INTERCEPT }).decideRequest(request('a.com', { bodySize: 9 }))),
    ).toBe('allow rule-0');
    expect(
      told(ruleSetOf({ condition: small, egress: INTERCEPT }).decideRequest(request('a.com', { bodySize: 10 }))),
    ).toBe('block default (default)');
  });
});

describe('a path with //', () => {
  const target = { target: '/v1//admin?next=//x' };
  const host = { condition: 'http.host == "a.com"', egress: INTERCEPT };

  it('is folded for block rules, which see it both ways', () => {
    const folded = { condition: 'http.path.startsWith("/v1/admin")', action: 'block' as const };
    const raw = { condition: 'http.path.startsWith("/v1//")', action: 'block' as const };
    expect(told(ruleSetOf(folded, host).decideRequest(request('a.com', target)))).toBe('block rule-0 (rule)');
    expect(told(ruleSetOf(raw, host).decideRequest(request('a.com', target)))).toBe('block rule-0 (rule)');
    expect(told(ruleSetOf(folded, host).decideRequest(request('a.com', { target: '/v1/users//x' })))).toBe(
      'allow rule-1',
    );
  });

  it('is folded in the path only, not in the query', () => {
    const rule = { condition: 'http.path.endsWith("next=/x")', action: 'block' as const };
    expect(told(ruleSetOf(rule, host).decideRequest(request('a.com', target)))).toBe('allow rule-1');
  });

  it('is not folded for allow rules', () => {
    const rule = { condition: 'http.host == "a.com" && http.path.startsWith("/v1/admin")', egress: INTERCEPT };
    expect(told(ruleSetOf(rule).decideRequest(request('a.com', target)))).toBe('block default (default)');
    expect(told(ruleSetOf(rule).decideRequest(request('a.com', { target: '/v1/admin' })))).toBe('allow rule-0');
  });
});

describe('a verdict', () => {
  it('carries the mode, the grants and whether to log', () => {
    const rules = ruleSetOf({
      condition: 'http.host == "a.com"',
      log: false,
      egress: { mode: 'proxy', allow_private_ips: true },
    });
    expect(rules.decideConnect(connect('a.com'))).toEqual({
      ...{ action: 'allow', ruleId: 'rule-0', log: false },
      grant: { mode: 'proxy', allowPrivateIps: true, trustAnchors: [], tls: undefined },
      ...{ provisional: false, checksResponse: false, wouldBlock: undefined },
    });
  });

  it('of a block tells the agent the rule, and no more', () => {
    const rules = ruleSetOf({ condition: 'http.host == "a.com"', action: 'block' });
    expect(rules.decideConnect(connect('a.com'))).toMatchObject({ cause: 'rule', reason: 'rule rule-0' });
    expect(rules.decideConnect(connect('b.com'))).toMatchObject({
      cause: 'default',
      reason: 'no rule allows this request',
    });
  });
});

describe('names', () => {
  const allows = (condition: string, facts = connect('a.com')) =>
    ruleSetOf({ condition }).decideConnect(facts).action === 'allow';

  it('of old rule files keep their meaning at CONNECT', () => {
    for (const condition of [
      ...[
        'http.host == "a.com"',
        'network.hostname == "a.com"',
        'tls.sni == "a.com"',
        'network.port == 443',
        'network.protocol == "tcp"',
      ],
      ...[
        'agent.name == "agent-1"',
        'agent.image == "python:3"',
        'agent.labels["team"] == "red"',
        'agent.labels.team == "red"',
      ],
      ...['agent.ip == "10.203.0.7"', 'dns.query == "" && dns.record_type == ""', 'http.scheme == "https"'],
    ]) {
      expect(allows(condition), condition).toBe(true);
      expect(allows(`!(${condition})`), condition).toBe(false);
    }
  });

  it('give tls.sni to HTTPS only', () => {
    const rules = ruleSetOf({ condition: 'tls.sni == "a.com"' });
    expect(told(rules.decideRequest(request('a.com', { scheme: 'https' })))).toBe('allow rule-0');
    expect(told(rules.decideRequest(request('a.com', { scheme: 'http' })))).toBe('block default (default)');
  });

  it('give network.ip where an address was asked for, and no value where a name was', () => {
    const condition = 'cidr(network.ip, "192.0.2.0/24")';
    expect(allows(condition, connect('192.0.2.7'))).toBe(true);
    expect(allows(condition, connect('198.51.100.7'))).toBe(false);
    expect(allows(condition)).toBe(false);
    expect(allows(`!${condition}`)).toBe(false);
  });

  it.each([
    ['a.com', true],
    ['x.a.com', true],
    ['y.x.a.com', true],
    ['xa.com', false],
    ['a.com.evil.net', false],
    ['com', false],
  ])('domain() keeps to label boundaries: %s', (host, expected) => {
    expect(allows('domain(http.host, "a.com")', connect(host))).toBe(expected);
  });

  it.each([
    ['/v1/a/files/x', true],
    ['/v1/a/files/x/y/z', true],
    ['/v1/a/b/files/x', false],
    ['/v1/a/files', false],
    ['/v1/a/files/x\n', true],
    ['/v2/v1/a/files/x', false],
  ])('glob() takes the whole path, * within a segment and ** across: %s', (target, expected) => {
    const rules = ruleSetOf({ condition: 'glob(http.path, "/v1/*/files/**")', egress: INTERCEPT });
    expect(rules.decideRequest(request('a.com', { target })).action === 'allow').toBe(expected);
  });

  it('glob() takes the characters of regular expressions for themselves', () => {
    const rules = ruleSetOf({ condition: 'glob(http.path, "/a.b(c)+/[x]$")', egress: INTERCEPT });
    expect(rules.decideRequest(request('a.com', { target: '/a.b(c)+/[x]$' })).action).toBe('allow');
    expect(rules.decideRequest(request('a.com', { target: '/aXb(c)+/[x]$' })).action).toBe('block');
  });
});
