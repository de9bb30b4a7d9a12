/**
 * What two rule sets make of the same recorded traffic. A change is another verdict or another mode, or a block that is
 * only recorded; another rule that says the same is none. What records do not hold may decide: such questions are told apart, not guessed.
 */
import { type AuditRecord, REDACTED } from '../domain/record.ts';
import type { Asked, PhaseTrace } from './explain.ts';
import { askedOf, questionKey } from './replay.ts';
import type { RuleSet } from './rule-set.ts';

export interface Answered {
  /** The first record of this question. */
  readonly record: AuditRecord;
  readonly records: number;
  readonly before: PhaseTrace;
  readonly after: PhaseTrace;
}

export interface RulesDiff {
  readonly changed: readonly Answered[];
  /** One of the two sets hangs on what is not recorded, and they need not agree. */
  readonly unclear: readonly Answered[];
  /** Questions that are answered as before. */
  readonly same: number;
  /** Records that do not say what was asked. */
  readonly unreadable: number;
}

export function diffRules(before: RuleSet, after: RuleSet, records: readonly AuditRecord[]): RulesDiff {
  const changed: Answered[] = [];
  const unclear: Answered[] = [];
  let same = 0;
  let unreadable = 0;
  for (const [record, ...more] of Map.groupBy(records, questionKey).values()) {
    if (record === undefined) continue;
    const asked = askedOf(record);
    if (asked === undefined) {
      unreadable += 1 + more.length;
      continue;
    }
    const answered = { record, records: 1 + more.length, before: answer(before, asked), after: answer(after, asked) };
    if (isSame(answered) || sameWhateverTheQuery(before, after, asked)) same++;
    else if (isUnclear(answered)) unclear.push(answered);
    else changed.push(answered);
  }
  return { changed, unclear, same, unreadable };
}

function answer(rules: RuleSet, asked: Asked): PhaseTrace {
  return rules.explain(asked).phases.at(-1) as PhaseTrace;
}

function isUnclear({ before, after }: Answered): boolean {
  return before.verdict === 'unknown' || after.verdict === 'unknown';
}

function isSame({ before, after }: Pick<Answered, 'before' | 'after'>): boolean {
  const audited = (before.wouldBlock === null) === (after.wouldBlock === null);
  return before.verdict !== 'unknown' && before.verdict === after.verdict && before.mode === after.mode && audited;
}

/** Both sets hang on query values, and agree on each value that either of them speaks of. */
function sameWhateverTheQuery(before: RuleSet, after: RuleSet, asked: Asked): boolean {
  const { request } = asked;
  if (request?.target.includes(REDACTED) !== true) return false;
  const targets = new Set([before, after].flatMap((rules) => rules.explain(asked).targets));
  return [...targets].every((target) => {
    const one = {
      ...asked,
      request: { ...request, target },
    };
    return isSame({ before: answer(before, one), after: answer(after, one) });
  });
}
