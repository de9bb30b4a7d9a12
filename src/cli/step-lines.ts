/**
 * The steps of a long command as lines on standard error: on a terminal the running one is shown and then replaced by
 * its outcome, elsewhere only outcomes are written. Silent where the answer is JSON.
 */
import type { Steps } from '../docker/steps.ts';
import type { CliIo } from './io.ts';

/** Of ECMA-48: to the line's beginning, and clear it. */
const REWRITE_LINE = '\r\x1b[2K';

export function stepLines(io: CliIo, silent: boolean): Steps {
  const live = process.stderr.isTTY === true;
  return {
    run: async (title, work, outcome) => {
      if (!silent && live) io.err(`  ... ${title}`);
      try {
        const value = await work();
        if (!silent) io.err(`${live ? REWRITE_LINE : ''}  ok  ${outcome(value)}\n`);
        return value;
      } catch (error) {
        if (!silent) io.err(`${live ? REWRITE_LINE : ''}  --  ${title} failed\n`);
        throw error;
      }
    },
  };
}
