/**
 * A set of rules as the doors use it: immutable, of one generation, decided synchronously and without I/O.
 * Upholds: threat 33 (a flow keeps the set that admitted it; the generation is in each set).
 */
import type {
  AgentFacts,
  CertificateFacts,
  ConnectFacts,
  HelloFacts,
  NameFacts,
  RequestFacts,
  ResponseFacts,
} from '../domain/facts.ts';
import type { Host } from '../domain/hostname.ts';
import type { Allow, Decision, Enforcement, HelloDecision, Verdict } from '../domain/verdict.ts';
import { type Access, accessOf } from './access.ts';
import { type Closing, closingAllow, DEFAULT_BLOCK, ENFORCED } from './closing.ts';
import { ConnectionDecider } from './connection.ts';
import { Decider } from './decide.ts';
import { type Asked, Explainer, type Explanation } from './explain.ts';
import { HostIndex, type RuleFinder } from './host-index.ts';
import { makeRule, type Rule, type RuleDraft, type RuleView } from './rule.ts';

export interface RuleSet {
  readonly generation: number;
  /** In the order in which they are walked. */
  readonly rules: readonly RuleView[];
  readonly hasIntercept: boolean;
  /** `audit`: what nothing allows is let through, and recorded. Each rule's own is in its view. */
  readonly enforcement: Enforcement;
  /** Phase 1: CONNECT or ClientHello. An intercept Allow grants what any rule grants that may still allow inside. */
  decideConnect(facts: ConnectFacts): Verdict;
  /** Asked after a provisional Allow of decideConnect; never provisional itself. */
  decideHello(facts: HelloFacts): HelloDecision;
  /** Asked after need_certificate; undefined: there was none to see, which no rule of tls13 `probe` takes for a match. */
  decideCertificate(facts: HelloFacts, certificate: CertificateFacts | undefined): Verdict;
  /** Phase 2, and plain HTTP. need_body only where facts.body is undefined; call again with the body or null. */
  decideRequest(facts: RequestFacts): Decision;
  /** Asked where allow.checksResponse, with the facts that `allow` was given for: `allow`, or why not. */
  decideResponse(allow: Allow, facts: RequestFacts, response: ResponseFacts): Verdict;
  /** DNS: does some allow rule have a use for this name, everything that is not known yet taken as it may please. */
  decideName(facts: NameFacts): Verdict;
  /**
   * The ports that allow rules name for this host and agent, everything that is not known yet taken as it may please:
   * what the transparent door serves beside 80 and 443. A rule that names no ports adds none.
   */
  namedPorts(facts: Omit<NameFacts, 'recordType'>): readonly number[];
  /** May a leaf be minted for this host: some intercept rule could match it. */
  couldIntercept(host: Host): boolean;
  /** What this agent may use, as far as it can be told before it asks; the same object for the same facts. */
  accessOf(agent: AgentFacts): Access;
  /** Why: each rule that was considered, in each phase, with what its parts came to. Slow; for people who ask. */
  explain(asked: Asked): Explanation;
}

/** The set that a policy without rules is: it blocks everything. */
export const emptyRuleSet: RuleSet = ruleSet([], 0);

/** Orders the rules and makes a set of them. Another finder than the index is for tests. */
export function ruleSet(
  drafts: readonly RuleDraft[],
  generation: number,
  closing: Closing = ENFORCED,
  finderOf: (rules: readonly Rule[]) => RuleFinder = (rules) => new HostIndex(rules),
): RuleSet {
  const rules = inOrder(drafts).map(makeRule);
  const finder = finderOf(rules);
  const last = closingAllow(closing);
  const decider = new Decider(finder, last);
  const connections = new ConnectionDecider(finder, last);
  const byId = new Map(rules.map((rule) => [rule.view.id, rule]));
  const accesses = new WeakMap<AgentFacts, Access>();
  const { enforcement } = closing;
  return {
    generation,
    rules: rules.map((rule) => rule.view),
    hasIntercept: last?.grant.mode === 'intercept' || rules.some((rule) => rule.view.mode === 'intercept'),
    enforcement,
    decideConnect: (facts) => connections.connect(facts),
    decideHello: (facts) => connections.hello(facts),
    decideCertificate: (facts, certificate) => connections.certificate(facts, certificate),
    decideRequest: (facts) => decider.request(facts),
    decideResponse(allow, facts, response) {
      if (!allow.checksResponse) return allow;
      const rule = byId.get(allow.ruleId);
      return rule === undefined ? DEFAULT_BLOCK : decider.response(rule, allow, facts, response);
    },
    decideName: (facts) => decider.name(facts),
    namedPorts: (facts) => decider.namedPorts(facts),
    couldIntercept: (host) => decider.couldIntercept(host),
    accessOf: (agent) => {
      const known = accesses.get(agent);
      if (known !== undefined) return known;
      const access = accessOf(agent, { rules, finder, enforcement, connect: (facts) => connections.connect(facts) });
      accesses.set(agent, access);
      return access;
    },
    explain: (asked) => new Explainer(rules.length, finder, connections, decider).explain(asked),
  };
}

/** Priority, then file name, then place in the file, which is the order that drafts come in. */
export function inOrder(drafts: readonly RuleDraft[]): readonly RuleDraft[] {
  return [...drafts].sort((a, b) => a.view.priority - b.view.priority || compareText(a.view.file, b.view.file));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
