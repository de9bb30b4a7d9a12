/**
 * Random rules with everything that a rule may have, and random handshakes that have something to do with them.
 * What the loader refuses (names of the certificate in a rule that decrypts, say) is not made.
 */
import fc from 'fast-check';
import type { CertificateFacts, TlsFacts } from '../../../src/domain/facts.ts';
import type { Enforcement } from '../../../src/domain/verdict.ts';
import { checkCondition } from '../../../src/policy/cel-check.ts';
import type { RuleDraft } from '../../../src/policy/rule.ts';
import type { TlsInput } from '../../../src/policy/schema.ts';
import { TlsMatch, tlsGrant } from '../../../src/policy/tls-match.ts';
import { conditions } from './arbitrary.ts';

export interface DraftText {
  readonly condition: string;
  readonly action?: 'allow' | 'block';
  readonly mode?: 'proxy' | 'intercept' | 'direct_ip';
  readonly matchBody?: boolean;
  readonly allowPrivateIps?: boolean;
  readonly ports?: readonly number[] | undefined;
  readonly enforcement?: Enforcement;
  readonly tls?: TlsInput | undefined;
  readonly response?: string | undefined;
}

/** As the loader makes it. */
export function draft(id: string, text: DraftText): RuleDraft {
  const { action = 'allow', mode = 'proxy', enforcement = 'enforce', matchBody = false } = text;
  const condition = compiled(text.condition, 'condition');
  const readsCertificate = action === 'allow' && text.condition.includes('tls.cert.');
  const tls = text.tls || readsCertificate ? new TlsMatch(text.tls ?? {}, (name) => name, readsCertificate) : undefined;
  return {
    view: {
      ...{
        id,
        file: 'r.yaml',
        line: 1,
        priority: 100,
        description: '',
        condition: text.condition,
        action,
        enforcement,
      },
      mode: action === 'block' ? null : mode,
    },
    ...{ condition, log: true, ports: text.ports, matchBody, trustAnchors: [] },
    allowPrivateIps: text.allowPrivateIps ?? false,
    tls: tls?.matchesAnything === true ? tls : undefined,
    tlsGrant: text.tls && tlsGrant(text.tls),
    response: text.response === undefined ? undefined : compiled(text.response, 'response'),
  };
}

function compiled(source: string, place: 'condition' | 'response') {
  const checked = checkCondition(source, place);
  if (!checked.ok) throw new Error(`${source}: ${checked.faults[0]?.message}`);
  return checked.value;
}

const matchers = fc.record(
  {
    sni: fc.constantFrom({ exact: ['a.com'] }, { regex: '.*\\.a\\.com' }, { regex: '.*' }),
    server_san: fc.constantFrom({ exact: ['a.com'] }, { regex: '.*\\.com' }),
    server_cn: fc.constantFrom({ exact: ['a.com'] }, { regex: '.+' }),
    trust_anchors: fc.constant(['one.pem']),
    tls13_uninspectable: fc.constantFrom<'probe' | 'deny' | 'allow'>('probe', 'deny', 'allow'),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<TlsInput>;

const common = { ports: fc.constantFrom(undefined, undefined, [443], [8080]), allowPrivateIps: fc.boolean() };
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });

const plainRules: readonly fc.Arbitrary<DraftText>[] = [
  fc.record({ condition: conditions(), action: fc.constant<'block'>('block'), ports: common.ports }),
  fc.record({ condition: conditions(), mode: fc.constantFrom<'proxy' | 'direct_ip'>('proxy', 'direct_ip'), ...common }),
  fc.record({
    condition: conditions(),
    mode: fc.constant<'intercept'>('intercept'),
    matchBody: fc.boolean(),
    ...common,
  }),
];

const anyRules: readonly fc.Arbitrary<DraftText>[] = [
  ...plainRules,
  fc.record({ condition: conditions({ tls: 'all' }), action: fc.constant<'block'>('block') }),
  fc.record({ condition: conditions({ tls: 'all' }), tls: optional(matchers), ...common }),
  fc.record({
    condition: conditions({ tls: 'hello' }),
    mode: fc.constant<'intercept'>('intercept'),
    response: optional(
      fc.constantFrom('http.response.status < 400', 'http.response.headers["x-a"] == "1"', 'http.method == "GET"'),
    ),
    ...common,
  }),
];

function drafts(rules: readonly fc.Arbitrary<DraftText>[]): fc.Arbitrary<readonly RuleDraft[]> {
  const texts = fc.array(fc.oneof(...rules), { minLength: 1, maxLength: 6 });
  return texts.map((all) => all.map((text, i) => draft(`${i}`, text)));
}

/** Rules with nothing of egress.tls, tls.* names, egress.response or audit. */
export const plainDrafts = drafts(plainRules);
/** All of it but audit. */
export const anyDrafts = drafts(anyRules);

export const hellos: fc.Arbitrary<TlsFacts> = fc.record({
  sni: fc.constantFrom('', 'a.com', 'x.a.com', 'b.org'),
  version: fc.constantFrom('1.2', '1.3'),
  alpn: fc.constantFrom([], ['h2'], ['h2', 'http/1.1']),
});

export const certificates: fc.Arbitrary<CertificateFacts | undefined> = optional(
  fc.record({
    subjectCn: fc.constantFrom('', 'a.com', 'b.org'),
    san: fc.constantFrom([], ['a.com'], ['b.org', 'x.a.com']),
    issuerCn: fc.constantFrom('', 'CA'),
    fingerprintSha256: fc.constant('ab'.repeat(32)),
    notAfter: fc.constantFrom(Date.UTC(2026, 1), Date.UTC(2028, 1)),
    validUnder: fc.subarray(['', 'one.pem']),
  }),
);

/** The same rules with another enforcement. */
export function inAudit(rules: readonly RuleDraft[]): readonly RuleDraft[] {
  return rules.map((rule) => ({ ...rule, view: { ...rule.view, enforcement: 'audit' } }));
}
