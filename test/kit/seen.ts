/**
 * What a witness saw, in order, with waits. `next` hands each item out once; `some` looks at all of them, past and future.
 */
import { KIT_DEADLINE_MS, within } from './within.ts';

interface Waiter {
  readonly wants: () => boolean;
  readonly done: () => void;
}

export class Seen<T> implements Iterable<T> {
  readonly all: T[] = [];
  readonly #what: string;
  readonly #unread: T[] = [];
  #waiters: Waiter[] = [];

  /** `what` names one item in messages of failed waits. */
  constructor(what: string) {
    this.#what = what;
  }

  get count(): number {
    return this.all.length;
  }

  push(item: T): void {
    this.all.push(item);
    this.#unread.push(item);
    this.recheck();
  }

  /** Looks at the waits again: for items whose own fields change after they were pushed. */
  recheck(): void {
    const waiting = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiting) {
      if (waiter.wants()) waiter.done();
      else this.#waiters.push(waiter);
    }
  }

  /** The first item not handed out yet that satisfies `predicate`; later calls do not give it again. */
  async next(predicate: (item: T) => boolean = () => true, ms: number = KIT_DEADLINE_MS): Promise<T> {
    for (;;) {
      await this.#until(() => this.#unread.some(predicate), ms, `a new ${this.#what}`);
      const index = this.#unread.findIndex(predicate);
      // Another wait that woke with this one may have taken it.
      if (index >= 0) return this.#unread.splice(index, 1)[0] as T;
    }
  }

  /** The first item ever seen that satisfies `predicate`. */
  async some(predicate: (item: T) => boolean, ms: number = KIT_DEADLINE_MS): Promise<T> {
    await this.#until(() => this.all.some(predicate), ms, `a ${this.#what} that fits`);
    return this.all.find(predicate) as T;
  }

  /** Waits until at least `count` items have been seen. */
  async atLeast(count: number, ms: number = KIT_DEADLINE_MS): Promise<readonly T[]> {
    await this.#until(() => this.all.length >= count, ms, `${count} of ${this.#what}`);
    return this.all;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.all[Symbol.iterator]();
  }

  async #until(wants: () => boolean, ms: number, what: string): Promise<void> {
    if (wants()) return;
    const come = new Promise<void>((done) => this.#waiters.push({ wants, done }));
    await within(come, ms, `${what}; seen ${this.all.length}`);
  }
}
