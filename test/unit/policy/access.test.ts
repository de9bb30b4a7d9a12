/**
 * What an agent is told that it may use: held to what requests really get, with random rules in both directions.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestFacts } from '../../../src/domain/facts.ts';
import type { Host } from '../../../src/domain/hostname.ts';
import type { Access, HostAccess } from '../../../src/policy/access.ts';
import type { RuleSet } from '../../../src/policy/rule-set.ts';
import { conditions, hosts, requests } from './arbitrary.ts';
import { AGENT, INTERCEPT, type RuleText, request, ruleSetOf } from './kit.ts';

const RUNS = 500;

function accessTo(...rules: readonly RuleText[]): Access {
  return ruleSetOf(...rules).accessOf(AGENT);
}

/** `host schemes ports methods|partly`, one line for each entry. */
function linesOf(access: Access): string[] {
  const shown = (list: string | readonly unknown[]) => (typeof list === 'string' ? list : list.join(','));
  return access.hosts.map((entry) => {
    const methods = `${shown(entry.methods)}|${shown(entry.partly)}`;
    return [entry.host, shown(entry.schemes), shown(entry.ports), methods].join(' ');
  });
}

describe('what an agent may use', () => {
  it.each<[string, RuleText[], string[]]>([
    ['a tunnel', [{ condition: 'http.host == "a.com"' }], ['a.com https,http any any|']],
    [
      'ports',
      [{ condition: 'http.host == "a.com"', egress: { ports: [8443, 443] } }],
      ['a.com https,http 443,8443 any|'],
    ],
    [
      'methods',
      [{ condition: 'http.host == "a.com" && http.method in ["POST", "GET"]', egress: { ...INTERCEPT, ports: [443] } }],
      ['a.com https,http 443 GET,POST|'],
    ],
    [
      'methods of which some requests pass',
      [
        { condition: 'http.host == "a.com" && http.method == "GET"', egress: INTERCEPT },
        { condition: 'http.host == "a.com" && http.method == "POST" && http.path == "/x"', egress: INTERCEPT },
      ],
      ['a.com https,http any GET|POST'],
    ],
    [
      'paths alone',
      [{ condition: 'http.host == "a.com" && http.path.startsWith("/v1/")', egress: INTERCEPT }],
      ['a.com https,http any |any'],
    ],
    [
      'what a block rule leaves',
      [
        { condition: 'http.host == "a.com" && http.method == "DELETE"', action: 'block' },
        { condition: 'http.host == "a.com"', egress: INTERCEPT },
      ],
      ['a.com https,http any GET,HEAD,POST,PUT,PATCH,OPTIONS|'],
    ],
    [
      'names below one',
      [{ condition: 'domain(http.host, "a.com") && http.scheme == "https"' }],
      ['a.com https any any|', '*.a.com https any any|'],
    ],
    [
      'another protocol',
      [{ condition: 'http.host == "git.a.com"', egress: { mode: 'direct_ip', ports: [22] } }],
      ['git.a.com tcp 22 any|'],
    ],
    [
      'a certificate that is yet to be seen',
      [{ condition: 'http.host == "a.com"', egress: { tls: { server_san: { exact: ['a.com'] } } } }],
      ['a.com https any |any'],
    ],
    [
      'answers that are yet to be seen',
      [{ condition: 'http.host == "a.com"', egress: { ...INTERCEPT, response: 'http.response.status == 200' } }],
      ['a.com https,http any |any'],
    ],
    ['everything', [{ condition: 'true' }], ['* https,http any any|']],
    ['nothing', [{ condition: 'http.host == "a.com"', action: 'block' }], []],
  ])('is told by %s', (_, rules, lines) => {
    const access = accessTo(...rules);
    expect([linesOf(access), access.complete]).toEqual([lines, true]);
  });

  it('names nothing of rules for other agents, and no rule at all', () => {
    const mine = { id: 'mine', condition: 'agent.name == "agent-1" && http.host == "mine.com"' };
    const theirs = [
      { id: 'theirs', condition: 'agent.name == "other" && http.host == "theirs.com"', egress: { ports: [8443] } },
      {
        id: 'theirs-2',
        condition: 'agent.labels["team"] == "blue" && http.host.matches("^secret")',
        egress: INTERCEPT,
      },
      {
        id: 'not-them',
        condition: 'agent.ip == "10.203.0.8" && domain(http.host, "mine.com")',
        action: 'block' as const,
      },
    ];
    const rules = ruleSetOf(mine, ...theirs);
    expect(rules.accessOf(AGENT)).toEqual(accessTo(mine));
    expect(JSON.stringify(rules.accessOf(AGENT))).not.toMatch(/theirs|secret|8443|"mine"/);
    expect(linesOf(rules.accessOf({ ...AGENT, name: 'other' }))).toEqual(['theirs.com https,http 8443 any|']);
  });

  it('says that it is not the whole where a rule picks hosts or ports that it does not name', () => {
    for (const condition of [
      'http.host.matches("^api[0-9]\\\\.a\\\\.com$")',
      'http.host.endsWith("a.com")',
      'http.host != "a.com"',
      'http.host == "a.com" && network.port > 1000',
    ]) {
      expect(accessTo({ condition }).complete, condition).toBe(false);
    }
    expect(accessTo({ condition: 'http.host.endsWith(".a.com")' }).complete).toBe(true);
  });

  it('is worked out once for an agent and a rule set', () => {
    const rules = ruleSetOf({ condition: 'http.host == "a.com"' });
    expect(rules.accessOf(AGENT)).toBe(rules.accessOf(AGENT));
    expect(rules.accessOf({ ...AGENT })).not.toBe(rules.accessOf(AGENT));
  });
});

/** The entries that speak of a host: its own, else those of the nearest pattern. */
function entriesFor({ hosts: listed }: Access, host: string): readonly HostAccess[] {
  const names = [host];
  for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) names.push(`*${host.slice(dot)}`);
  const name = [...names, '*'].find((each) => listed.some((entry) => entry.host === each));
  return listed.filter((entry) => entry.host === name);
}

function speaksOf(entries: readonly HostAccess[], facts: RequestFacts, key: 'methods' | 'partly'): boolean {
  const ofPort = entries.filter(({ ports }) => ports !== 'any' && ports.includes(facts.port));
  const named = ofPort.some(({ schemes }) => schemes.some((scheme) => scheme === facts.scheme || scheme === 'tcp'));
  return (named ? ofPort : entries.filter(({ ports }) => ports === 'any')).some(
    (entry) =>
      entry.schemes.some((scheme) => scheme === facts.scheme || scheme === 'tcp') &&
      (entry[key] === 'any' || entry[key].includes(facts.method)),
  );
}

/** Whether a request as a whole gets through: by the connection, and by itself where that is decrypted. */
function passes(rules: RuleSet, facts: RequestFacts): boolean {
  const connection = rules.decideConnect(facts);
  if (connection.action === 'block') return false;
  return connection.grant.mode !== 'intercept' || rules.decideRequest(facts).action === 'allow';
}

const rulesOfAny = fc.array(
  fc.record({
    condition: fc.oneof(
      conditions({ withBody: false }),
      fc.tuple(hosts, conditions({ withBody: false })).map(([host, rest]) => `http.host == "${host}" && (${rest})`),
    ),
    action: fc.constantFrom<'allow' | 'block'>('allow', 'allow', 'block'),
    intercept: fc.boolean(),
    ports: fc.option(fc.subarray([80, 443, 8080], { minLength: 1 }), { nil: undefined }),
  }),
  { minLength: 1, maxLength: 4 },
);

function ruleSetFrom(drafts: typeof rulesOfAny extends fc.Arbitrary<infer T> ? T : never): RuleSet {
  return ruleSetOf(
    ...drafts.map(({ condition, action, intercept, ports }) =>
      // A block rule may not ask for the address.
      action === 'block' && !condition.includes('network.ip')
        ? { condition, action }
        : { condition, egress: { mode: intercept ? 'intercept' : 'proxy', ...(ports && { ports }) } },
    ),
  );
}

describe('of random rules', () => {
  it('a method that is told of a host passes with anything else in the request, where the whole is told', () => {
    let told = 0;
    fc.assert(
      fc.property(rulesOfAny, requests, (drafts, facts) => {
        const rules = ruleSetFrom(drafts);
        const access = rules.accessOf(facts.agent);
        const own = access.hosts.filter(({ host }) => host === facts.host);
        if (!access.complete || !speaksOf(own, facts, 'methods')) return true;
        told++;
        return passes(rules, facts);
      }),
      { numRuns: RUNS },
    );
    expect(told).toBeGreaterThanOrEqual(0);
  });

  it('what is not told does not pass, where the whole is told', () => {
    let missing = 0;
    fc.assert(
      fc.property(rulesOfAny, requests, (drafts, facts) => {
        const rules = ruleSetFrom(drafts);
        const access = rules.accessOf(facts.agent);
        if (!access.complete) return true;
        const entries = entriesFor(access, facts.host);
        if (speaksOf(entries, facts, 'methods') || speaksOf(entries, facts, 'partly')) return true;
        missing++;
        return !passes(rules, facts);
      }),
      { numRuns: RUNS },
    );
    expect(missing).toBeGreaterThan(0);
  });
});

it('the word for all hosts stands for one that no rule can name by itself', () => {
  const rules = ruleSetOf({ condition: 'http.host == "a.com"' });
  expect(rules.decideRequest(request('outcall-any.invalid' as Host)).action).toBe('block');
});
