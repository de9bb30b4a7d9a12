/**
 * The walk for a connection (policy.md "Two phases, one answer"), as often as more of it is seen: when it is asked for,
 * after the ClientHello, and with the server's certificate. What has not been seen is unknown, and so is what hangs on it.
 * Upholds: threats 28 and 29 (an error in a block rule blocks), 34 (no leaf where nothing intercepts).
 */
import type { CertificateFacts, ConnectFacts, HelloFacts, TlsFacts } from '../domain/facts.ts';
import type { Allow, Block, Grant, HelloDecision, TrustSet, Verdict } from '../domain/verdict.ts';
import { CelError } from './cel-value.ts';
import { DEFAULT_BLOCK, withWouldBlock } from './closing.ts';
import { Frame } from './frame.ts';
import type { RuleFinder } from './host-index.ts';
import { evaluate, mayMatch, type Outcome, outcomeOf, servesPort } from './outcome.ts';
import type { Rule } from './rule.ts';
import { UNINSPECTABLE } from './tls-match.ts';

/** undefined: not seen yet; null: cannot be seen. */
interface Seen {
  readonly tls: TlsFacts | undefined;
  readonly certificate: CertificateFacts | null | undefined;
}

const NOTHING: Seen = { tls: undefined, certificate: undefined };

export class ConnectionDecider {
  readonly #finder: RuleFinder;
  readonly #closing: Allow | undefined;
  readonly #frame = new Frame();
  /** The same connection with everything inside it unknown. */
  readonly #late = new Frame();

  constructor(finder: RuleFinder, closing: Allow | undefined) {
    this.#finder = finder;
    this.#closing = closing;
  }

  connect(facts: ConnectFacts): Verdict {
    return this.#decided(this.#decide(facts, NOTHING));
  }

  hello(facts: HelloFacts): HelloDecision {
    return this.#decide(facts, { tls: facts.tls, certificate: undefined });
  }

  certificate(facts: HelloFacts, certificate: CertificateFacts | undefined): Verdict {
    return this.#decided(this.#decide(facts, { tls: facts.tls, certificate: certificate ?? null }));
  }

  /**
   * An intercept rule that is true, or may yet be, means: decrypt and decide each request. Any other rule is
   * evaluated on the CONNECT itself. A block rule whose evaluation fails only because the request is not seen yet
   * waits for the request; where the connection would not be decrypted, it blocks.
   */
  #decide(facts: ConnectFacts, seen: Seen): HelloDecision {
    const rules = this.#show(facts, seen).filter((rule) => servesPort(rule, facts.port));
    const walk = new Walk(rules, seen);
    for (const rule of rules) {
      if (rule.allow === undefined) {
        const outcome = evaluate(rule.read, this.#frame);
        if (outcome === false) continue;
        if (walk.block(rule, outcome, outcome instanceof CelError && this.#waitsForRequest(rule))) return walk.blocked;
      } else if (rule.view.mode === 'intercept') {
        const outcome = evaluate(rule.read, this.#late);
        if (!mayMatch(outcome)) continue;
        if (outcome === undefined && rule.usesHello && seen.tls === undefined) walk.hanging ??= rule;
        return this.#allow(this.#intercept(rule, rules), walk);
      } else {
        const outcome = outcomeOf(rule, this.#frame);
        if (outcome === UNINSPECTABLE && walk.block(rule, outcome, false)) return walk.blocked;
        if (!mayMatch(outcome) && outcome !== UNINSPECTABLE) continue;
        if (outcome === undefined) walk.hanging ??= rule;
        return this.#tunnel(rule.allow, outcome === undefined, walk);
      }
    }
    const closing = this.#closing;
    if (closing === undefined) return DEFAULT_BLOCK;
    if (closing.grant.mode !== 'intercept' && walk.waiting !== undefined) return walk.waiting;
    return this.#allow(closing, walk);
  }

  #show(facts: ConnectFacts, { tls, certificate }: Seen): readonly Rule[] {
    this.#frame.setConnect(facts);
    this.#frame.setTls(tls, certificate);
    this.#late.setLate(facts.host, facts);
    this.#late.setTls(tls, certificate);
    return this.#finder.candidates(facts.host);
  }

  #waitsForRequest(rule: Rule): boolean {
    return rule.usesRequest && evaluate(rule.read, this.#late) === undefined;
  }

  /** What waits for a request that nobody will see is decided here. */
  #tunnel(allow: Allow, mayNot: boolean, walk: Walk): HelloDecision {
    if (walk.waiting !== undefined && !mayNot) return walk.waiting;
    walk.wouldBlock ??= walk.waitingInAudit;
    return this.#allow(allow, walk);
  }

  #allow(allow: Allow, walk: Walk): HelloDecision {
    const { hanging } = walk;
    const { tls, certificate } = walk.seen;
    const verdict = withWouldBlock(allow, walk.wouldBlock);
    if (hanging === undefined) return verdict;
    const possible = this.#possible(walk.rules);
    if (tls === undefined) return provisional(verdict, possible);
    // With the certificate seen, or known to stay unseen, nothing is left to hang on.
    if (certificate !== undefined) return hanging.blockOnError;
    const { tls13 = 'probe' } = hanging.tls ?? {};
    return {
      ...{ action: 'need_certificate', ruleId: hanging.view.id, grant: allow.grant, tls13 },
      trustSets: trustSetsOf(possible),
    };
  }

  /** Allow rules that may yet match; some of them may stand behind one that decides. */
  #possible(rules: readonly Rule[]): readonly Rule[] {
    const frameOf = (rule: Rule) => (rule.view.mode === 'intercept' ? this.#late : this.#frame);
    return rules.filter((rule) => rule.allow !== undefined && mayMatch(outcomeOf(rule, frameOf(rule))));
  }

  /** need_certificate is an answer to a ClientHello alone. */
  #decided(decision: HelloDecision): Verdict {
    return decision.action === 'need_certificate' ? DEFAULT_BLOCK : decision;
  }

  /** One connection serves all requests inside, so it is granted what any rule that may yet allow one grants. */
  #intercept(first: Rule, rules: readonly Rule[]): Allow {
    const own = first.allow as Allow;
    const grants: Grant[] = [own.grant];
    for (const rule of rules) {
      if (rule === first || rule.tls !== undefined) continue;
      const outcome = evaluate(rule.read, this.#late);
      if (rule.allow === undefined) {
        if ((outcome === true || outcome instanceof CelError) && !rule.audits) break;
        continue;
      }
      if (mayMatch(outcome)) grants.push(rule.allow.grant);
      if (outcome === true) break;
    }
    return grants.length === 1 ? own : { ...own, grant: unionOf(grants) };
  }
}

/** What the rules so far have left for the one that allows. */
class Walk {
  /** All that serve the port. */
  readonly rules: readonly Rule[];
  readonly seen: Seen;
  /** A block that is enforced, and is the answer. */
  blocked: Block = DEFAULT_BLOCK;
  /** The first block that is not enforced. */
  wouldBlock: Block | undefined;
  /** The first block rules that need the request to be evaluated. */
  waiting: Block | undefined;
  waitingInAudit: Block | undefined;
  /** The first rule that hangs on what has not been seen yet. */
  hanging: Rule | undefined;

  constructor(rules: readonly Rule[], seen: Seen) {
    this.rules = rules;
    this.seen = seen;
  }

  /** A block rule that is not false; true where the walk is over. */
  block(rule: Rule, outcome: Exclude<Outcome, false>, waits: boolean): boolean {
    if (outcome === undefined) {
      this.hanging ??= rule;
      return false;
    }
    const block = outcome === true ? rule.block : outcome === UNINSPECTABLE ? hidden(rule) : rule.blockOnError;
    if (rule.audits) {
      if (waits) this.waitingInAudit ??= block;
      else this.wouldBlock ??= block;
      return false;
    }
    if (waits) this.waiting ??= block;
    else this.blocked = block;
    return !waits;
  }
}

function hidden({ block, view }: Rule): Block {
  return { ...block, cause: 'error', reason: `rule ${view.id}: ${UNINSPECTABLE.message}` };
}

/** It may be any of these rules in the end, so the host is resolved for the most that one of them grants. */
function provisional(allow: Allow, rules: readonly Rule[]): Allow {
  const allowPrivateIps = rules.some((rule) => rule.allow?.grant.allowPrivateIps === true);
  return { ...allow, provisional: true, grant: { ...allow.grant, allowPrivateIps } };
}

function trustSetsOf(rules: readonly Rule[]): readonly TrustSet[] {
  const sets = new Map<string, TrustSet>();
  for (const { tls } of rules) if (tls?.needsCertificate === true) sets.set(tls.trust.id, tls.trust);
  return [...sets.values()];
}

function unionOf(grants: readonly Grant[]): Grant {
  return {
    mode: 'intercept',
    allowPrivateIps: grants.some((grant) => grant.allowPrivateIps),
    trustAnchors: [...new Set(grants.flatMap((grant) => grant.trustAnchors))],
    tls: undefined,
  };
}
