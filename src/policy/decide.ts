/**
 * The walks over the rules for what is inside a connection, a request and its response, and for names (policy.md "Two
 * phases, one answer"). First match wins; the one fall-through is a block, unless the set is in audit (closing.ts).
 * Upholds: threats 28 and 29 (an error in a block rule blocks), 34 (no leaf where nothing intercepts).
 */
import type { NameFacts, RequestFacts, ResponseFacts, Scheme } from '../domain/facts.ts';
import type { Host } from '../domain/hostname.ts';
import type { Allow, Block, Decision, Verdict } from '../domain/verdict.ts';
import { CelError } from './cel-value.ts';
import { DEFAULT_BLOCK, withWouldBlock } from './closing.ts';
import { Frame } from './frame.ts';
import type { RuleFinder } from './host-index.ts';
import { evaluate, mayMatch, type Outcome, outcomeOf, servesPort } from './outcome.ts';
import { CONNECTING_TYPES } from './record-types.ts';
import type { Rule } from './rule.ts';

export class Decider {
  readonly #finder: RuleFinder;
  readonly #closing: Allow | undefined;
  readonly #frame = new Frame();
  readonly #asked = new Frame();

  constructor(finder: RuleFinder, closing: Allow | undefined) {
    this.#finder = finder;
    this.#closing = closing;
  }

  /** Phase 2, and plain HTTP: every rule on what the request really says. A metadata rule tunnels, or has no say. */
  request(facts: RequestFacts): Decision {
    const frame = this.#frame;
    frame.setRequest(facts);
    const folded = foldSlashes(facts.target);
    let wouldBlock: Block | undefined;
    for (const rule of this.#finder.candidates(facts.host)) {
      if (!servesPort(rule, facts.port) || rule.tls !== undefined) continue;
      frame.showBody(facts, rule.readsBody);
      let outcome = evaluate(rule.read, frame);
      if (folded !== undefined && rule.usesPath && rule.allow === undefined) {
        frame.setPath(folded);
        outcome = worse(outcome, evaluate(rule.read, frame));
        frame.setPath(facts.target);
      }
      if (outcome === false) continue;
      if (outcome === undefined) return { action: 'need_body', ruleId: rule.view.id };
      if (rule.allow !== undefined) {
        if (outcome === true) return withWouldBlock(rule.allow, wouldBlock);
        continue;
      }
      const block = outcome === true ? rule.block : rule.blockOnError;
      if (!rule.audits) return block;
      wouldBlock ??= block;
    }
    return this.#close(wouldBlock);
  }

  /** The rule's own egress.response, on what its request said too. */
  response(rule: Rule, allow: Allow, facts: RequestFacts, response: ResponseFacts): Verdict {
    if (rule.response === undefined) return allow;
    this.#frame.setRequest(facts);
    this.#frame.showBody({ ...facts, body: facts.body ?? null }, rule.readsBody);
    this.#frame.setResponse(response);
    const outcome = evaluate(rule.response.read, this.#frame);
    if (outcome === true) return allow;
    const block = outcome === false ? rule.block : rule.blockOnError;
    return rule.audits ? withWouldBlock(allow, allow.wouldBlock ?? block) : block;
  }

  /** A name is worth an answer where a connection by either scheme may be allowed (policy.md: DNS uses the same projection). */
  name(facts: NameFacts): Verdict {
    const verdict = this.#nameBy('https', facts);
    if (verdict.action === 'allow' && verdict.wouldBlock === undefined) return verdict;
    const plain = this.#nameBy('http', facts);
    if (verdict.action === 'allow') return plain.action === 'allow' && plain.wouldBlock === undefined ? plain : verdict;
    return plain.action === 'allow' ? plain : verdict;
  }

  /** The ports that allow rules name and that may match this host for this agent, by either scheme; in no order. */
  namedPorts(facts: Omit<NameFacts, 'recordType'>): readonly number[] {
    const ports = new Set<number>();
    for (const scheme of ['https', 'http'] as const) {
      this.#asked.setName({ ...facts, recordType: 'A' }, scheme);
      for (const rule of this.#finder.candidates(facts.host)) {
        const outcome = outcomeOf(rule, this.#asked);
        if (rule.allow !== undefined && mayMatch(outcome)) for (const port of rule.ports ?? []) ports.add(port);
        if (rule.allow === undefined && !mayBePassed(rule, outcome)) break;
      }
    }
    return [...ports];
  }

  /** True where some intercept rule could match this host, whoever asks and on whichever port. */
  couldIntercept(host: Host): boolean {
    if (this.#closing?.grant.mode === 'intercept') return true;
    this.#asked.setLate(host, undefined);
    const rules = this.#finder.candidates(host);
    return rules.some((rule) => rule.view.mode === 'intercept' && mayMatch(evaluate(rule.read, this.#asked)));
  }

  /** A block rule that may match something inside does not take the name away; one that cannot be evaluated does. */
  #nameBy(scheme: Scheme, facts: NameFacts): Verdict {
    this.#asked.setName(facts, scheme);
    let wouldBlock: Block | undefined;
    for (const rule of this.#finder.candidates(facts.host)) {
      const outcome = outcomeOf(rule, this.#asked);
      if (rule.allow !== undefined) {
        if (mayMatch(outcome) && servesType(rule, facts.recordType)) return withWouldBlock(rule.allow, wouldBlock);
      } else if (outcome === true || outcome instanceof CelError) {
        const block = outcome === true ? rule.block : rule.blockOnError;
        if (!rule.audits) return block;
        wouldBlock ??= block;
      }
    }
    return this.#close(wouldBlock);
  }

  #close(wouldBlock: Block | undefined): Verdict {
    return this.#closing === undefined ? DEFAULT_BLOCK : withWouldBlock(this.#closing, wouldBlock);
  }
}

/** A block rule that leaves something to the rules after it. */
function mayBePassed(rule: Rule, outcome: Outcome): boolean {
  return rule.audits || outcome === false || outcome === undefined;
}

/** Addresses follow from any allow rule; other records carry data of their own, so a rule has to name them. */
function servesType(rule: Rule, recordType: string): boolean {
  return CONNECTING_TYPES.has(recordType) || rule.recordTypes.has(recordType);
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
