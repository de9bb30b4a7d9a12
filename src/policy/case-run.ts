/** Runs cases against a rule set, and says which rules decided none of them: nobody would notice if those were wrong. */
import type { AgentFacts } from '../domain/facts.ts';
import type { RuleCase } from './cases.ts';
import type { Asked, PhaseTrace } from './explain.ts';
import { nearest } from './problem.ts';
import type { RuleView } from './rule.ts';
import type { RuleSet } from './rule-set.ts';

export interface CaseResult {
  readonly case: RuleCase;
  /** Each thing that is not as the case has it; none: it passed. */
  readonly failures: readonly string[];
  /** What settled it. */
  readonly answer: PhaseTrace;
}

export interface CasesOutcome {
  readonly results: readonly CaseResult[];
  /** Rules that decided no case, in the order of the set. */
  readonly dead: readonly RuleView[];
  /** Of the rules, those that decided some case; 100 where there are no rules. */
  readonly coveragePercent: number;
}

export function runCases(rules: RuleSet, cases: readonly RuleCase[]): CasesOutcome {
  const ids = new Set([...rules.rules.map(({ id }) => id), 'default']);
  const results = cases.map((one) => runCase(rules, one, ids));
  const deciders = new Set(results.flatMap(({ answer }) => [answer.rule, answer.wouldBlock]));
  const dead = rules.rules.filter(({ id }) => !deciders.has(id));
  const all = rules.rules.length;
  return { results, dead, coveragePercent: all === 0 ? 100 : ((all - dead.length) / all) * 100 };
}

function runCase(rules: RuleSet, one: RuleCase, ids: ReadonlySet<string>): CaseResult {
  const answer = rules.explain(askedOf(rules, one)).phases.at(-1) as PhaseTrace;
  const failures: string[] = [];
  if (answer.verdict !== one.expect) failures.push(`expected ${one.expect}, got ${answer.verdict} by ${answer.rule}`);
  else if (one.rule !== undefined && answer.rule !== one.rule)
    failures.push(`expected ${one.expect} by ${one.rule}, got it by ${answer.rule}${meant(one.rule, ids)}`);
  if (answer.verdict === 'allow' && one.expect === 'allow' && one.mode !== undefined && answer.mode !== one.mode)
    failures.push(`expected mode ${one.mode}, got ${answer.mode}`);
  if (one.wouldBlock !== undefined && answer.wouldBlock !== one.wouldBlock)
    failures.push(`expected that ${one.wouldBlock} would block it, got ${answer.wouldBlock ?? 'nothing that would'}`);
  return { case: one, failures, answer };
}

/** A certificate that holds, does so under whatever roots these rules ask for. */
function askedOf(rules: RuleSet, { asked, trusted }: RuleCase): Asked {
  const { agent, host, port, tls, certificate } = asked;
  if (!trusted || !certificate || tls === undefined || port === undefined) return asked;
  const hello = rules.decideHello({ agent: agent as AgentFacts, host, port, tls });
  const validUnder = hello.action === 'need_certificate' ? hello.trustSets.map(({ id }) => id) : [];
  return { ...asked, certificate: { ...certificate, validUnder } };
}

function meant(id: string, ids: ReadonlySet<string>): string {
  if (ids.has(id)) return '';
  const near = nearest(id, ids);
  return `; no rule has the id ${id}${near === undefined ? '' : `, did you mean ${near}?`}`;
}
