/**
 * How long a fuzzed property runs: a second or so in the normal gate, longer with OUTCALL_FUZZ_MS.
 * A property that runs out of time has passed for as many cases as it saw.
 */
import type { Parameters } from 'fast-check';

const DEFAULT_MS = 1000;
const BUDGET_MS = Number(process.env['OUTCALL_FUZZ_MS'] ?? DEFAULT_MS);
/** So many that time alone is the bound. */
const RUNS = 10_000_000;

/** fast-check parameters for one property. */
export function fuzzBudget<T = unknown>(): Parameters<T> {
  return { numRuns: RUNS, interruptAfterTimeLimit: BUDGET_MS, markInterruptAsFailure: false };
}

/** Test timeout that leaves room for shrinking after a failure. */
export const FUZZ_TIMEOUT_MS = BUDGET_MS * 10 + 20_000;
