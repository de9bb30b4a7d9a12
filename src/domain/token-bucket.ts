/** A rate with a burst. Runs no timer: what has come in since is counted when somebody asks. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #countedAt: number;

  constructor(perSecond: number, burst: number, now: number) {
    this.#perMs = perSecond / 1_000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#countedAt = now;
  }

  /** True where one more is within the rate at `now` (ms). A clock that was set back gives nothing and takes nothing. */
  take(now: number): boolean {
    const elapsed = Math.max(0, now - this.#countedAt);
    this.#countedAt = now;
    this.earn(elapsed * this.#perMs);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Something happened that entitles to more, up to the burst. */
  earn(tokens: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + tokens);
  }
}
