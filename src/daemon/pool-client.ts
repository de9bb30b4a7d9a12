/**
 * A worker's view of the synthetic addresses, which the supervisor alone gives out: asked once per address at a time,
 * remembered for a minute, forgotten when the supervisor says that an address changed hands (threats 3, 19).
 */
import type { Clock } from '../domain/clock.ts';
import type { Host } from '../domain/hostname.ts';
import type { SyntheticNames } from '../proxy/transparent.ts';

/** So that the supervisor sees at least once a minute that an address is in use. */
const REMEMBERED_MS = 60_000;
/** The agents choose the addresses, so what is remembered is bounded. */
const MAX_REMEMBERED = 4_096;
/** The supervisor answers from memory; one that does not answer is gone or about to be. */
const ANSWER_MS = 2_000;

interface Known {
  readonly host: Host;
  readonly askedAt: number;
}

interface Asked {
  readonly promise: Promise<Host | undefined>;
  readonly resolve: (host: Host | undefined) => void;
}

export class PoolClient implements SyntheticNames {
  readonly #ask: (address: string) => void;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();
  readonly #asked = new Map<string, Asked>();

  /** `ask` sends the question on; its answer comes in through answered(). */
  constructor(ask: (address: string) => void, clock: Clock) {
    this.#ask = ask;
    this.#clock = clock;
  }

  /** Undefined where the address stands for no name, and where the supervisor does not say in time. */
  async hostOf(address: string): Promise<Host | undefined> {
    const known = this.#known.get(address);
    if (known !== undefined && this.#clock.now() - known.askedAt < REMEMBERED_MS) return known.host;
    return (this.#asked.get(address) ?? this.#open(address)).promise;
  }

  answered(address: string, host: Host | undefined): void {
    this.#known.delete(address);
    if (host !== undefined) this.#remember(address, host);
    this.#asked.get(address)?.resolve(host);
  }

  /** The address changed hands. What was asked before is answered before, so nothing old comes after this. */
  forget(address: string): void {
    this.#known.delete(address);
  }

  #open(address: string): Asked {
    const { promise, resolve } = Promise.withResolvers<Host | undefined>();
    const deadline = setTimeout(() => resolve(undefined), ANSWER_MS);
    const asked = { promise, resolve };
    this.#asked.set(address, asked);
    void promise.then(() => {
      clearTimeout(deadline);
      this.#asked.delete(address);
    });
    this.#ask(address);
    return asked;
  }

  #remember(address: string, host: Host): void {
    if (this.#known.size >= MAX_REMEMBERED) this.#known.clear();
    this.#known.set(address, { host, askedAt: this.#clock.now() });
  }
}
