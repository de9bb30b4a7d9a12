/**
 * Decides one request, holding its body back where a rule with match_body must see it first (threats 29, 30).
 * Also keeps what arrives of a body while its upstream is not there yet. The same for HTTP/1.1 and HTTP/2.
 */
import type { RequestFacts } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import type { Verdict } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { Framing } from '../wire/http1-head.ts';
import { bodyText } from './body-text.ts';
import type { Flow } from './flow.ts';

export interface GateOwner {
  /** Called once, with the facts that were decided on. */
  onVerdict(verdict: Verdict): void;
  fail(failure: FlowFailure): void;
  /** The agent awaits a 100 before it sends the body, which is wanted here and now (RFC 9110 section 10.1.1). */
  sendContinue(): void;
}

/** What is known of the body when the head has been read. */
export interface BodyOutlook {
  readonly framing: Framing;
  /** Content-Length, or 0. */
  readonly declaredBytes: number;
  readonly done: boolean;
  readonly expectsContinue: boolean;
}

export class BodyGate {
  /** The verdict waits for the body. */
  holding = false;
  /** A 100 was sent from here, or the body was here whole: the origin is not asked for one. */
  answeredExpect = false;
  heldBytes = 0;
  readonly #flow: Flow;
  readonly #rules: RuleSet;
  readonly #owner: GateOwner;
  #held: Buffer[] = [];
  #facts: RequestFacts | undefined;
  #framing: Framing = { kind: 'none' };
  #ruleId = '';

  constructor(flow: Flow, rules: RuleSet, owner: GateOwner) {
    this.#flow = flow;
    this.#rules = rules;
    this.#owner = owner;
  }

  decide(facts: RequestFacts, outlook: BodyOutlook): void {
    const decision = this.#rules.decideRequest(facts);
    if (decision.action !== 'need_body') {
      this.#owner.onVerdict(decision);
      return;
    }
    this.holding = true;
    this.#ruleId = decision.ruleId;
    this.#facts = facts;
    this.#framing = outlook.framing;
    if (outlook.done) this.end(0);
    else if (outlook.declaredBytes > this.#capBytes) this.#decideWithout(outlook.declaredBytes);
    else if (outlook.expectsContinue) {
      this.answeredExpect = true;
      this.#owner.sendContinue();
    }
  }

  /** Keeps bytes of the body; `payloadBytes` is the body's size so far, without chunk framing. */
  keep(bytes: Buffer, payloadBytes: number): void {
    this.#held.push(bytes);
    this.heldBytes += bytes.length;
    if (this.holding && payloadBytes > this.#capBytes) this.#decideWithout(payloadBytes);
  }

  /** The body is whole. */
  end(payloadBytes: number): void {
    if (this.holding) void this.#decideWith(payloadBytes);
  }

  /** Gives out what was kept, in order, once. */
  release(): readonly Buffer[] {
    const held = this.#held;
    this.#held = [];
    this.heldBytes = 0;
    return held;
  }

  get #capBytes(): number {
    return this.#flow.deps.options.bodyCapBytes;
  }

  async #decideWith(bodySize: number): Promise<void> {
    const facts = this.#facts as RequestFacts;
    try {
      const raw = Buffer.concat(this.#held);
      const body = await bodyText(raw, this.#framing, facts.headers, this.#capBytes);
      if (this.holding) this.#decideAgain({ ...facts, body, bodySize });
    } catch (error) {
      this.holding = false;
      this.#owner.fail(error instanceof FlowFailure ? error : new FlowFailure('internal_error', { cause: error }));
    }
  }

  /** The body passes the cap: rules see null (S011-EC-005), and an unguarded block rule blocks. */
  #decideWithout(bodySize: number): void {
    const facts = this.#facts as RequestFacts;
    this.#flow.deps.log.warn(
      { event: 'body_over_cap', flow: this.#flow.id, rule: this.#ruleId, host: facts.host, body_size: bodySize },
      'request body exceeds the cap of match_body; rules see null',
    );
    this.#decideAgain({ ...facts, body: null, bodySize });
  }

  #decideAgain(facts: RequestFacts): void {
    this.holding = false;
    const decision = this.#rules.decideRequest(facts);
    if (decision.action !== 'need_body') this.#owner.onVerdict(decision);
    else this.#owner.fail(new FlowFailure('internal_error', { detail: 'undecided with a body' }));
  }
}
