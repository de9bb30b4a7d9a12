/** How a long command tells what it does: each step with a title while it runs, and what came of it. */

export interface Steps {
  /** Runs `work`; `outcome` says in a few words what came of it. A failure is passed on. */
  run<T>(title: string, work: () => Promise<T>, outcome: (value: T) => string): Promise<T>;
}

/** Tells nobody. */
export const silentSteps: Steps = { run: (_title, work) => work() };
