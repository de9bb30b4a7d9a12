/**
 * Mistakes in egress.tls, egress.response, enforcement and defaults: each at its line and column, with what was written
 * and what to write. The table is also the specification of the messages.
 */
import { describe, expect, it } from 'vitest';
import { testCa } from '../../kit/pki.ts';
import { problemsOf } from './kit.ts';

type Expected = readonly [place: string, message: RegExp, value: string | undefined, fix: RegExp];

const HEAD = `version: "1"\nrules:\n  - id: r\n    condition: 'http.host == "a.com"'\n    action: allow\n`;
const egress = (text: string) => `${HEAD}    egress: { ${text} }\n`;
const tls = (text: string) => egress(`tls: { ${text} }`);
const conditioned = (condition: string, more: string) =>
  `version: "1"\nrules:\n  - id: r\n    condition: '${condition}'\n    action: allow\n${more}`;

const FILES: readonly (readonly [name: string, text: string, ...expected: Expected[]])[] = [
  [
    'tls with intercept',
    egress('mode: intercept, tls: { sni: { exact: [a.com] } }'),
    ['6:37', /^tls and mode: intercept cannot be mixed/, '{ sni: { exact: [a.com] } }', /^mode: proxy, or remove tls$/],
  ],
  [
    'tls with direct_ip',
    egress('mode: direct_ip, ports: [22], tls: { ech: allow }'),
    ['6:50', /^tls is only for mode: proxy/, '{ ech: allow }', /^mode: proxy/],
  ],
  ['tls that says nothing', tls(''), ['6:20', /^tls says nothing/, '{  }', /^sni:/]],
  ['a matcher that says nothing', tls('sni: {}'), ['6:27', /^sni says nothing/, '{}', /^exact: \[/]],
  ['a matcher misspelt', tls('snii: { exact: [a.com] }'), ['6:22', /^unknown key snii/, 'snii', /^sni:$/]],
  ['a key of a matcher misspelt', tls('sni: { exakt: [a.com] }'), ['6:29', /^unknown key exakt/, 'exakt', /^exact:$/]],
  ['a name without a list', tls('sni: { exact: a.com }'), ['6:36', /^exact: must be a list/, 'a.com', /^exact: \[api/]],
  ['no names in the list', tls('server_san: { exact: [] }'), ['6:43', /^exact: too short/, '[]', /^exact: \[api/]],
  [
    'a server name with a star',
    tls('sni: { exact: ["*.a.com"] }'),
    ['6:37', /^can never match: no server name is ever written like this/, '"*.a.com"', /regex/],
  ],
  [
    'an expression that does not close',
    tls('server_cn: { regex: "(a" }'),
    ['6:42', /^not a regular expression of RE2/, '"(a"', /./],
  ],
  [
    'an expression that would close ours',
    tls('server_cn: { regex: "a)|(b" }'),
    ['6:42', /^not a regular expression of RE2/, '"a)|(b"', /./],
  ],
  [
    'half a fingerprint',
    tls('fingerprint_sha256: ["ab:cd"]'),
    ['6:43', /^not a SHA-256 fingerprint: 64 hex digits/, '"ab:cd"', /^openssl x509/],
  ],
  [
    'a pin of the public key',
    tls('fingerprint_sha256: ["sha256//AAAA="]'),
    ['6:43', /^a pin of the public key/, '"sha256//AAAA="', /^openssl x509/],
  ],
  [
    'an anchor that is not there',
    tls('trust_anchors: [corp-cb.pem]'),
    ['6:38', /^there is no file corp-cb.pem beside the rules/, 'corp-cb.pem', /^corp-ca.pem$/],
  ],
  [
    'a way with TLS 1.3 that there is not',
    tls('server_cn: { exact: [a] }, tls13_uninspectable: block'),
    ['6:70', /^tls13_uninspectable: must be "probe" or "deny" or "allow"/, 'block', /probe or deny or allow/],
  ],
  [
    'a missing name that a matcher asks for',
    tls('sni: { exact: [a.com] }, sni_absent: allow'),
    ['6:59', /^sni_absent: allow has no meaning beside sni/, 'allow', /remove one of the two/],
  ],
  ['ech as a truth', tls('ech: true'), ['6:27', /^ech: must be "deny" or "allow"/, 'true', /^ech: deny or allow/]],
  [
    'the certificate in a rule that decrypts',
    conditioned('tls.cert.issuer_cn == "x" && http.host == "a.com"', '    egress: { mode: intercept }\n'),
    [
      '4:16',
      /^tls.cert.issuer_cn: a rule that decrypts does not see it/,
      expect.anything() as never,
      /^use mode: proxy/,
    ],
  ],
  [
    'the ClientHello in a rule that does not read',
    conditioned('tls.version == "1.3" && http.host == "a.com"', '    egress: { mode: direct_ip, ports: [22] }\n'),
    [
      '4:16',
      /^tls.version: what is relayed under direct_ip is not read/,
      expect.anything() as never,
      /^use mode: proxy/,
    ],
  ],

  [
    'a response in a tunnel',
    egress('response: "http.response.status == 200"'),
    [
      '6:25',
      /^response is only for mode: intercept/,
      '"http.response.status == 200"',
      /^mode: intercept, or remove response/,
    ],
  ],
  [
    'a name misspelt in a response',
    egress('mode: intercept, response: "http.response.state == 200"'),
    ['6:43', /^http.response.state is not a name/, 'http.response.state', /^http.response.status$/],
  ],
  [
    'a response that is no condition',
    egress('mode: intercept, response: "http.response.status"'),
    ['6:43', /^a condition must be bool, this is int/, 'http.response.status', /comparison/],
  ],
  [
    'a response that speaks of the certificate',
    egress(`mode: intercept, response: 'tls.cert.issuer_cn == "x"'`),
    [
      '6:43',
      /^tls.cert.issuer_cn is not known where the connection is decrypted/,
      'tls.cert.issuer_cn',
      /leave it out/,
    ],
  ],
  [
    'a definition that is for responses in a condition',
    `version: "1"\ndefinitions:\n  ok: http.response.status == 200\nrules:\n  - id: r\n    condition: $ok\n    action: allow\n`,
    [
      '3:7',
      /^definition ok: http.response.status is only known in egress.response/,
      'http.response.status',
      /^move it there/,
    ],
  ],

  [
    'enforcement misspelt',
    `${HEAD}    enforcement: adit\n`,
    ['6:18', /^enforcement: must be "enforce" or "audit"/, 'adit', /^enforcement: audit$/],
  ],
  [
    'defaults that are a word',
    'version: "1"\ndefaults: audit\nrules: []\n',
    ['2:11', /^defaults: must be a mapping/, 'audit', /enforcement/],
  ],
  [
    'a default misspelt',
    'version: "1"\ndefaults: { enforcment: audit }\nrules: []\n',
    ['2:13', /^unknown key enforcment/, 'enforcment', /^enforcement:$/],
  ],
  [
    'a way for the unmatched that there is not',
    'version: "1"\ndefaults: { enforcement: audit, unmatched: proxy }\nrules: []\n',
    ['2:44', /^unmatched: must be "tunnel" or "intercept"/, 'proxy', /tunnel or intercept/],
  ],
];

describe('an egress or a default with a mistake', () => {
  const anchors = new Map([['corp-ca.pem', testCa().certPem]]);

  it.each(FILES.map(([name, text, ...expected]) => ({ name, text, expected })))(
    'says where and what to write: $name',
    ({ text, expected }) => {
      const errors = problemsOf(text, { anchors }).filter((problem) => problem.severity === 'error');
      const found = errors.map(({ line, column, value }) => [`${line}:${column}`, value]);
      expect(found).toEqual(expected.map(([place, , value]) => [place, value]));
      for (const [i, [, message, , fix]] of expected.entries()) {
        expect(errors[i]!.message).toMatch(message);
        expect(errors[i]!.fix).toMatch(fix);
      }
    },
  );

  it('is right once the mistake is gone', () => {
    const right =
      'sni: { exact: [a.com], regex: "x.*" }, server_cn: { exact: [A] }, trust_anchors: [corp-ca.pem], ech: allow';
    expect(problemsOf(tls(right), { anchors })).toEqual([]);
    expect(problemsOf(egress('mode: intercept, response: "http.response.status == 200"'))).toEqual([]);
    expect(problemsOf(`${HEAD}defaults: { enforcement: audit, unmatched: intercept }\n`)).toEqual([]);
  });
});
