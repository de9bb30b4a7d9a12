/**
 * The walk over the rules, in its two phases (policy.md "Two phases, one answer"): what a connection may become, and
 * what each request inside it may do. First match wins; the one fall-through is a block.
 * Upholds: threats 28 and 29 (an error in a block rule blocks), 34 (no leaf where nothing intercepts).
 */
import type { ConnectFacts, NameFacts, RequestFacts, Scheme } from '../domain/facts.ts';
import type { Host } from '../domain/hostname.ts';
import type { Allow, Block, Decision, Grant, Verdict } from '../domain/verdict.ts';
import { CelError, OUT_OF_BUDGET, typeName } from './cel-value.ts';
import { Frame } from './frame.ts';
import type { RuleFinder } from './host-index.ts';
import { CONNECTING_TYPES } from './record-types.ts';
import type { Rule } from './rule.ts';

/** true, false, undefined for "not decided yet", or why it could not be evaluated. */
export type Outcome = boolean | undefined | CelError;

const DEFAULT_BLOCK: Block = {
  action: 'block',
  ruleId: 'default',
  cause: 'default',
  reason: 'no rule allows this request',
  log: true,
};

export class Decider {
  readonly #finder: RuleFinder;
  readonly #frame = new Frame();
  /** The same connection with everything inside it unknown. */
  readonly #late = new Frame();
  readonly #asked = new Frame();

  constructor(finder: RuleFinder) {
    this.#finder = finder;
  }

  /**
   * Phase 1. An intercept rule that is true, or may yet be, means: decrypt and decide each request. Any other rule is
   * evaluated on the CONNECT itself. A block rule whose evaluation fails only because the request is not seen yet
   * waits for the request; where the connection would not be decrypted, it blocks.
   */
  connect(facts: ConnectFacts): Verdict {
    const rules = this.#finder.candidates(facts.host);
    this.#frame.setConnect(facts);
    this.#late.setLate(facts.host, facts);
    let waiting: Block | undefined;
    for (const rule of rules) {
      if (!servesPort(rule, facts.port)) continue;
      if (rule.view.mode === 'intercept') {
        if (mayMatch(evaluate(rule, this.#late))) return this.#intercept(rule, rules, facts.port);
        continue;
      }
      const outcome = evaluate(rule, this.#frame);
      if (rule.allow !== undefined) {
        if (outcome === true) return waiting ?? rule.allow;
      } else if (outcome === true) {
        return rule.block as Block;
      } else if (outcome !== false) {
        if (!this.#waitsForRequest(rule)) return rule.blockOnError as Block;
        waiting ??= rule.blockOnError;
      }
    }
    return DEFAULT_BLOCK;
  }

  /** Phase 2, and plain HTTP: every rule on what the request really says. */
  request(facts: RequestFacts): Decision {
    const frame = this.#frame;
    frame.setRequest(facts);
    const folded = foldSlashes(facts.target);
    for (const rule of this.#finder.candidates(facts.host)) {
      if (!servesPort(rule, facts.port)) continue;
      frame.showBody(facts, rule.readsBody);
      let outcome = evaluate(rule, frame);
      if (folded !== undefined && rule.usesPath && rule.block !== undefined) {
        frame.setPath(folded);
        outcome = worse(outcome, evaluate(rule, frame));
        frame.setPath(facts.target);
      }
      const decision = decided(rule, outcome);
      if (decision !== undefined) return decision;
    }
    return DEFAULT_BLOCK;
  }

  /** A name is worth an answer where a connection by either scheme may be allowed (policy.md: DNS uses the same projection). */
  name(facts: NameFacts): Verdict {
    const verdict = this.#nameBy('https', facts);
    if (verdict.action === 'allow') return verdict;
    const plain = this.#nameBy('http', facts);
    return plain.action === 'allow' ? plain : verdict;
  }

  /** The ports that allow rules name and that may match this host for this agent, by either scheme; in no order. */
  namedPorts(facts: Omit<NameFacts, 'recordType'>): readonly number[] {
    const ports = new Set<number>();
    for (const scheme of ['https', 'http'] as const) {
      this.#asked.setName({ ...facts, recordType: 'A' }, scheme);
      for (const rule of this.#finder.candidates(facts.host)) {
        const outcome = evaluate(rule, this.#asked);
        if (rule.allow !== undefined && mayMatch(outcome)) for (const port of rule.ports ?? []) ports.add(port);
        if (rule.block !== undefined && (outcome === true || outcome instanceof CelError)) break;
      }
    }
    return [...ports];
  }

  /** True where some intercept rule could match this host, whoever asks and on whichever port. */
  couldIntercept(host: Host): boolean {
    this.#late.setLate(host, undefined);
    const rules = this.#finder.candidates(host);
    return rules.some((rule) => rule.view.mode === 'intercept' && mayMatch(evaluate(rule, this.#late)));
  }

  /** A block rule that may match something inside does not take the name away; one that cannot be evaluated does. */
  #nameBy(scheme: Scheme, facts: NameFacts): Verdict {
    this.#asked.setName(facts, scheme);
    for (const rule of this.#finder.candidates(facts.host)) {
      const outcome = evaluate(rule, this.#asked);
      if (rule.allow !== undefined) {
        if (mayMatch(outcome) && servesType(rule, facts.recordType)) return rule.allow;
      } else if (outcome === true) {
        return rule.block as Block;
      } else if (outcome instanceof CelError) {
        return rule.blockOnError as Block;
      }
    }
    return DEFAULT_BLOCK;
  }

  #waitsForRequest(rule: Rule): boolean {
    return rule.usesRequest && evaluate(rule, this.#late) === undefined;
  }

  /** One connection serves all requests inside, so it is granted what any rule that may yet allow one grants. */
  #intercept(first: Rule, rules: readonly Rule[], port: number): Allow {
    const own = first.allow as Allow;
    const grants: Grant[] = [own.grant];
    for (const rule of rules) {
      if (rule === first || !servesPort(rule, port)) continue;
      const outcome = evaluate(rule, this.#late);
      if (rule.allow !== undefined && mayMatch(outcome)) grants.push(rule.allow.grant);
      if (outcome === true || (rule.block !== undefined && outcome instanceof CelError)) break;
    }
    return grants.length === 1 ? own : { ...own, grant: unionOf(grants) };
  }
}

/** What the rule's condition comes to on these facts. Never throws. */
export function evaluate(rule: Rule, frame: Frame): Outcome {
  frame.refill();
  try {
    const value = rule.read(frame);
    if (frame.steps < 0) return OUT_OF_BUDGET;
    if (typeof value === 'boolean' || value === undefined || value instanceof CelError) return value;
    return new CelError('no_such_overload', `${typeName(value)} where bool is needed`);
  } catch (error) {
    // Nothing above throws by design; a string too long for the engine does.
    return new CelError('range', error instanceof Error ? error.message : String(error));
  }
}

function mayMatch(outcome: Outcome): boolean {
  return outcome === true || outcome === undefined;
}

export function servesPort(rule: Rule, port: number): boolean {
  return rule.ports === undefined || rule.ports.has(port);
}

/** Addresses follow from any allow rule; other records carry data of their own, so a rule has to name them. */
function servesType(rule: Rule, recordType: string): boolean {
  return CONNECTING_TYPES.has(recordType) || rule.recordTypes.has(recordType);
}

function decided(rule: Rule, outcome: Outcome): Decision | undefined {
  if (outcome === undefined) return { action: 'need_body', ruleId: rule.view.id };
  if (rule.allow !== undefined) return outcome === true ? rule.allow : undefined;
  if (outcome === false) return undefined;
  return outcome === true ? rule.block : rule.blockOnError;
}

/** The outcome of a block rule that holds for either of two spellings. */
function worse(a: Outcome, b: Outcome): Outcome {
  if (a === true || b === true) return true;
  if (a instanceof CelError) return a;
  return a === undefined ? a : b;
}

/** The target with `//` in its path folded to `/`, or undefined where there is none to fold. */
function foldSlashes(target: string): string | undefined {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  if (!path.includes('//')) return undefined;
  return path.replace(/\/{2,}/g, '/') + (query === -1 ? '' : target.slice(query));
}

function unionOf(grants: readonly Grant[]): Grant {
  return {
    mode: 'intercept',
    allowPrivateIps: grants.some((grant) => grant.allowPrivateIps),
    trustAnchors: [...new Set(grants.flatMap((grant) => grant.trustAnchors))],
    tls: undefined,
  };
}
