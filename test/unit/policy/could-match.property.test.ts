/**
 * What is decided before everything is known stays decided whatever is learnt later. Conditions and requests are
 * random; each is evaluated with the request unknown, with the body unknown, and whole.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RequestFacts } from '../../../src/domain/facts.ts';
import { checkCondition } from '../../../src/policy/cel-check.ts';
import type { Reader } from '../../../src/policy/cel-compile.ts';
import { CelError, type Value } from '../../../src/policy/cel-value.ts';
import { Frame } from '../../../src/policy/frame.ts';
import { conditions, requests } from './arbitrary.ts';
import { INTERCEPT, MATCH_BODY, ruleSetOf } from './kit.ts';

const RUNS = 2_000;

function compiled(source: string): Reader<Frame> {
  const checked = checkCondition(source);
  if (!checked.ok) throw new Error(`${source}: ${checked.faults[0]?.message}`);
  return checked.value.read;
}

function whole(read: Reader<Frame>, facts: RequestFacts, readsBody: boolean): Value {
  const frame = new Frame();
  frame.setRequest(facts);
  frame.showBody(facts, readsBody);
  return read(frame);
}

/** The same answer; for errors, an error. */
function sameAnswer(a: Value, b: Value): boolean {
  return a instanceof CelError ? b instanceof CelError : a === b;
}

describe('a condition that is decided early', () => {
  it('is decided the same with any request, where the request was unknown', () => {
    let decided = 0;
    let open = 0;
    fc.assert(
      fc.property(conditions(), requests, (source, facts) => {
        const read = compiled(source);
        const frame = new Frame();
        frame.setLate(facts.host, facts);
        const early = read(frame);
        if (early === undefined) open++;
        else decided++;
        return early === undefined || sameAnswer(early, whole(read, facts, true));
      }),
      { numRuns: RUNS },
    );
    expect(Math.min(decided, open)).toBeGreaterThan(RUNS / 10);
  });

  it('is decided the same with any body, where only the body was unknown', () => {
    fc.assert(
      fc.property(conditions(), requests, (source, facts) => {
        const read = compiled(source);
        const before = whole(read, { ...facts, body: undefined }, true);
        return before === undefined || sameAnswer(before, whole(read, facts, true));
      }),
      { numRuns: RUNS },
    );
  });

  it('needs no facts beyond the connection where it uses none', () => {
    fc.assert(
      fc.property(conditions({ earlyOnly: true }), requests, (source, facts) => {
        const read = compiled(source);
        const frame = new Frame();
        frame.setLate(facts.host, facts);
        return sameAnswer(read(frame), whole(read, facts, false)) && read(frame) !== undefined;
      }),
      { numRuns: RUNS },
    );
  });

  it('is never unknown once everything is known', () => {
    fc.assert(
      fc.property(conditions(), requests, (source, facts) => whole(compiled(source), facts, true) !== undefined),
      { numRuns: RUNS },
    );
  });
});

describe('a connection', () => {
  it('that is blocked could not have carried a request that is allowed', () => {
    fc.assert(
      fc.property(conditions({ withBody: false }), requests, (condition, facts) => {
        const rules = ruleSetOf({ condition, egress: INTERCEPT });
        if (rules.decideConnect(facts).action === 'allow') return true;
        return rules.decideRequest(facts).action === 'block';
      }),
      { numRuns: RUNS / 4 },
    );
  });

  it('that may be intercepted has a host that a leaf may be minted for', () => {
    fc.assert(
      fc.property(conditions(), requests, (condition, facts) => {
        const rules = ruleSetOf({ condition, egress: MATCH_BODY });
        return rules.decideConnect(facts).action === 'block' || rules.couldIntercept(facts.host);
      }),
      { numRuns: RUNS / 4 },
    );
  });
});
