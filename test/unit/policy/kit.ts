/**
 * Short ways to write rule files and facts in the tests of policy.
 */
import { expect } from 'vitest';
import type { AgentFacts, ConnectFacts, RequestFacts } from '../../../src/domain/facts.ts';
import type { Host } from '../../../src/domain/hostname.ts';
import { type LoadContext, type LoadResult, loadRules } from '../../../src/policy/load.ts';
import { formatProblem, type Problem } from '../../../src/policy/problem.ts';
import type { RuleSet } from '../../../src/policy/rule-set.ts';

export const AGENT: AgentFacts = { name: 'agent-1', image: 'python:3', labels: { team: 'red' }, ip: '10.203.0.7' };

const CONTEXT: LoadContext = { caLoaded: true, generation: 1, anchors: new Map() };

export function load(text: string, context: Partial<LoadContext> = {}): LoadResult {
  return loadRules([{ file: 'rules.yaml', text }], { ...CONTEXT, ...context });
}

/** The rules of a file that must be right. */
export function rulesOf(text: string, context: Partial<LoadContext> = {}): RuleSet {
  const result = load(text, context);
  expect(result.ok ? [] : result.problems.map(formatProblem)).toEqual([]);
  return (result as Extract<LoadResult, { ok: true }>).rules;
}

/** Errors and warnings of a file, right or wrong. */
export function problemsOf(text: string, context: Partial<LoadContext> = {}): readonly Problem[] {
  const result = load(text, context);
  return result.ok ? result.warnings : result.problems;
}

export interface RuleText {
  readonly id?: string;
  readonly condition: string;
  readonly action?: 'allow' | 'block';
  readonly priority?: number;
  readonly log?: boolean;
  readonly enforcement?: 'enforce' | 'audit';
  readonly egress?: Readonly<Record<string, unknown>>;
}

/** Keys of a file beside its rules. */
export interface FileText {
  readonly definitions?: Readonly<Record<string, string>>;
  readonly defaults?: { readonly enforcement?: 'enforce' | 'audit'; readonly unmatched?: 'tunnel' | 'intercept' };
}

/** A rule file with these rules, as YAML (of which JSON is a part). */
export function fileOf(rules: readonly RuleText[], more: FileText = {}): string {
  const full = rules.map((rule, i) => ({ id: `rule-${i}`, action: 'allow', ...rule }));
  return JSON.stringify({ version: '1', ...more, rules: full });
}

export function ruleSetOf(...rules: readonly RuleText[]): RuleSet {
  return rulesOf(fileOf(rules));
}

export const INTERCEPT = { mode: 'intercept' };
export const MATCH_BODY = { mode: 'intercept', match_body: true };

export function connect(host: string, more: Partial<ConnectFacts> = {}): ConnectFacts {
  return { agent: AGENT, host: host as Host, port: 443, ...more };
}

export function request(host: string, more: Partial<RequestFacts> = {}): RequestFacts {
  return {
    ...connect(host),
    ...{ scheme: 'https', method: 'GET', target: '/', headers: [], bodySize: 0, body: undefined },
    ...more,
  };
}
