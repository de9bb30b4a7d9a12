/**
 * A set of rules as the doors use it: immutable, of one generation, decided synchronously and without I/O.
 * Upholds: threat 33 (a flow keeps the set that admitted it; the generation is in each set).
 */
import type { ConnectFacts, NameFacts, RequestFacts } from '../domain/facts.ts';
import type { Host } from '../domain/hostname.ts';
import type { Decision, Verdict } from '../domain/verdict.ts';
import { Decider } from './decide.ts';
import { HostIndex, type RuleFinder } from './host-index.ts';
import { makeRule, type Rule, type RuleDraft, type RuleView } from './rule.ts';

export interface RuleSet {
  readonly generation: number;
  /** In the order in which they are walked. */
  readonly rules: readonly RuleView[];
  readonly hasIntercept: boolean;
  /** Phase 1: CONNECT or ClientHello. An intercept Allow grants what any rule grants that may still allow inside. */
  decideConnect(facts: ConnectFacts): Verdict;
  /** Phase 2, and plain HTTP. need_body only where facts.body is undefined; call again with the body or null. */
  decideRequest(facts: RequestFacts): Decision;
  /** DNS: does some allow rule have a use for this name, everything that is not known yet taken as it may please. */
  decideName(facts: NameFacts): Verdict;
  /**
   * The ports that allow rules name for this host and agent, everything that is not known yet taken as it may please:
   * what the transparent door serves beside 80 and 443. A rule that names no ports adds none.
   */
  namedPorts(facts: Omit<NameFacts, 'recordType'>): readonly number[];
  /** May a leaf be minted for this host: some intercept rule could match it. */
  couldIntercept(host: Host): boolean;
}

/** The set that a policy without rules is: it blocks everything. */
export const emptyRuleSet: RuleSet = ruleSet([], 0);

/** Orders the rules and makes a set of them. Another finder than the index is for tests. */
export function ruleSet(
  drafts: readonly RuleDraft[],
  generation: number,
  finderOf: (rules: readonly Rule[]) => RuleFinder = (rules) => new HostIndex(rules),
): RuleSet {
  const rules = inOrder(drafts).map(makeRule);
  const decider = new Decider(finderOf(rules));
  return {
    generation,
    rules: rules.map((rule) => rule.view),
    hasIntercept: rules.some((rule) => rule.view.mode === 'intercept'),
    decideConnect: (facts) => decider.connect(facts),
    decideRequest: (facts) => decider.request(facts),
    decideName: (facts) => decider.name(facts),
    namedPorts: (facts) => decider.namedPorts(facts),
    couldIntercept: (host) => decider.couldIntercept(host),
  };
}

/** Priority, then file name, then place in the file, which is the order that drafts come in. */
export function inOrder(drafts: readonly RuleDraft[]): readonly RuleDraft[] {
  return [...drafts].sort((a, b) => a.view.priority - b.view.priority || compareText(a.view.file, b.view.file));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
