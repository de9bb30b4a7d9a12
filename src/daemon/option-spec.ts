/** What the table of options holds of each, and how its name is written. Holds none itself. */
import type { Checked } from './option-checks.ts';

export interface OptionSpec<T> {
  /** Long flag with its dashes; OUTCALL_LISTEN is the environment's name for --listen. */
  readonly flag: `--${string}`;
  /** Placeholder in the help text; undefined for a switch. */
  readonly placeholder: string | undefined;
  readonly help: string;
  /** What holds when neither flag nor environment says anything, as it would be written; undefined for "not set". */
  readonly fallback: string | undefined;
  check(text: string): Checked<T>;
}

/** The name of an option in the environment: --max-head-bytes is OUTCALL_MAX_HEAD_BYTES. */
export function environmentName(flag: string): string {
  return `OUTCALL_${flag.slice('--'.length).toUpperCase().replaceAll('-', '_')}`;
}
