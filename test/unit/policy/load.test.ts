/**
 * Loading rule files as one set: order, generation, trust anchors, and that a set with one error is no set.
 */
import { describe, expect, it } from 'vitest';
import { type LoadContext, loadRules } from '../../../src/policy/load.ts';
import { formatProblem } from '../../../src/policy/problem.ts';
import { emptyRuleSet } from '../../../src/policy/rule-set.ts';
import { testCa } from '../../kit/pki.ts';
import { connect, fileOf, INTERCEPT, load, problemsOf, request, rulesOf } from './kit.ts';

const CONTEXT: LoadContext = { caLoaded: true, generation: 7, anchors: new Map() };
const HERE = { condition: 'http.host == "a.com"' };

describe('a rule set', () => {
  it('has the generation that it was loaded as', () => {
    expect(rulesOf(fileOf([HERE]), { generation: 42 }).generation).toBe(42);
  });

  it('is walked by priority, then file name, then place in the file', () => {
    const file = (name: string, priorities: readonly number[]) => ({
      file: `${name}.yaml`,
      text: fileOf(priorities.map((priority, i) => ({ ...HERE, id: `${name}${i}`, priority }))),
    });
    const result = loadRules([file('b', [100, 5]), file('a', [100, 100, 200])], CONTEXT);
    expect(result.ok && result.rules.rules.map((rule) => rule.id)).toEqual(['b1', 'a0', 'a1', 'b0', 'a2']);
  });

  it('shows its rules as they were written', () => {
    const text = `version: "1"\ndefinitions: { a: 'http.host == "a.com"' }\nrules:\n  - id: one\n    description: why\n    condition: $a\n    action: block\n`;
    expect(rulesOf(text).rules).toEqual([
      {
        id: 'one',
        file: 'rules.yaml',
        line: 4,
        priority: 100,
        description: 'why',
        condition: '$a',
        action: 'block',
        mode: null,
        enforcement: 'enforce',
      },
    ]);
  });

  it('knows whether any of its rules intercepts', () => {
    expect(rulesOf(fileOf([HERE])).hasIntercept).toBe(false);
    expect(rulesOf(fileOf([{ ...HERE, egress: INTERCEPT }])).hasIntercept).toBe(true);
  });
});

describe('a set without rules', () => {
  const FILES: readonly (readonly [string, string])[] = [
    ['rules: []', 'version: "1"\nrules: []\n'],
    ['rules without a value', 'version: "1"\nrules:\n'],
    ['no rules key', 'version: "1"\ndefinitions: { a: "true" }\n'],
  ];

  it.each(FILES)('loads with a warning and allows nothing: %s', (_, text) => {
    const result = load(text);
    expect(result.ok && result.warnings.map((warning) => warning.message)).toEqual([
      'no rules: this file allows nothing',
    ]);
    expect(result.ok && result.rules.decideConnect(connect('a.com')).action).toBe('block');
  });

  it('blocks everything where there is no file at all, as the empty rule set does', () => {
    const result = loadRules([], CONTEXT);
    for (const rules of [result.ok ? result.rules : undefined, emptyRuleSet]) {
      expect(rules?.decideConnect(connect('a.com'))).toMatchObject({
        action: 'block',
        ruleId: 'default',
        cause: 'default',
      });
      expect(rules?.decideRequest(request('a.com'))).toMatchObject({ action: 'block', ruleId: 'default' });
    }
  });

  it('is what a misspelt key must not become', () => {
    expect(load('version: "1"\nrule:\n  - id: r\n').ok).toBe(false);
  });
});

describe('all problems of all files', () => {
  it('are reported at once, in the order of files and lines', () => {
    const result = loadRules(
      [
        { file: 'b.yaml', text: 'version: 1\nrules:\n  - id: x\n    condition: "http.hst"\n    acton: allow\n' },
        { file: 'a.yaml', text: fileOf([{ id: 'x', condition: 'http.host == 5' }]) },
        { file: 'c.yaml', text: 'version: "1\n' },
      ],
      CONTEXT,
    );
    expect(result.ok).toBe(false);
    const places = result.ok ? [] : result.problems.map(({ file, line, column }) => `${file}:${line}:${column}`);
    expect(places).toEqual([
      'a.yaml:1:65',
      'b.yaml:1:10',
      'b.yaml:3:5',
      'b.yaml:3:9',
      'b.yaml:4:17',
      'b.yaml:5:5',
      'c.yaml:2:1',
    ]);
  });

  it('leave no rule in force, however many rules are right', () => {
    const text = fileOf([...Array.from({ length: 50 }, () => HERE), { condition: 'http.host == 5' }]);
    expect(load(text)).toMatchObject({ ok: false });
    expect(load(text)).not.toHaveProperty('rules');
  });

  it('are told apart in number from those shown where there are very many', () => {
    const wrong = fileOf(Array.from({ length: 1_200 }, () => ({ condition: 'http.host == 5' })));
    const problems = problemsOf(wrong);
    expect(problems).toHaveLength(1_001);
    expect(problems.at(-1)!.message).toBe('200 more problems');
  });

  it('read as place, severity, rule, what, found, and fix', () => {
    const [problem] = problemsOf('version: "1"\nrules:\n  - id: r\n    condition: "true"\n    action: deny\n');
    expect(formatProblem(problem!)).toBe(
      'rules.yaml:5:13: error: rule r: action: must be "allow" or "block" (what a match means) (found: deny)\n    fix: action: block',
    );
  });

  it('never carry control characters of the file to the terminal', () => {
    const [problem] = problemsOf(
      'version: "1"\nrules:\n  - id: "\\e[31mx"\n    condition: "true"\n    action: block\n',
    );
    expect(formatProblem(problem!)).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);
  });
});

describe('trust anchors', () => {
  const pem = testCa().certPem;
  const text = fileOf([{ ...HERE, egress: { mode: 'intercept', trust_anchors: ['corp-ca.pem'] } }]);
  const errors = (anchors: ReadonlyMap<string, string>) =>
    problemsOf(text, { anchors }).map(({ message, fix }) => [message, fix]);

  it('are granted as PEM where the file is beside the rules', () => {
    const verdict = rulesOf(text, { anchors: new Map([['corp-ca.pem', pem]]) }).decideConnect(connect('a.com'));
    expect(verdict).toMatchObject({ action: 'allow', grant: { trustAnchors: [pem] } });
  });

  it('must be there', () => {
    expect(errors(new Map())).toEqual([
      ['there is no file corp-ca.pem beside the rules', 'put corp-ca.pem into the folder of the rules'],
    ]);
    expect(errors(new Map([['corp_ca.pem', pem]]))).toEqual([
      ['there is no file corp-ca.pem beside the rules', 'corp_ca.pem'],
    ]);
  });

  it.each([
    ['a key', testCa().keyPem, 'corp-ca.pem holds no PEM certificate'],
    ['nothing', '', 'corp-ca.pem holds no PEM certificate'],
    [
      'a broken certificate',
      pem.replace(/\n[A-Za-z0-9+/]{8}/, '\nAAAAAAAA'),
      'corp-ca.pem holds a certificate that cannot be read',
    ],
  ])('must be certificates and not %s', (_, content, message) => {
    expect(errors(new Map([['corp-ca.pem', content]]))[0]?.[0]).toBe(message);
  });
});

describe('definitions', () => {
  const text = (definitions: Record<string, string>, condition: string) => fileOf([{ condition }], { definitions });
  const allows = (file: string, host: string) => rulesOf(file).decideConnect(connect(host)).action === 'allow';

  it('are expanded in parentheses, within one another', () => {
    const file = text({ a: 'http.host == "a.com"', ab: '$a || http.host == "b.com"' }, '$ab && network.port == 80');
    expect(rulesOf(file).decideConnect(connect('a.com', { port: 80 })).action).toBe('allow');
    // Without the parentheses, && would bind before the || of the definition.
    expect(allows(file, 'a.com')).toBe(false);
    expect(allows(file, 'b.com')).toBe(false);
  });

  it('are not expanded within string literals and comments', () => {
    const file = text({ a: 'http.host == "a.com"' }, '$a && agent.name != "$b" // $c');
    expect(allows(file, 'a.com')).toBe(true);
  });

  it('may be used by name before the place where they are written, and more than once', () => {
    expect(allows(text({ b: '$a || $a', a: 'http.host == "a.com"' }, '$b && $a'), 'a.com')).toBe(true);
  });

  it('belong to their file', () => {
    const one = { file: 'a.yaml', text: fileOf([], { definitions: { a: 'true' } }) };
    const two = { file: 'b.yaml', text: fileOf([{ condition: '$a' }]) };
    const result = loadRules([one, two], CONTEXT);
    expect(result.ok ? [] : result.problems.filter((problem) => problem.severity === 'error')).toMatchObject([
      { file: 'b.yaml', message: 'no definition of this name in this file' },
    ]);
  });
});
