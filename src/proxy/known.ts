/**
 * What is known of a connection so far. Rules are asked with all of it again whenever they change, so that a tunnel does
 * not outlive what admitted it (threat 33).
 */
import type { CertificateFacts, ConnectFacts, TlsFacts } from '../domain/facts.ts';
import type { Verdict } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';

export interface Known extends ConnectFacts {
  /** Once a ClientHello has been read. */
  readonly tls?: TlsFacts;
  /** Once the server's certificate has been seen; without it, rules that hang on it do not allow. */
  readonly certificate?: CertificateFacts;
}

/** The verdict of these rules on what is known; provisional where they would wait for the ClientHello. */
export function verdictOn(known: Known, rules: RuleSet): Verdict {
  const verdict = rules.decideConnect(known);
  const { tls } = known;
  if (verdict.action === 'block' || !verdict.provisional || tls === undefined) return verdict;
  const facts = { ...known, tls };
  const decision = rules.decideHello(facts);
  return decision.action === 'need_certificate' ? rules.decideCertificate(facts, known.certificate) : decision;
}

/** True where these rules still allow what is known, in the same mode. */
export function stillAllowed(known: Known, verdict: Verdict, rules: RuleSet): boolean {
  // A connection that carries only refusals may go on doing so.
  if (verdict.action === 'block') return true;
  const now = verdictOn(known, rules);
  return now.action === 'allow' && now.grant.mode === verdict.grant.mode;
}
