/**
 * What a command has of the outside: where its words go and how it ends. Exit codes are part of the interface.
 */

export const EXIT_OK = 0;
export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;
/** `rules diff`: something would change, or may. */
export const EXIT_DIFFERENT = 3;
export const EXIT_NOT_FOUND = 6;

export interface CliIo {
  /** Standard output: the answer, as given. */
  out(text: string): void;
  /** Standard error: everything else. */
  err(text: string): void;
}

/** Ends the command with this exit code; the message goes to standard error. */
export class CliError extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CliError';
    this.exitCode = exitCode;
  }
}
