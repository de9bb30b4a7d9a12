/**
 * ClientHellos, certificates, and the questions of a door in their order.
 */
import type { CertificateFacts, HelloFacts, TlsFacts } from '../../../src/domain/facts.ts';
import type { HelloDecision } from '../../../src/domain/verdict.ts';
import type { RuleSet } from '../../../src/policy/rule-set.ts';
import { connect, type RuleText } from './kit.ts';

export const FINGERPRINT = 'ab'.repeat(32);
export const HOST = 'http.host == "api.a.com"';

export const CERTIFICATE: CertificateFacts = {
  subjectCn: 'api.a.com',
  san: ['api.a.com', '*.cdn.a.com', '192.0.2.1'],
  issuerCn: 'Some CA',
  fingerprintSha256: FINGERPRINT,
  notAfter: Date.UTC(2027, 0, 31),
  validUnder: [''],
};

export function hello(tls: Partial<TlsFacts> = {}, host = 'api.a.com'): HelloFacts {
  return { ...connect(host), tls: { sni: host, version: '1.3', alpn: ['h2', 'http/1.1'], ...tls } };
}

export function metadata(tls: Readonly<Record<string, unknown>>, more: Partial<RuleText> = {}): RuleText {
  return { condition: HOST, egress: { mode: 'proxy', tls }, ...more };
}

export function told(decision: HelloDecision): string {
  if (decision.action === 'block') return `block ${decision.ruleId} (${decision.cause})`;
  return `${decision.action} ${decision.ruleId}`;
}

/** The answers of each step, as a door would ask for them. */
export function steps(rules: RuleSet, facts: HelloFacts, certificate: CertificateFacts | undefined): string[] {
  const first = rules.decideConnect(facts);
  if (first.action === 'block' || !first.provisional) return [told(first)];
  const second = rules.decideHello(facts);
  if (second.action !== 'need_certificate') return ['provisional', told(second)];
  return ['provisional', told(second), told(rules.decideCertificate(facts, certificate))];
}
