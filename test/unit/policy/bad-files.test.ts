/**
 * Every kind of mistake in a rule file: each is found, at its line and column, with what was written and what to
 * write. The table is also the specification of the messages.
 */
import { describe, expect, it } from 'vitest';
import { problemsOf } from './kit.ts';

type Expected = readonly [place: string, message: RegExp, value: string | undefined, fix: string | undefined];

const rules = (text: string) => `version: "1"\nrules:\n${text}`;
const rule = (text: string) => rules(`  - id: r\n    condition: 'http.host == "a.com"'\n    action: allow\n${text}`);
const condition = (text: string) => rules(`  - id: r\n    condition: '${text}'\n    action: allow\n`);
const blocking = (text: string) => rules(`  - id: r\n    condition: '${text}'\n    action: block\n`);
const second = '  - id: r\n    condition: "true"\n    action: block\n';

const FIELDS =
  'http.host, http.method, http.scheme, http.path, http.query, http.headers, http.body_size, http.body, http.json, http.response.status, http.response.headers';
const NEXT_TO_IT = 'indent with spaces';
const QUOTED = 'put the value in quotes';
const CA =
  'make a CA with `outcall ca init --out DIR`, then start outcalld with --ca-dir DIR, or --ca-cert and --ca-key';

const FILES: readonly (readonly [name: string, text: string, ...expected: Expected[]])[] = [
  ['an empty file', '', ['1:1', /the file is empty/, undefined, 'version: "1" with rules: [] allows nothing']],
  [
    'a file of comments',
    '# rules\n',
    ['1:1', /the file is empty/, undefined, 'version: "1" with rules: [] allows nothing'],
  ],
  ['a file that is a word', 'allow\n', ['1:1', /the file: must be a mapping/, 'allow', undefined]],
  ['a file that is a list', '- id: a\n', ['1:1', /the file: must be a mapping/, '- id: a', undefined]],
  ['no version', 'rules: []\n', ['1:1', /version is missing/, undefined, 'add version: "1"']],
  ['a version that is a number', 'version: 1\nrules: []\n', ['1:10', /version: must be "1"/, '1', 'version: "1"']],
  ['a version of the future', 'version: "2"\nrules: []\n', ['1:10', /version: must be "1"/, '"2"', 'version: "1"']],
  ['rules misspelt', 'version: "1"\nruels: []\n', ['2:1', /unknown key ruels/, 'ruels', 'rules:']],
  ['rules that are a mapping', 'version: "1"\nrules: {}\n', ['2:8', /rules: must be a list/, '{}', 'rules: []']],
  [
    'a rule that is a sentence',
    rules('  - allow it\n'),
    ['3:5', /a rule: must be a mapping/, 'allow it', "{ id: …, condition: '…', action: allow }"],
  ],
  [
    'a rule that is nothing',
    rules('  -\n'),
    ['3:4', /a rule: must be a mapping/, undefined, "{ id: …, condition: '…', action: allow }"],
  ],
  [
    'no id',
    rules('  - condition: "true"\n    action: block\n'),
    ['3:5', /id is missing/, undefined, 'add id: messages-only'],
  ],
  [
    'an id with a space',
    rules('  - id: "a b"\n    condition: "true"\n    action: block\n'),
    ['3:9', /id: not a value of this form/, '"a b"', 'id: messages-only'],
  ],
  [
    'an id that is a number',
    rules('  - id: 7\n    condition: "true"\n    action: block\n'),
    ['3:9', /id: must be a string/, '7', 'id: messages-only'],
  ],
  [
    'an id of 129 characters',
    rules(`  - id: ${'a'.repeat(129)}\n    condition: "true"\n    action: block\n`),
    ['3:9', /id: not a value/, `${'a'.repeat(80)}…`, 'id: messages-only'],
  ],
  [
    'an id twice',
    rules(`${second}${second}`),
    ['6:9', /the id is taken by the rule at rules.yaml:3/, 'r', 'give each rule an id of its own'],
  ],
  [
    'no condition',
    rules('  - id: r\n    action: block\n'),
    ['3:5', /condition is missing/, undefined, 'add condition: http.host == "api.example.com"'],
  ],
  [
    'a condition that is YAML true',
    rules('  - id: r\n    condition: true\n    action: block\n'),
    ['4:16', /condition: must be a string/, 'true', 'condition: http.host == "api.example.com"'],
  ],
  [
    'no action',
    rules('  - id: r\n    condition: "true"\n'),
    ['3:5', /action is missing/, undefined, 'add action: allow'],
  ],
  [
    'an action misspelt',
    rules('  - id: r\n    condition: "true"\n    action: blok\n'),
    ['5:13', /action: must be "allow" or "block"/, 'blok', 'action: block'],
  ],
  [
    'an action in another language',
    rules('  - id: r\n    condition: "true"\n    action: deny\n'),
    ['5:13', /action: must be/, 'deny', 'action: block'],
  ],
  [
    'an action of another case',
    rules('  - id: r\n    condition: "true"\n    action: ALLOW\n'),
    ['5:13', /action: must be/, 'ALLOW', 'action: allow'],
  ],
  ['a key misspelt', rule('    egres: {}\n'), ['6:5', /unknown key egres/, 'egres', 'egress:']],
  [
    'a key from nowhere',
    rule('    xyzzy: 1\n'),
    [
      '6:5',
      /unknown key xyzzy/,
      'xyzzy',
      'the keys here are id, description, priority, condition, action, log, enforcement, egress',
    ],
  ],
  [
    'a key named __proto__',
    rule('    __proto__: {}\n'),
    [
      '6:5',
      /unknown key __proto__/,
      '__proto__',
      'the keys here are id, description, priority, condition, action, log, enforcement, egress',
    ],
  ],
  ['an egress key misspelt', rule('    egress: { port: [443] }\n'), ['6:15', /unknown key port/, 'port', 'ports:']],
  [
    'a mode misspelt',
    rule('    egress: { mode: intercpt }\n'),
    ['6:21', /mode: must be "proxy" or "direct_ip" or "intercept"/, 'intercpt', 'mode: intercept'],
  ],
  [
    'a mode of another word',
    rule('    egress: { mode: mitm }\n'),
    ['6:21', /mode: must be/, 'mitm', 'mode: intercept'],
  ],
  ['port 0', rule('    egress: { ports: [0] }\n'), ['6:23', /ports: too small; at least 1/, '0', 'ports: [443]']],
  [
    'port 65536',
    rule('    egress: { ports: [443, 65536] }\n'),
    ['6:28', /ports: too large; at most 65535/, '65536', 'ports: [443]'],
  ],
  [
    'a port as text',
    rule('    egress: { ports: ["443"] }\n'),
    ['6:23', /ports: must be a number/, '"443"', 'ports: [443]'],
  ],
  [
    'half a port',
    rule('    egress: { ports: [1.5] }\n'),
    ['6:23', /ports: must be a whole number/, '1.5', 'ports: [443]'],
  ],
  [
    'ports without a list',
    rule('    egress: { ports: 443 }\n'),
    ['6:22', /ports: must be a list/, '443', 'ports: [443]'],
  ],
  ['no ports in the list', rule('    egress: { ports: [] }\n'), ['6:22', /ports: too short/, '[]', 'ports: [443]']],
  [
    'a priority in words',
    rule('    priority: high\n'),
    ['6:15', /priority: must be a number/, 'high', 'priority: 100'],
  ],
  ['log as text', rule('    log: "no"\n'), ['6:10', /log: must be true or false/, '"no"', 'log: true']],
  [
    'direct_ip without ports',
    rule('    egress: { mode: direct_ip }\n'),
    ['6:21', /direct_ip must list its ports/, 'direct_ip', 'add ports: [22]'],
  ],
  [
    'match_body in a tunnel',
    rule('    egress: { match_body: true }\n'),
    ['6:27', /match_body is only for mode: intercept/, 'true', 'mode: intercept, or remove match_body'],
  ],
  [
    'egress on a block rule',
    blocking('http.host == "a.com"').concat('    egress: { mode: proxy }\n'),
    ['6:13', /egress is only for action: allow/, '{ mode: proxy }', 'remove egress, or write action: allow'],
  ],
  [
    'intercept without a CA',
    rule('    egress: { mode: intercept }\n'),
    ['6:21', /mode: intercept needs a CA, and no CA is loaded/, 'intercept', CA],
  ],
  [
    'a trust anchor in another folder',
    rule('    egress: { trust_anchors: [../ca.pem] }\n'),
    ['6:31', /trust_anchors: not a value of this form/, '../ca.pem', 'trust_anchors: [corp-ca.pem]'],
  ],
  [
    'a key twice',
    rules('  - id: r\n    id: s\n    condition: "true"\n    action: block\n'),
    ['4:5', /a key may stand only once in a mapping/, 'id', 'keep one of the two'],
  ],
  [
    'an anchor and an alias',
    rules('  - &a\n    id: r\n  - *a\n'),
    ['4:5', /anchors are not allowed/, undefined, 'use a $definition, or write it out'],
    ['5:5', /aliases are not allowed/, undefined, 'use a $definition, or write it out'],
  ],
  ['a merge key', rules('  - <<: { id: r }\n'), ['3:5', /merge keys are not allowed/, undefined, 'write the keys out']],
  ['a tag', rules('  - id: !secret r\n'), ['3:17', /tags are not allowed/, undefined, 'leave the tag out']],
  ['a tab', 'version: "1"\nrules:\n\t- id: r\n', ['3:1', /Tabs are not allowed/, '\\x09', NEXT_TO_IT]],
  [
    'two documents',
    'version: "1"\nrules: []\n---\nversion: "1"\n',
    ['3:1', /more than one document/, '---', 'one document per file: remove the ---'],
  ],
  [
    'a quote that does not close',
    'version: "1\nrules: []\n',
    ['3:1', /Missing closing/, undefined, 'close the quote or bracket, or align the line with its neighbours'],
  ],
  [
    'a condition that YAML reads as a mapping',
    rules('  - id: r\n    condition: a ? b: c\n    action: block\n'),
    ['4:16', /Nested mappings/, 'a', QUOTED],
  ],
  [
    'quotes within quotes',
    rules('  - id: r\n    condition: "http.host == "a""\n'),
    ['4:31', /Unexpected scalar/, 'a""', QUOTED],
  ],

  [
    'a name misspelt',
    condition('htp.host == "a.com"'),
    ['4:17', /htp.host is not a name of conditions/, 'htp.host', 'http.host'],
  ],
  [
    'two names misspelt',
    condition('http.hots == "a.com" && http.methd == "GET"'),
    ['4:17', /http.hots is not/, 'http.hots', 'http.host'],
    ['4:41', /http.methd is not/, 'http.methd', 'http.method'],
  ],
  ['a name without its group', condition('method == "GET"'), ['4:17', /method is not a name/, 'method', 'http.method']],
  [
    'the response before there is one',
    condition('http.response.status == 200'),
    [
      '4:17',
      /http.response.status is only known in egress.response/,
      'http.response.status',
      'move it there, with mode: intercept',
    ],
  ],
  [
    'a name within a group misspelt',
    condition('tls.cert.subject == "a.com"'),
    ['4:17', /tls.cert.subject is not a name/, 'tls.cert.subject', 'tls.cert.subject_cn'],
  ],
  [
    'a group within a group as a value',
    condition('tls.cert == "a.com"'),
    [
      '4:17',
      /tls.cert is a group of names/,
      'tls.cert',
      'write one of tls.cert.subject_cn, tls.cert.san, tls.cert.issuer_cn, tls.cert.fingerprint_sha256, tls.cert.not_after',
    ],
  ],
  [
    'a group as a value',
    condition('http["host"] == "a.com"'),
    ['4:17', /http is a group of names/, 'http', `write one of ${FIELDS}`],
  ],
  [
    'a method misspelt',
    condition('http.path.startWith("/")'),
    ['4:17', /there is no function startWith\(\)/, 'http.path.startWith("/")', 'startsWith()'],
  ],
  [
    'a function misspelt',
    condition('domian(http.host, "a.com")'),
    ['4:17', /there is no function domian\(\)/, 'domian(http.host, "a.com")', 'domain()'],
  ],
  [
    'a host compared with a number',
    condition('http.host == 5'),
    [
      '4:17',
      /no such overload: string == int/,
      'http.host == 5',
      'compare with the same type: 443 is an int, 443.0 a double, "443" a string',
    ],
  ],
  [
    'a query parameter compared with text',
    condition('http.query["a"] == "b"'),
    [
      '4:17',
      /no such overload: list<string> == string/,
      'http.query["a"] == "b"',
      'a query parameter is the list of its values: == ["value"], or "value" in …',
    ],
  ],
  [
    'a condition that is text',
    condition('http.host'),
    ['4:17', /must be bool, this is string/, 'http.host', 'write a comparison'],
  ],
  [
    'a condition of any type',
    condition('http.json.ok'),
    ['4:17', /must be bool, this is dyn/, 'http.json.ok', 'compare it, as in `… == true`'],
  ],
  ['one = for two', condition('http.host = "a.com"'), ['4:27', /= is not expected here/, '=', '==']],
  ['and for &&', condition('true and true'), ['4:22', /and is not expected here/, 'and', '&&']],
  [
    'half a condition',
    condition('http.host == '),
    [
      '4:30',
      /the condition ends too early/,
      undefined,
      'CEL is written as in: http.host == "example.com" && http.method == "GET"',
    ],
  ],
  [
    'an empty condition',
    condition(''),
    ['4:17', /the condition is empty/, undefined, 'write `true` for a rule that always matches'],
  ],
  [
    'a regular expression that does not close',
    condition('http.path.matches("(")'),
    ['4:35', /not a regular expression of RE2/, '"("', 'RE2 has no look-ahead and no back-references'],
  ],
  [
    'a look-ahead',
    condition('http.path.matches("a(?=b)")'),
    ['4:35', /not a regular expression of RE2/, '"a(?=b)"', 'RE2 has no look-ahead and no back-references'],
  ],
  [
    'a pattern from the request',
    condition('http.path.matches(http.host)'),
    ['4:17', /must be a string literal/, 'http.path.matches(http.host)', undefined],
  ],
  [
    'a pattern that compiles large',
    condition('http.path.matches("a{900}b{900}c{900}")'),
    ['4:35', /compiles to \d+ instructions/, '"a{900}b{900}c{900}"', 'use smaller repeat counts'],
  ],
  ['a glob of three stars', condition('glob(http.path, "/***")'), ['4:33', /a glob knows/, '"/***"', '/**']],
  [
    'a range with host bits',
    condition('cidr(agent.ip, "10.0.0.1/8")'),
    ['4:32', /bits are set after the prefix/, '"10.0.0.1/8"', '10.0.0.0/8'],
  ],
  [
    'a domain with a star',
    condition('domain(http.host, "*.a.com")'),
    ['4:35', /not a host name/, '"*.a.com"', '"a.com"'],
  ],
  ['a domain in capitals', condition('domain(http.host, "A.com")'), ['4:35', /canonical form/, '"A.com"', '"a.com"']],
  [
    'has() of what is always there',
    condition('has(http.method)'),
    ['4:17', /always true/, 'has(http.method)', 'compare the value, or leave it out'],
  ],
  [
    'bytes',
    condition('b"a" == b"a"'),
    ['4:17', /unsigned integers and bytes/, 'b"a"', 'write an int or a string'],
    ['4:25', /unsigned integers and bytes/, 'b"a"', 'write an int or a string'],
  ],
  [
    'a variable that hides a name',
    condition('["a"].exists(http, http == "a")'),
    ['4:17', /hides the name http/, '["a"].exists(http, http == "a")', 'rename the variable'],
  ],
  [
    'a host in capitals in a block rule',
    blocking('http.host == "Evil.com"'),
    ['4:30', /can never match: no host is ever written like this/, '"Evil.com"', '"evil.com"'],
  ],
  [
    'a wildcard host in a block rule',
    blocking('http.host in ["*.evil.com"]'),
    ['4:31', /can never match/, '"*.evil.com"', 'domain(http.host, "evil.com")'],
  ],
  [
    'a method in lower case in a block rule',
    blocking('http.host == "a.com" && http.method == "delete"'),
    ['4:56', /can never match: methods are upper-case/, '"delete"', '"DELETE"'],
  ],
  [
    'a header in capitals in a block rule',
    blocking('http.host == "a.com" && "X-Foo" in http.headers'),
    ['4:41', /can never match: names in http.headers are lower-case/, '"X-Foo"', '"x-foo", or http.header("X-Foo")'],
  ],
  [
    'network.ip in a block rule',
    blocking('cidr(network.ip, "192.0.2.0/24")'),
    [
      '4:16',
      /network.ip in a block rule/,
      '\'cidr(network.ip, "192.0.2.0/24")\'',
      'block by http.host; private addresses are refused without a rule',
    ],
  ],

  [
    'a definition that is not there',
    condition('$nowhere'),
    ['4:17', /no definition of this name/, '$nowhere', "add it under definitions: nowhere: '…'"],
  ],
  [
    'a definition misspelt',
    'version: "1"\ndefinitions: { anthropic: "true" }\nrules:\n  - id: r\n    condition: $antropic\n    action: block\n',
    ['5:16', /no definition of this name/, '$antropic', '$anthropic'],
  ],
  [
    'a dollar alone',
    condition('$ == 1'),
    ['4:17', /no definition of this name/, '$', "add it under definitions: name: '…'"],
  ],
  [
    'definitions in a circle',
    'version: "1"\ndefinitions:\n  a: "$b"\n  b: "!$a"\nrules: []\n',
    ['3:7', /contains itself: \$b -> \$a -> \$b/, '$b', undefined],
    ['4:8', /contains itself: \$a -> \$b -> \$a/, '$a', undefined],
  ],
  [
    'a definition with a $ in its name',
    'version: "1"\ndefinitions: { $a: "true" }\nrules: []\n',
    ['2:16', /without the \$/, '$a', 'a:'],
  ],
  [
    'a definition with a - in its name',
    'version: "1"\ndefinitions: { a-b: "true" }\nrules: []\n',
    ['2:16', /letters, digits and _/, 'a-b', 'a_b:'],
  ],
  [
    'a definition that is a number',
    'version: "1"\ndefinitions: { a: 5 }\nrules: []\n',
    ['2:19', /a: must be a string/, '5', undefined],
  ],
  [
    'a fault in a definition, once for all its uses',
    `version: "1"\ndefinitions:\n  a: 'http.hst == "a.com"'\nrules:\n${['x', 'y', 'z'].map((id) => `  - id: ${id}\n    condition: $a\n    action: block\n`).join('')}`,
    ['3:7', /definition a: http.hst is not a name/, 'http.hst', 'http.host'],
  ],
  [
    'a fault in a definition that nothing uses',
    'version: "1"\ndefinitions: { a: "http.hst" }\nrules: []\n',
    ['2:20', /definition a: http.hst is not/, 'http.hst', 'http.host'],
  ],
];

describe('a rule file with a mistake', () => {
  it.each(FILES.map(([name, text, ...expected]) => ({ name, text, expected })))(
    'says where and what to write: $name',
    ({ text, expected }) => {
      const errors = problemsOf(text, { caLoaded: false }).filter((problem) => problem.severity === 'error');
      const found = errors.map(({ line, column, value, fix }) => [`${line}:${column}`, value, fix]);
      expect(found).toEqual(expected.map(([place, , value, fix]) => [place, value, fix]));
      for (const [i, [, message]] of expected.entries()) expect(errors[i]!.message).toMatch(message);
    },
  );

  it('names the rule in each problem of a rule', () => {
    const [problem] = problemsOf(rule('    egress: { mode: intercept }\n'), { caLoaded: false });
    expect(problem).toMatchObject({ rule: 'r', file: 'rules.yaml', line: 6 });
  });

  it('is right once the mistake is gone', () => {
    expect(problemsOf(rule('    egress: { mode: intercept, ports: [443] }\n'), { caLoaded: true })).toEqual([]);
  });
});

describe('the place of a fault in a condition', () => {
  const at = (scalar: string) => {
    const text = `version: "1"\nrules:\n  - id: r\n    condition: ${scalar}\n    action: block\n`;
    return problemsOf(text).map(({ line, column, value }) => `${line}:${column} ${value}`);
  };

  it.each([
    ['on one line', 'http.hst == "a"', '4:16 http.hst'],
    ['in single quotes with a doubled quote', `'http.host == "it''s" && http.hst == "a"'`, '4:41 http.hst'],
    ['in double quotes with escapes', '"http.host == \\"a\\" && http.hst == \\"a\\""', '4:39 http.hst'],
    ['in a literal block', '|\n      http.host == "a" &&\n        http.hst == "a"', '6:9 http.hst'],
    ['in a folded block', '>-\n      http.host == "a" &&\n      http.hst == "a"', '6:7 http.hst'],
    ['on a continued plain line', 'http.host == "a" &&\n      http.hst == "a"', '5:7 http.hst'],
    ['after a comment of CEL', '|\n      // http.hst is wrong\n      http.hst == "a"', '6:7 http.hst'],
  ])('is its place in the file %s', (_, scalar, expected) => {
    expect(at(scalar)).toEqual([expected]);
  });
});
