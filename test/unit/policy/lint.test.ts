/**
 * The warnings at load: each for a rule that is probably not what was meant, and not for its neighbour that is.
 */
import { describe, expect, it } from 'vitest';
import { fileOf, INTERCEPT, load, MATCH_BODY, problemsOf, type RuleText } from './kit.ts';

function warnings(...rules: readonly RuleText[]): readonly string[] {
  const text = fileOf(rules);
  expect(load(text).ok).toBe(true);
  return problemsOf(text).map(({ rule, message }) => `${rule}: ${message}`);
}

const A = 'http.host == "a.com"';

interface Pair {
  readonly about: string;
  readonly warned: readonly RuleText[];
  readonly says: RegExp;
  /** The same with the one thing changed that the warning is about. */
  readonly right: readonly RuleText[];
}

const TLS_A = { sni: { exact: ['a.com'] } };

const PAIRS: readonly Pair[] = [
  {
    about: 'a rule after one that decides its host',
    warned: [{ condition: A }, { condition: A, action: 'block' }],
    says: /^rule-1: can never match: rule rule-0 \(rules.yaml:1\) allows these hosts first/,
    right: [{ condition: A, egress: { tls: TLS_A } }, { condition: A }],
  },
  {
    about: 'a rule after a block',
    warned: [{ condition: A, action: 'block' }, { condition: A }],
    says: /^rule-1: can never match: rule rule-0 \(rules.yaml:1\) blocks these hosts first/,
    right: [{ condition: A, action: 'block', enforcement: 'audit' }, { condition: A }],
  },
  {
    about: 'audit where nothing would be blocked',
    warned: [{ condition: A, enforcement: 'audit' }],
    says: /^rule-0: enforcement: audit has no effect here/,
    right: [{ condition: A, enforcement: 'audit', egress: { ...INTERCEPT, response: 'http.response.status < 400' } }],
  },
  {
    about: 'tls13_uninspectable without a look at the certificate',
    warned: [{ condition: A, egress: { tls: { ...TLS_A, tls13_uninspectable: 'deny' } } }],
    says: /^rule-0: tls13_uninspectable has no effect/,
    right: [
      { condition: A, egress: { tls: { ...TLS_A, server_cn: { exact: ['a.com'] }, tls13_uninspectable: 'deny' } } },
    ],
  },
  {
    about: 'the certificate where requests are decrypted',
    warned: [
      { condition: `${A} && tls.cert.issuer_cn == "Bad CA"`, action: 'block' },
      { condition: A, egress: INTERCEPT },
    ],
    says: /^rule-0: tls.cert.issuer_cn is not known where these hosts are decrypted/,
    right: [{ condition: `${A} && tls.cert.issuer_cn == "Bad CA"`, action: 'block' }, { condition: A }],
  },
  {
    about: 'a version of TLS in other words',
    warned: [{ condition: `${A} && tls.version == "TLSv1.3"` }],
    says: /^rule-0: can never match: versions of TLS are written/,
    right: [{ condition: `${A} && tls.version == "1.3"` }],
  },
  {
    about: 'a fingerprint with colons',
    warned: [{ condition: `${A} && tls.cert.fingerprint_sha256 == "${'AB:'.repeat(31)}AB"` }],
    says: /^rule-0: can never match: a fingerprint is 64 lower-case hex digits/,
    right: [{ condition: `${A} && tls.cert.fingerprint_sha256 == "${'ab'.repeat(32)}"` }],
  },
  {
    about: 'a response header in capitals',
    warned: [{ condition: A, egress: { ...INTERCEPT, response: '"X-A" in http.response.headers' } }],
    says: /^rule-0: can never match: names in http.response.headers are lower-case/,
    right: [{ condition: A, egress: { ...INTERCEPT, response: '"x-a" in http.response.headers' } }],
  },
  {
    about: 'contradictory hosts',
    warned: [{ condition: `${A} && http.host == "b.com"` }],
    says: /^rule-0: can never match: no host satisfies/,
    right: [{ condition: `${A} || http.host == "b.com"` }],
  },
  {
    about: 'a host in capitals',
    warned: [{ condition: 'http.host == "A.com"' }],
    says: /^rule-0: can never match: no host is ever written/,
    right: [{ condition: A }],
  },
  {
    about: 'a host with a trailing dot',
    warned: [{ condition: 'http.host == "a.com."' }],
    says: /can never match/,
    right: [{ condition: A }],
  },
  {
    about: 'a host with a port',
    warned: [{ condition: 'http.host == "a.com:443"' }],
    says: /can never match/,
    right: [{ condition: A }],
  },
  {
    about: 'a host by its Unicode name',
    warned: [{ condition: 'http.host == "bücher.example"' }],
    says: /can never match/,
    right: [{ condition: 'http.host == "xn--bcher-kva.example"' }],
  },
  {
    about: 'a wildcard',
    warned: [{ condition: 'http.host in ["*.a.com"]' }],
    says: /can never match/,
    right: [{ condition: 'domain(http.host, "a.com")' }],
  },
  {
    about: 'a method in lower case',
    warned: [{ condition: `${A} && http.method == "get"`, egress: INTERCEPT }],
    says: /methods are upper-case/,
    right: [{ condition: `${A} && http.method == "GET"`, egress: INTERCEPT }],
  },
  {
    about: 'a header name in capitals',
    warned: [{ condition: `${A} && has(http.headers.accept) && http.headers["Accept"] == "x"`, egress: INTERCEPT }],
    says: /http.headers are lower-case/,
    right: [{ condition: `${A} && has(http.headers.accept) && http.headers["accept"] == "x"`, egress: INTERCEPT }],
  },
  {
    about: 'endsWith without a dot',
    warned: [{ condition: 'http.host.endsWith("a.com")' }],
    says: /evila.com too/,
    right: [{ condition: 'http.host.endsWith(".a.com")' }],
  },
  {
    about: 'a pattern that is not anchored',
    warned: [{ condition: 'http.host.matches("a\\\\.com")' }],
    says: /matches anywhere in the name/,
    right: [{ condition: 'http.host.matches("^a\\\\.com$")' }],
  },
  {
    about: 'a whole top-level domain',
    warned: [{ condition: 'domain(http.host, "com")' }],
    says: /all of the top-level domain com/,
    right: [{ condition: 'domain(http.host, "a.com")' }],
  },
  {
    about: 'an allow rule with no host',
    warned: [{ condition: 'agent.name == "x"' }],
    says: /allows every host/,
    right: [{ condition: `agent.name == "x" && ${A}` }],
  },
  {
    about: 'an allow rule that is always true',
    warned: [{ condition: 'true' }],
    says: /allows every host/,
    right: [{ condition: 'true', action: 'block' }],
  },
  {
    about: 'a tunnel in front of an intercept rule',
    warned: [{ condition: A }, { condition: `${A} && http.method == "GET"`, egress: INTERCEPT }],
    says: /^rule-1: never decrypts: rule rule-0 \(rules.yaml:1\) tunnels these hosts first/,
    right: [
      { condition: A, priority: 200 },
      { condition: `${A} && http.method == "GET"`, egress: INTERCEPT },
    ],
  },
  {
    about: 'a tunnel for a domain in front of an intercept rule below it',
    warned: [{ condition: 'domain(http.host, "a.com")' }, { condition: 'http.host == "x.a.com"', egress: INTERCEPT }],
    says: /^rule-1: never decrypts/,
    right: [{ condition: 'domain(http.host, "b.com")' }, { condition: 'http.host == "x.a.com"', egress: INTERCEPT }],
  },
  {
    about: 'a block rule after a broader allow',
    warned: [{ condition: 'domain(http.host, "a.com")' }, { condition: 'http.host == "x.a.com"', action: 'block' }],
    says: /^rule-1: can never match: rule rule-0 .* allows these hosts first/,
    right: [
      { condition: 'domain(http.host, "a.com")' },
      { condition: 'http.host == "x.a.com"', action: 'block', priority: 1 },
    ],
  },
  {
    about: 'a rule after a block of everything',
    warned: [{ condition: 'true', action: 'block' }, { condition: A }],
    says: /^rule-1: can never match: rule rule-0 .* blocks/,
    right: [{ condition: 'true', action: 'block', priority: 999 }, { condition: A }],
  },
  {
    about: 'a rule for the same host again',
    warned: [{ condition: A }, { condition: `${A} && network.port == 443` }],
    says: /^rule-1: can never match/,
    right: [{ condition: A, egress: { ports: [80] } }, { condition: `${A} && network.port == 443` }],
  },
  {
    about: 'a host of many tenants in a tunnel',
    warned: [{ condition: 'http.host == "github.com"' }],
    says: /allows all of github.com/,
    right: [{ condition: 'http.host == "github.com" && http.path.startsWith("/me/")', egress: INTERCEPT }],
  },
  {
    about: 'a domain of many tenants',
    warned: [{ condition: 'domain(http.host, "amazonaws.com")' }],
    says: /allows all of \*.amazonaws.com/,
    right: [{ condition: 'http.host == "mine.s3.amazonaws.com"' }],
  },
  {
    about: 'request fields that nothing decrypts',
    warned: [{ condition: `${A} && http.path.startsWith("/v1")` }],
    says: /no rule decrypts these hosts, so for HTTPS http.path/,
    right: [{ condition: `${A} && http.path.startsWith("/v1")`, egress: INTERCEPT }],
  },
  {
    about: 'request fields in a block rule that nothing decrypts',
    warned: [{ condition: `${A} && http.method == "DELETE"`, action: 'block' }, { condition: A }],
    says: /^rule-0: no rule decrypts/,
    right: [
      { condition: `${A} && http.method == "DELETE"`, action: 'block' },
      { condition: A, egress: INTERCEPT },
    ],
  },
  {
    about: 'request fields of plain HTTP',
    warned: [{ condition: `${A} && http.method == "GET"` }],
    says: /no rule decrypts/,
    right: [{ condition: `${A} && http.method == "GET" && http.scheme == "http"` }],
  },
  {
    about: 'a block rule that blocks the CONNECT',
    warned: [
      { condition: `${A} && http.method != "GET"`, action: 'block' },
      { condition: A, egress: INTERCEPT },
    ],
    says: /^rule-0: matches the CONNECT itself too/,
    right: [
      { condition: `http.method != "CONNECT" && ${A} && http.method != "GET"`, action: 'block' },
      { condition: A, egress: INTERCEPT },
    ],
  },
  {
    about: 'a header that a block rule takes for granted',
    warned: [
      { condition: `${A} && http.headers["x-a"] == "1"`, action: 'block' },
      { condition: A, egress: INTERCEPT },
    ],
    says: /^rule-0: blocks every request without this header too/,
    right: [
      { condition: `${A} && http.header("x-a") == "1"`, action: 'block' },
      { condition: A, egress: INTERCEPT },
    ],
  },
  {
    about: 'a body without match_body',
    warned: [{ condition: `${A} && http.body == "x"`, egress: INTERCEPT }],
    says: /always null without egress.match_body/,
    right: [{ condition: `${A} && http.body == "x"`, egress: MATCH_BODY }],
  },
];

describe('a warning', () => {
  it.each(PAIRS)('is given for $about', ({ warned, says }) => {
    expect(warnings(...warned).some((warning) => says.test(warning))).toBe(true);
  });

  it.each(PAIRS)('is not given for $about put right', ({ right }) => {
    expect(warnings(...right)).toEqual([]);
  });

  it('stands at the condition and names the rule', () => {
    const [warning] = problemsOf('version: "1"\nrules:\n  - id: all\n    condition: "true"\n    action: allow\n');
    expect(warning).toMatchObject({ severity: 'warning', file: 'rules.yaml', line: 4, column: 16, rule: 'all' });
  });

  it('costs little for many rules', () => {
    const many = Array.from({ length: 3_000 }, (_, i) => ({
      condition: `http.host in ["h${i}.com", "g${i}.com"]`,
      egress: INTERCEPT,
    }));
    expect(warnings(...many)).toEqual([]);
  });
});
