/**
 * Decides one request, holding its body back where a rule with match_body must see it first (threats 29, 30), and its
 * answer where the rule looks at answers; both again when a new rule set comes (threat 33). Also keeps what arrives of a
 * body while its upstream is not there yet. The same for HTTP/1.1 and HTTP/2.
 */
import type { RequestFacts, ResponseFacts } from '../domain/facts.ts';
import { asFailure, FlowFailure } from '../domain/failure.ts';
import type { Allow, Block, Verdict } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { ByteQueue } from '../wire/byte-queue.ts';
import type { Framing } from '../wire/http1-head.ts';
import { bodyText } from './body-text.ts';
import type { ExchangeRecord } from './exchange-record.ts';
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
  /** The set that decided, and what it said where that was not a block. */
  rules: RuleSet;
  allow: Allow | undefined;
  readonly #flow: Flow;
  readonly #owner: GateOwner;
  #held: ByteQueue | undefined;
  /** As the request's head has them. */
  #facts: RequestFacts | undefined;
  /** With the body, for the answer's verdict. */
  #decidedOn: RequestFacts | undefined;
  #framing: Framing = { kind: 'none' };
  #ruleId = '';

  constructor(flow: Flow, rules: RuleSet, owner: GateOwner) {
    this.#flow = flow;
    this.rules = rules;
    this.#owner = owner;
  }

  decide(facts: RequestFacts, outlook: BodyOutlook): void {
    this.#facts = facts;
    const decision = this.rules.decideRequest(facts);
    if (decision.action !== 'need_body') {
      this.#decided(decision);
      return;
    }
    this.holding = true;
    this.#ruleId = decision.ruleId;
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
    this.#held ??= new ByteQueue();
    this.#held.push(bytes, 0, bytes.length);
    if (this.holding && payloadBytes > this.#capBytes) this.#decideWithout(payloadBytes);
  }

  /** The body is whole. */
  end(payloadBytes: number): void {
    if (this.holding) void this.#decideWith(payloadBytes);
  }

  /** The rule looks at the answer before the agent gets a byte of it. */
  get checksResponse(): boolean {
    return this.allow?.checksResponse === true;
  }

  /** Where checksResponse: why the answer may not go to the agent, or undefined where it may. */
  refusalOf(response: ResponseFacts, record: ExchangeRecord): Block | undefined {
    const facts = this.#decidedOn ?? (this.#facts as RequestFacts);
    this.#decidedOn = undefined;
    const verdict = this.rules.decideResponse(this.allow as Allow, facts, response);
    record.generation = this.rules.generation;
    if (verdict.action === 'block') return verdict;
    record.verdict = verdict;
    return undefined;
  }

  /**
   * A new rule set is in force: whether it admits what is under way. What only the body could decide goes on; what is not
   * decided yet will be by the new set, and so will be an answer that has not begun (`response` is one that has).
   */
  admittedBy(rules: RuleSet, response: ResponseFacts | undefined): boolean {
    const facts = this.#facts;
    if (facts === undefined) return true;
    const decision = rules.decideRequest(facts);
    if (decision.action !== 'allow') return decision.action === 'need_body';
    if (response !== undefined) {
      return !decision.checksResponse || rules.decideResponse(decision, facts, response).action === 'allow';
    }
    if (this.allow === undefined) return true;
    this.rules = rules;
    this.allow = decision;
    this.#decidedOn = undefined;
    return true;
  }

  get heldBytes(): number {
    return this.#held === undefined ? 0 : this.#held.length;
  }

  /** Gives out what was kept, once; undefined where that is nothing. */
  release(): Buffer | undefined {
    const held = this.#held?.toBuffer();
    this.#held?.clear();
    this.#held = undefined;
    return held;
  }

  /** The request is over, though a session or room on one may still be waited for: lets go of what was kept. */
  drop(): void {
    this.holding = false;
    this.#held?.clear();
    this.#held = undefined;
  }

  get #capBytes(): number {
    return this.#flow.deps.options.bodyCapBytes;
  }

  async #decideWith(bodySize: number): Promise<void> {
    const facts = this.#facts as RequestFacts;
    try {
      const raw = this.#held?.toBuffer() ?? Buffer.alloc(0);
      const body = await bodyText(raw, this.#framing, facts.headers, this.#capBytes);
      if (this.holding) this.#decideAgain({ ...facts, body, bodySize });
    } catch (error) {
      this.holding = false;
      this.#owner.fail(asFailure(error));
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
    // The set may be another by now.
    this.rules = this.#flow.deps.rules();
    this.#decidedOn = facts;
    const decision = this.rules.decideRequest(facts);
    if (decision.action !== 'need_body') this.#decided(decision);
    else this.#owner.fail(new FlowFailure('internal_error', { detail: 'undecided with a body' }));
  }

  #decided(verdict: Verdict): void {
    if (verdict.action === 'allow') this.allow = verdict;
    if (!this.checksResponse) this.#decidedOn = undefined;
    this.#owner.onVerdict(verdict);
  }
}
