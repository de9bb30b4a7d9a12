/**
 * The caps of the rule language: each at its limit and one past it, and that hostile text costs nothing (threat 31).
 */
import { describe, expect, it } from 'vitest';
import { checkCondition } from '../../../src/policy/cel-check.ts';
import { CelError } from '../../../src/policy/cel-value.ts';
import { Frame } from '../../../src/policy/frame.ts';
import { loadRules } from '../../../src/policy/load.ts';
import { Regex } from '../../../src/policy/regex.ts';
import { fileOf, INTERCEPT, load, MATCH_BODY, problemsOf, request, ruleSetOf } from './kit.ts';
import { CERTIFICATE, hello, metadata } from './tls-kit.ts';

const CONTEXT = { caLoaded: true, generation: 1, anchors: new Map() };
/** What each hostile text would take minutes or the process for, were it not refused; generous for a busy machine. */
const SOON_MS = 2_000;

function errorsOf(text: string): readonly string[] {
  return problemsOf(text)
    .filter((problem) => problem.severity === 'error')
    .map((problem) => problem.message);
}

function within(ms: number, work: () => void): void {
  const start = performance.now();
  work();
  expect(performance.now() - start).toBeLessThan(ms);
}

describe('the caps on files', () => {
  it('take 1,024 files and not one more', () => {
    const files = (count: number) =>
      Array.from({ length: count }, (_, i) => ({ file: `${i}.yaml`, text: 'version: "1"\nrules: []\n' }));
    expect(loadRules(files(1_024), CONTEXT).ok).toBe(true);
    const result = loadRules(files(1_025), CONTEXT);
    expect(result.ok ? [] : result.problems[0]!.message).toBe('1025 rule files; at most 1024 are allowed');
  });

  it('take a file of 1 MiB and not one byte more, counted in bytes', () => {
    const padded = (bytes: number) => `version: "1"\nrules: []\n#${'é'.repeat(10)}`.padEnd(bytes - 10, ' ');
    expect(Buffer.byteLength(padded(1_048_576))).toBe(1_048_576);
    expect(errorsOf(padded(1_048_576))).toEqual([]);
    expect(errorsOf(padded(1_048_577))).toEqual(['the file has 1048577 bytes; at most 1048576 are allowed']);
  });

  it('take 10,000 rules in all and not one more', () => {
    const file = (name: string, count: number) => ({
      file: name,
      text: fileOf(
        Array.from({ length: count }, (_, i) => ({ id: `${name}${i}`, condition: 'false', action: 'block' as const })),
      ),
    });
    expect(loadRules([file('a', 5_000), file('b', 5_000)], CONTEXT).ok).toBe(true);
    const result = loadRules([file('a', 5_000), file('b', 5_001)], CONTEXT);
    expect(result.ok ? [] : result.problems.map((problem) => problem.message)).toContain(
      '10001 rules in all; at most 10000 are allowed',
    );
  });
});

describe('the caps on conditions', () => {
  const errors = (condition: string) => errorsOf(fileOf([{ condition, action: 'block' }]));

  it('take 64 KiB of characters and not one more', () => {
    const padded = (chars: number) => `${' '.repeat(chars - 4)}true`;
    expect(errors(padded(65_536))).toEqual([]);
    expect(errors(padded(65_537))[0]).toMatch(/longer than 65536|too long; at most 65536/);
  });

  it('take 500 syntax nodes and not one more', () => {
    const ands = (nodes: number) => Array.from({ length: (nodes + 1) / 2 }, () => 'true').join('&&');
    expect(errors(ands(499))).toEqual([]);
    expect(errors(`!${ands(499)}`)).toEqual([]);
    expect(errors(ands(501))).toEqual(['the condition has more than 500 syntax nodes']);
  });

  it.each([
    ['parentheses', (depth: number) => `${'('.repeat(depth)}true${')'.repeat(depth)}`],
    ['lists', (depth: number) => `${'['.repeat(depth)}1${']'.repeat(depth)} == []`],
    ['signs', (depth: number) => `${'!'.repeat(depth)}true`],
    ['signs with spaces', (depth: number) => `${'! '.repeat(depth)}true`],
  ])('refuse nesting by %s past 32, before parsing', (_, nested) => {
    expect(errors(nested(33))).toEqual(['nested deeper than 32']);
    within(SOON_MS, () => expect(errors(nested(20_000))).toEqual(['nested deeper than 32']));
    expect(errors(nested(20)).join()).not.toMatch(/nested deeper/);
  });

  it('do not take brackets and signs in strings and comments for nesting', () => {
    expect(errors(`agent.name != "${'(['.repeat(40)}" // ${'{'.repeat(40)}`)).toEqual([]);
  });

  it('take two nested comprehensions and no third', () => {
    const nested = (depth: number): string =>
      depth === 0 ? 'true' : `agent.labels.all(v${depth}, ${nested(depth - 1)})`;
    expect(errors(nested(2))).toEqual([]);
    expect(errors(nested(3))).toEqual(['more than 2 nested comprehensions']);
    expect(errors('agent.labels.map(a, a).filter(b, b != "").all(c, true)')).toEqual([]);
  });

  it('refuse definitions that double each other while they grow', () => {
    const definitions = Object.fromEntries(Array.from({ length: 31 }, (_, i) => [`d${i}`, `$d${i + 1} && $d${i + 1}`]));
    const text = fileOf([{ condition: '$d0', action: 'block' }], {
      definitions: { ...definitions, d31: 'true' },
    });
    within(SOON_MS, () => expect(errorsOf(text).join()).toMatch(/longer than 65536 characters/));
  });

  it('refuse definitions within definitions past 32', () => {
    const chain = (length: number) => {
      const links = Array.from({ length }, (_, i) => [`d${i}`, i === length - 1 ? 'true' : `$d${i + 1}`]);
      return errorsOf(fileOf([{ condition: '$d0', action: 'block' }], { definitions: Object.fromEntries(links) }));
    };
    expect(chain(20)).toEqual([]);
    expect(chain(200).join()).toMatch(/definitions nested deeper than 32/);
  });
});

describe('hostile YAML', () => {
  const bombs: readonly (readonly [string, string])[] = [
    ['brackets', `version: "1"\nrules: ${'['.repeat(500_000)}`],
    ['brackets on lines of their own', `version: "1"\nrules: ${'[\n'.repeat(250_000)}`],
    ['braces with keys', `version: "1"\nrules: ${'{a: '.repeat(200_000)}`],
    ['dashes on one line', `version: "1"\nrules:\n  ${'- '.repeat(400_000)}a`],
    ['question marks on one line', `version: "1"\nrules:\n  ${'? '.repeat(400_000)}a`],
    [
      'indentation',
      `version: "1"\nrules:\n${Array.from({ length: 1_300 }, (_, i) => `${' '.repeat(i + 1)}a:`).join('\n')}\n`,
    ],
    [
      'aliases that multiply',
      `version: "1"\na0: &a0 [x]\n${Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`).join('\n')}\n`,
    ],
    ['one very long key', `version: "1"\n${'k'.repeat(900_000)}: 1\n`],
    ['fifty thousand keys', `version: "1"\n${Array.from({ length: 50_000 }, (_, i) => `k${i}: 1`).join('\n')}\n`],
  ];

  it.each(bombs)('is refused without harm: %s', (_, text) => {
    within(5 * SOON_MS, () => expect(load(text).ok).toBe(false));
  });
});

describe('a regular expression', () => {
  const BOMBS: readonly (readonly [string, string])[] = [
    ['^(a+)+$', `${'a'.repeat(60_000)}b`],
    ['(x+x+)+y', 'x'.repeat(60_000)],
    ['^(([a-z])+.)+[A-Z]([a-z])+$', 'a'.repeat(60_000)],
  ];

  it.each(BOMBS)('takes linear time where backtracking takes exponential: %s', (pattern, path) => {
    const rules = ruleSetOf({ condition: `http.path.matches("${pattern}")`, egress: INTERCEPT });
    within(SOON_MS, () => expect(rules.decideRequest(request('a.com', { target: path })).action).toBe('block'));
  });

  it('finds its pattern anywhere, and only where it is', () => {
    const rules = ruleSetOf({ condition: 'http.path.matches("/v[0-9]+/a$")', egress: INTERCEPT });
    expect(rules.decideRequest(request('a.com', { target: '/x/v12/a' })).action).toBe('allow');
    expect(rules.decideRequest(request('a.com', { target: '/x/v12/ab' })).action).toBe('block');
  });

  it('over a body of 1 MiB fits the budget where its automaton is small', () => {
    const rules = ruleSetOf({
      condition: 'http.body.matches("(?i)(password|api[_-]?key)\\\\s*[:=]")',
      egress: MATCH_BODY,
    });
    const body = 'pass api '.repeat(116_000);
    expect(rules.decideRequest(request('a.com', { body: `${body}API-key = 1` })).action).toBe('allow');
    expect(rules.decideRequest(request('a.com', { body })).action).toBe('block');
  });

  it('is charged by what its automaton is: a walk over a small one, states for an exploding one', () => {
    const long = 1_000_000;
    expect(new Regex('sk-[A-Za-z0-9]{20,48}').cost(long)).toBeLessThan(long);
    expect(new Regex('^/v1/(messages|models)(/.*)?$').cost(long)).toBeLessThan(long);
    expect(new Regex('(a|b)*a(a|b){14}c$').cost(long)).toBeGreaterThan(50 * long);
  });

  it('that explodes is still answered for a short text', () => {
    const regex = new Regex('(a|b)*a(a|b){14}c$');
    expect([regex.test(`${'a'.repeat(40)}c`), regex.test('a'.repeat(40))]).toEqual([true, false]);
  });
});

describe('the budget of an evaluation', () => {
  const numbers = JSON.stringify(Array.from({ length: 5_000 }, (_, i) => i));
  const COSTLY: readonly (readonly [string, string, string])[] = [
    ['nested loops', 'http.json.all(a, http.json.all(b, a + b >= 0.0))', numbers],
    [
      'a search in every turn',
      '!http.json.exists(a, http.body.contains("zz"))',
      JSON.stringify(Array.from({ length: 20_000 }, () => 'abcdefgh')),
    ],
    ['lists that double', doubling('["x"]'), '[]'],
    ['an exploding expression', 'http.body.matches("(a|b)*a(a|b){14}c$")', 'ab'.repeat(50_000)],
    [
      'the keys of a large object in every turn',
      'http.json.all(a, http.json.size() > 0)',
      JSON.stringify(Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`k${i}`, 1]))),
    ],
  ];

  it.each(COSTLY)('ends in an error and soon: %s', (_, condition, body) => {
    const checked = checkCondition(condition);
    expect(checked.ok ? [] : checked.faults).toEqual([]);
    const frame = new Frame();
    frame.setRequest(request('a.com', { body }));
    frame.showBody(request('a.com', { body }), true);
    within(SOON_MS, () => checked.ok && checked.value.read(frame));
    expect(frame.steps).toBeLessThan(0);
  });

  it.each(COSTLY)('blocks in a block rule, and matches nothing in an allow rule: %s', (_, condition, body) => {
    const facts = request('a.com', { body });
    const behind = { condition: 'http.host == "a.com"' };
    expect(ruleSetOf({ condition, action: 'block' }, behind).decideRequest(facts)).toMatchObject({
      action: 'block',
      ruleId: 'rule-0',
      cause: 'error',
    });
    expect(ruleSetOf({ condition, egress: MATCH_BODY }, behind).decideRequest(facts)).toMatchObject({
      action: 'allow',
      ruleId: 'rule-1',
    });
  });

  it('cannot be argued away by what stands beside the costly part', () => {
    const condition = '(http.json.all(a, http.json.all(b, a + b >= 0.0)) || true) && http.host == "a.com"';
    const facts = request('a.com', { body: numbers });
    expect(ruleSetOf({ condition, egress: MATCH_BODY }).decideRequest(facts).action).toBe('block');
    expect(ruleSetOf({ condition, egress: MATCH_BODY }).decideRequest(request('a.com', { body: '[1]' })).action).toBe(
      'allow',
    );
  });

  it('is whole again for the next rule', () => {
    const rules = ruleSetOf(
      { condition: COSTLY[0]![1], egress: MATCH_BODY },
      { condition: 'http.json[0] == 0.0', egress: MATCH_BODY },
    );
    expect(rules.decideRequest(request('a.com', { body: numbers }))).toMatchObject({
      action: 'allow',
      ruleId: 'rule-1',
    });
  });

  it('is an error of its own kind', () => {
    const checked = checkCondition(COSTLY[0]![1]);
    const frame = new Frame();
    frame.setRequest(request('a.com', { body: numbers }));
    frame.showBody(request('a.com', { body: numbers }), true);
    const value = checked.ok ? checked.value.read(frame) : undefined;
    expect(value instanceof CelError && value.code).toBe('budget');
  });
});

/** A list that cel.bind doubles eight times over, eight times. */
function doubling(list: string): string {
  let condition = 'v8.size() > 0';
  for (let i = 8; i > 0; i--)
    condition = `cel.bind(v${i}, ${Array.from({ length: 8 }, () => `v${i - 1}`).join(' + ')}, ${condition})`;
  return `cel.bind(v0, ${list}, ${condition})`;
}

describe('the caps on matchers of egress.tls', () => {
  const errors = (tls: object) => errorsOf(fileOf([{ condition: 'http.host == "api.a.com"', egress: { tls } }]));
  const names = (count: number) => Array.from({ length: count }, (_, i) => `h${i}.a.com`);

  it('take 256 names, 256 characters and 1,024 of a pattern, and not one more', () => {
    expect(errors({ sni: { exact: names(256) } })).toEqual([]);
    expect(errors({ sni: { exact: names(257) } }).join()).toMatch(/exact: too long; at most 256/);
    expect(errors({ server_cn: { exact: ['a'.repeat(256)] } })).toEqual([]);
    expect(errors({ server_cn: { exact: ['a'.repeat(257)] } }).join()).toMatch(/exact: too long; at most 256/);
    expect(errors({ server_cn: { regex: 'a'.repeat(1_024) } })).toEqual([]);
    expect(errors({ server_cn: { regex: 'a'.repeat(1_025) } }).join()).toMatch(/regex: too long; at most 1024/);
    expect(errors({ server_cn: { regex: 'a{900}b{900}c{900}' } }).join()).toMatch(/compiles to \d+ instructions/);
  });

  it('end the reading of a certificate with thousands of names, which then does not match', () => {
    const rules = ruleSetOf(metadata({ server_san: { regex: '(a|b)*a(a|b){200}x' } }));
    const san = Array.from({ length: 5_000 }, (_, i) => 'ab'.repeat(120) + i);
    within(5 * SOON_MS, () => expect(rules.decideCertificate(hello(), { ...CERTIFICATE, san }).action).toBe('block'));
    const match = [`${'ab'.repeat(3)}a${'ab'.repeat(100)}x`];
    expect(rules.decideCertificate(hello(), { ...CERTIFICATE, san: match }).action).toBe('allow');
  });
});
