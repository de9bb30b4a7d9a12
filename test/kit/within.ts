/**
 * Waits of the test kit: driven by events, with a deadline that names what did not happen. Never a sleep.
 */

/** Long enough for a loaded two-core machine; a test that meets it has failed, so its length costs nothing when green. */
export const KIT_DEADLINE_MS = 10_000;

/** Resolves or rejects as `promise` does; rejects after `ms` milliseconds with a message that names `what`. */
export async function within<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves once every callback queued so far, timers of 0 ms and polled I/O included, has run. */
export async function nextTurn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}
