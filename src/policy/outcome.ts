/**
 * What one rule says to a frame, in three values and an error. Decides nothing: that an error blocks in a block rule and
 * does not match in an allow rule is for the walks (connection.ts, decide.ts).
 */
import type { Reader } from './cel-compile.ts';
import { CelError, OUT_OF_BUDGET, typeName } from './cel-value.ts';
import type { Frame } from './frame.ts';
import type { Rule } from './rule.ts';

/** true, false, undefined for "not decided yet", or why it could not be evaluated. */
export type Outcome = boolean | undefined | CelError;

/** A bool expression on a full purse. */
export function evaluate(read: Reader<Frame>, frame: Frame): Outcome {
  frame.refill();
  try {
    const value = read(frame);
    if (frame.steps < 0) return OUT_OF_BUDGET;
    if (typeof value === 'boolean' || value === undefined || value instanceof CelError) return value;
    return new CelError('no_such_overload', `${typeName(value)} where bool is needed`);
  } catch (error) {
    // Nothing above throws by design; a string too long for the engine does.
    return new CelError('range', error instanceof Error ? error.message : String(error));
  }
}

/** The condition, and the matchers of egress.tls where the rule has any: Kleene's "and". */
export function outcomeOf(rule: Rule, frame: Frame): Outcome {
  const outcome = evaluate(rule.read, frame);
  if (rule.tls === undefined || outcome === false) return outcome;
  const matched = rule.tls.outcome(frame);
  if (matched === true) return outcome;
  return outcome === true || matched === false || matched === undefined ? matched : outcome;
}

export function mayMatch(outcome: Outcome): boolean {
  return outcome === true || outcome === undefined;
}

export function servesPort(rule: Rule, port: number): boolean {
  return rule.ports === undefined || rule.ports.has(port);
}
