/**
 * What policy answers. Only policy/decide builds these, and its one fall-through is a block.
 */

/** What an allow rule asks for (as written in YAML). */
export type Mode = 'proxy' | 'direct_ip' | 'intercept';

/** What an allowing rule grants to the flow. */
export interface Grant {
  readonly mode: Mode;
  readonly allowPrivateIps: boolean;
  /** PEM of extra roots for the origin; empty for the system roots alone. */
  readonly trustAnchors: readonly string[];
}

export interface Allow {
  readonly action: 'allow';
  readonly ruleId: string;
  readonly grant: Grant;
  /** False where the rule says `log: false`. */
  readonly log: boolean;
}

export interface Block {
  readonly action: 'block';
  /** The id of the rule, or `default` when no rule matched. */
  readonly ruleId: string;
  /** rule: its condition was true; error: its condition could not be evaluated; default: nothing matched. */
  readonly cause: 'rule' | 'error' | 'default';
  /** One line for the agent, after `Blocked by outcall: `. */
  readonly reason: string;
  readonly log: boolean;
}

export type Verdict = Allow | Block;

/** A request cannot be decided before its body has been read: a rule with match_body depends on it. */
export interface NeedBody {
  readonly action: 'need_body';
  readonly ruleId: string;
}

export type Decision = Verdict | NeedBody;
