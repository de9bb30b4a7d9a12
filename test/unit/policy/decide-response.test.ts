/**
 * egress.response: what a rule asks of the answer to a request that it has allowed.
 */
import { describe, expect, it } from 'vitest';
import type { RequestFacts, ResponseFacts } from '../../../src/domain/facts.ts';
import type { Allow, Verdict } from '../../../src/domain/verdict.ts';
import type { RuleSet } from '../../../src/policy/rule-set.ts';
import { INTERCEPT, MATCH_BODY, request, ruleSetOf } from './kit.ts';

const HOST = 'http.host == "a.com"';
const JSON_ONLY = 'http.response.headers["content-type"].startsWith("application/json")';

function answered(rules: RuleSet, facts: RequestFacts, response: Partial<ResponseFacts>): Verdict {
  const allow = rules.decideRequest(facts);
  expect(allow).toMatchObject({ action: 'allow', checksResponse: true });
  return rules.decideResponse(allow as Allow, facts, { status: 200, headers: [], ...response });
}

const ruled = (response: string, egress: object = INTERCEPT) =>
  ruleSetOf({ condition: HOST, egress: { ...egress, response } });

describe('egress.response', () => {
  it.each<readonly [string, Partial<ResponseFacts>, Partial<ResponseFacts>]>([
    ['http.response.status == 200', { status: 200 }, { status: 204 }],
    ['http.response.status in [200, 101]', { status: 101 }, { status: 302 }],
    [JSON_ONLY, { headers: ['Content-Type', 'application/json'] }, { headers: ['Content-Type', 'text/html'] }],
    ['!("set-cookie" in http.response.headers)', {}, { headers: ['SET-COOKIE', 'a=1'] }],
    [
      'http.response.headers["via"] == "1.1 a, 1.1 b"',
      { headers: ['Via', '1.1 a', 'via', '1.1 b'] },
      { headers: ['Via', '1.1 a'] },
    ],
    ['http.response.headers[?"x-a"].orValue("none") == "none"', {}, { headers: ['X-A', 'some'] }],
  ])('decides by status and headers: %s', (condition, passing, refused) => {
    const rules = ruled(condition);
    const facts = request('a.com');
    expect(answered(rules, facts, passing)).toBe(rules.decideRequest(facts));
    expect(answered(rules, facts, refused)).toEqual({
      ...{ action: 'block', ruleId: 'rule-0', cause: 'rule', log: true },
      reason: 'the response, by rule rule-0',
    });
  });

  it('that cannot be evaluated blocks', () => {
    const rules = ruled(JSON_ONLY);
    expect(answered(rules, request('a.com'), { headers: [] })).toMatchObject({
      ...{ action: 'block', cause: 'error', reason: 'the response, by rule rule-0 could not be evaluated' },
    });
    expect(answered(rules, request('a.com'), { headers: ['content-type', 'application/json'] }).action).toBe('allow');
  });

  it('may use what the request said, the body where the rule reads it', () => {
    const rules = ruled('http.method == "HEAD" || http.path == "/a" && http.response.status < 300');
    const of = (facts: Partial<RequestFacts>, status: number) =>
      answered(rules, request('a.com', facts), { status }).action;
    expect(of({ method: 'HEAD' }, 500)).toBe('allow');
    expect(of({ target: '/a' }, 200)).toBe('allow');
    expect(of({ target: '/b' }, 200)).toBe('block');
    const reading = ruled('http.json.stream == true || http.response.status == 201', MATCH_BODY);
    const body = (text: string | null) => answered(reading, request('a.com', { body: text }), {}).action;
    expect([body('{"stream":true}'), body('{"stream":false}'), body(null)]).toEqual(['allow', 'block', 'block']);
  });

  it('belongs to its rule alone, and keeps nothing for the next answer', () => {
    const rules = ruleSetOf(
      {
        condition: `${HOST} && http.method == "GET"`,
        egress: { ...INTERCEPT, response: 'http.response.status == 200' },
      },
      { condition: HOST, egress: INTERCEPT },
    );
    const post = request('a.com', { method: 'POST' });
    const plain = rules.decideRequest(post) as Allow;
    expect(plain).toMatchObject({ ruleId: 'rule-1', checksResponse: false });
    expect(rules.decideResponse(plain, post, { status: 500, headers: [] })).toBe(plain);
    const statuses = [200, 500, 200].map((status) => answered(rules, request('a.com'), { status }).action);
    expect(statuses).toEqual(['allow', 'block', 'allow']);
  });

  it('is a block for an allow of another rule set', () => {
    const other = ruleSetOf({ id: 'elsewhere', condition: HOST, egress: { ...INTERCEPT, response: 'true' } });
    const allow = other.decideRequest(request('a.com')) as Allow;
    expect(other.decideResponse(allow, request('a.com'), { status: 200, headers: [] }).action).toBe('allow');
    expect(ruled('true').decideResponse(allow, request('a.com'), { status: 200, headers: [] }).action).toBe('block');
  });
});
