/**
 * Warnings about rules as a set: what can never be reached, what is wider than it looks, what never sees what it asks
 * for. Linear in the rules: each looks up what comes before it by host.
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import type { AgentFacts } from '../domain/facts.ts';
import type { Host } from '../domain/hostname.ts';
import { type Closing, closingAllow } from './closing.ts';
import { Frame } from './frame.ts';
import { HostIndex } from './host-index.ts';
import { type HostScope, hostScope, parents } from './host-scope.ts';
import { multiTenant } from './multi-tenant.ts';
import { CERTIFICATE_NAMES, HOST_NAMES, REQUEST_NAMES } from './names.ts';
import { makeRule, type Rule, type RuleDraft } from './rule.ts';

export interface RuleWarning {
  readonly draft: RuleDraft;
  readonly message: string;
  readonly fix: string;
}

/** Takes the rules in the order of the walk. */
export function lint(drafts: readonly RuleDraft[], closing: Closing): readonly RuleWarning[] {
  return new SetLint(drafts, closingAllow(closing)?.grant.mode === 'intercept').warnings;
}

/** Enough hosts of a rule to look at; a rule that lists thousands gets no finer answer than this. */
const MAX_HOSTS_LOOKED_AT = 64;
const SOME_AGENT: AgentFacts = { name: '', image: '', labels: {}, ip: '192.0.2.1' };
const SOME_PORT = 443;

class SetLint {
  readonly warnings: RuleWarning[] = [];
  readonly #rules: readonly Rule[];
  readonly #intercepts: HostIndex;
  readonly #anyIntercept: boolean;
  /** The closing default decrypts, so any host may be. */
  readonly #unmatchedIntercept: boolean;
  /** The first rule that decides a whole host, or all names below one, by nothing but the host. */
  readonly #wholeHost = new Map<string, Rule>();
  readonly #wholeBelow = new Map<string, Rule>();
  #wholeWorld: Rule | undefined;

  constructor(drafts: readonly RuleDraft[], unmatchedIntercept: boolean) {
    this.#rules = drafts.map(makeRule);
    const intercepts = this.#rules.filter((rule) => rule.view.mode === 'intercept');
    this.#intercepts = new HostIndex(intercepts);
    this.#anyIntercept = unmatchedIntercept || intercepts.length > 0;
    this.#unmatchedIntercept = unmatchedIntercept;
    for (const [i, draft] of drafts.entries()) this.#lintRule(draft, this.#rules[i] as Rule);
  }

  #lintRule(draft: RuleDraft, rule: Rule): void {
    const { scope } = rule;
    const add = (message: string, fix: string) => this.warnings.push({ draft, message, fix });
    if (scope !== 'any' && scope.exact.size + scope.below.size === 0) {
      add('can never match: no host satisfies the whole condition', 'use || between hosts, or http.host in ["…", "…"]');
      return;
    }
    const earlier = this.#decidedBy(rule);
    if (earlier !== undefined) add(...shadowed(rule, earlier));
    if (rule.view.action === 'allow') this.#lintAllow(draft, rule, add);
    this.#lintRequestNames(draft, rule, add);
    this.#lintCertificateNames(draft, rule, add);
    if (decidesHosts(rule)) this.#remember(rule);
  }

  #lintAllow(draft: RuleDraft, { scope, view }: Rule, add: (message: string, fix: string) => void): void {
    const namesHost = [...HOST_NAMES, 'network.ip'].some((name) => draft.condition.uses.has(name));
    if (!namesHost) add('allows every host', 'add http.host == "…" or domain(http.host, "…")');
    const seesPath =
      view.mode === 'intercept' && ['http.path', 'http.query'].some((name) => draft.condition.uses.has(name));
    const shared = seesPath || scope === 'any' ? undefined : multiTenant(scope);
    if (shared !== undefined) {
      add(
        `allows all of ${shared}, where anybody can have a place of their own`,
        'use mode: intercept and name the path, or name the one host',
      );
    }
  }

  #lintRequestNames(draft: RuleDraft, rule: Rule, add: (message: string, fix: string) => void): void {
    if (!rule.usesRequest || rule.view.mode === 'intercept') return;
    if (!this.#meetsIntercept(rule.scope)) {
      if (draft.condition.uses.has('http.scheme')) return;
      const used = [...draft.condition.uses].filter((name) => REQUEST_NAMES.has(name)).join(', ');
      add(
        `no rule decrypts these hosts, so for HTTPS ${used} is only that of CONNECT`,
        'use mode: intercept, or add http.scheme == "http"',
      );
    } else if (rule.view.action === 'block' && this.#blocksConnect(rule)) {
      add(
        'matches the CONNECT itself too, so the connection is refused before a request is seen',
        'add http.method != "CONNECT" &&',
      );
    }
  }

  #lintCertificateNames(draft: RuleDraft, rule: Rule, add: (message: string, fix: string) => void): void {
    const name = draft.condition.uses.values().find((used) => CERTIFICATE_NAMES.has(used));
    if (rule.view.action === 'allow' || name === undefined || !this.#meetsIntercept(rule.scope)) return;
    add(
      `${name} is not known where these hosts are decrypted, so every request that it decides is blocked`,
      'name hosts that are tunnelled',
    );
  }

  /** The earlier rule that leaves this one nothing to decide, if there is one. */
  #decidedBy(rule: Rule): Rule | undefined {
    if (this.#wholeWorld !== undefined) return this.#wholeWorld;
    if (rule.scope === 'any') return undefined;
    let found: Rule | undefined;
    for (const host of rule.scope.exact) {
      const earlier = this.#wholeHost.get(host) ?? this.#wholeAbove(host);
      if (earlier === undefined) return undefined;
      found ??= earlier;
    }
    for (const name of rule.scope.below) {
      const earlier = this.#wholeBelow.get(name) ?? this.#wholeAbove(name);
      if (earlier === undefined) return undefined;
      found ??= earlier;
    }
    return found;
  }

  #wholeAbove(host: string): Rule | undefined {
    for (const parent of parents(host)) {
      const rule = this.#wholeBelow.get(parent);
      if (rule !== undefined) return rule;
    }
    return undefined;
  }

  #remember(rule: Rule): void {
    if (rule.scope === 'any') {
      this.#wholeWorld ??= rule;
      return;
    }
    for (const host of rule.scope.exact) if (!this.#wholeHost.has(host)) this.#wholeHost.set(host, rule);
    for (const name of rule.scope.below) if (!this.#wholeBelow.has(name)) this.#wholeBelow.set(name, rule);
  }

  #meetsIntercept(scope: HostScope): boolean {
    if (scope === 'any' || this.#unmatchedIntercept) return this.#anyIntercept;
    return someHosts(scope).some((host) => this.#intercepts.candidates(host).length > 0);
  }

  #blocksConnect(rule: Rule): boolean {
    const connect = new Frame();
    const late = new Frame();
    return someHosts(rule.scope).some((name) => {
      const facts = { agent: SOME_AGENT, host: name as Host, port: SOME_PORT };
      connect.setConnect(facts);
      late.setLate(facts.host, facts);
      return rule.read(connect) === true && rule.read(late) === undefined;
    });
  }
}

function shadowed(rule: Rule, earlier: Rule): [message: string, fix: string] {
  const by = `rule ${earlier.view.id} (${earlier.view.file}:${earlier.view.line})`;
  if (earlier.view.action === 'allow' && rule.view.mode === 'intercept' && earlier.view.mode !== 'intercept') {
    return [
      `never decrypts: ${by} tunnels these hosts first`,
      `give it a lower priority than ${earlier.view.priority}, or remove ${earlier.view.id}`,
    ];
  }
  const does = earlier.view.action === 'allow' ? 'allows' : 'blocks';
  return [`can never match: ${by} ${does} these hosts first`, `give it a lower priority than ${earlier.view.priority}`];
}

/** One host for each part of a scope; any host stands for all where there is no scope. */
function someHosts(scope: HostScope): readonly string[] {
  if (scope === 'any') return ['host.invalid'];
  return [...scope.exact, ...[...scope.below].map((name) => `host.${name}`)].slice(0, MAX_HOSTS_LOOKED_AT);
}

/** Nothing about these hosts is left to the rules after it. */
function decidesHosts(rule: Rule): boolean {
  const passesOn = rule.tls !== undefined || (rule.allow === undefined && rule.audits);
  return !passesOn && rule.ports === undefined && onlyHosts(rule.ast);
}

/** The condition is exactly its host scope: true for every host in it, whatever else is the case. */
function onlyHosts(node: ASTNode): boolean {
  if (node.op === 'value') return node.args === true;
  if (node.op === '&&' || node.op === '||') return onlyHosts(node.args[0]) && onlyHosts(node.args[1]);
  if (node.input.slice(node.start, node.end).includes('tls.sni')) return false;
  const endsWithLabel =
    node.op === 'rcall' && node.args[0] === 'endsWith' && /\(\s*["']\./.test(node.input.slice(node.start, node.end));
  const exact = node.op === '==' || node.op === 'in' || node.op === 'call' || endsWithLabel;
  return exact && hostScope(node) !== 'any';
}
