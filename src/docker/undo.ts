/** What was done, so that it can be taken back in the reverse order when a later step fails. */
import { messageOf } from './failure.ts';

interface Step {
  readonly what: string;
  readonly back: () => Promise<unknown>;
}

export class UndoStack {
  readonly #steps: Step[] = [];

  /** `back` undoes what was just done; `what` names it for the operator. */
  push(what: string, back: () => Promise<unknown>): void {
    this.#steps.push({ what, back });
  }

  /** Takes back all, even where one step fails; resolves to what could not be taken back. */
  async undo(): Promise<readonly string[]> {
    const failures: string[] = [];
    for (const { what, back } of this.#steps.splice(0).reverse()) {
      await back().catch((error: unknown) => failures.push(`${what}: ${messageOf(error)}`));
    }
    return failures;
  }
}
