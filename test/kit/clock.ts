/** Clocks that run as the real one does and that a test can set forward, so that no deadline is waited for. */
import type { Clock } from '../../src/domain/clock.ts';

export class TestClock implements Clock {
  #aheadMs = 0;

  now(): number {
    return Date.now() + this.#aheadMs;
  }

  advance(ms: number): void {
    this.#aheadMs += ms;
  }
}

/** A clock that tells when it is read. */
export class WatchedClock implements Clock {
  readonly #clock: Clock;
  #onRead: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    const waiting = this.#onRead;
    this.#onRead = [];
    for (const done of waiting) setImmediate(done);
    return this.#clock.now();
  }

  /** Resolves after the next read, when what the reader does with it at once is done. */
  nextRead(): Promise<void> {
    return new Promise((resolve) => this.#onRead.push(resolve));
  }
}
