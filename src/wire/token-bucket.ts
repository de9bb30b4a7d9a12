/**
 * A bound on how often something may happen: `burst` at once, and then so many a second. Looks at the clock only when it is empty,
 * so that who stays within the burst costs nothing; over time at most a second burst comes of that.
 */
export class TokenBucket {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #now: () => number;
  #left: number;
  #filledAt: number;

  /** `now` in milliseconds. */
  constructor(limits: { readonly burst: number; readonly perSecond: number }, now: () => number) {
    this.#burst = limits.burst;
    this.#perSecond = limits.perSecond;
    this.#now = now;
    this.#left = limits.burst;
    this.#filledAt = now();
  }

  /** False where it has happened too often. */
  spend(): boolean {
    if (this.#left < 1) this.#fill();
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }

  /** Something happened that entitles to more. */
  earn(tokens: number): void {
    this.#left = Math.min(this.#burst, this.#left + tokens);
  }

  #fill(): void {
    const now = this.#now();
    // A clock that was set back takes nothing away.
    this.earn((Math.max(0, now - this.#filledAt) / 1_000) * this.#perSecond);
    this.#filledAt = now;
  }
}
