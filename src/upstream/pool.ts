/**
 * Connections that rest between two HTTP/1.1 exchanges. A connection rests under the key that it was made under and is
 * taken only under the same key, and the agent is a part of that key: it is never shared between agents, nor between
 * flows that may reach or trust different things (threat 38).
 * A byte, an end or an error while it rests makes it useless: nobody asked for that byte (response splitting).
 */
import type { Socket } from 'node:net';
import type { Clock } from '../domain/clock.ts';

/** What the pool keeps: a socket to speak on, and the TCP socket under it (the same one for plain HTTP). */
export interface PooledConnection {
  readonly socket: Socket;
  readonly raw: Socket;
  readonly key: string;
  /** True once it has served an exchange: a close before the first byte of an answer may then be a lost race. */
  reused: boolean;
}

export interface PoolLimits {
  readonly maxIdlePerKey: number;
  readonly maxIdle: number;
  readonly idleTimeoutMs: number;
}

/** Expired connections go within this time; take() itself never gives one out. */
const SWEEP_INTERVAL_MS = 5_000;

interface Resting<T> {
  readonly connection: T;
  readonly since: number;
  readonly stop: () => void;
}

export class IdlePool<T extends PooledConnection> {
  readonly #limits: PoolLimits;
  readonly #clock: Clock;
  /** Per key, the one that rested the shortest time last: it is the least likely to be closed. */
  readonly #byKey = new Map<string, Resting<T>[]>();
  /** All, the one that has rested longest first. */
  readonly #all = new Set<Resting<T>>();
  readonly #sweep: NodeJS.Timeout;
  #closed = false;

  constructor(limits: PoolLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#sweep = setInterval(() => this.#dropExpired(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  get size(): number {
    return this.#all.size;
  }

  /** A connection that was released under `key`, still open and silent; the caller has it alone from now on. */
  take(key: string): T | undefined {
    const resting = this.#byKey.get(key);
    if (resting === undefined) return undefined;
    for (let entry = resting.at(-1); entry !== undefined; entry = resting.at(-1)) {
      this.#remove(entry);
      if (!this.#isExpired(entry) && isUsable(entry.connection.socket)) {
        entry.connection.reused = true;
        return entry.connection;
      }
      entry.connection.socket.destroy();
    }
    return undefined;
  }

  /** The connection that take() would give, left where it is. */
  find(key: string): T | undefined {
    const entry = this.#byKey.get(key)?.at(-1);
    if (entry === undefined || this.#isExpired(entry) || !isUsable(entry.connection.socket)) return undefined;
    return entry.connection;
  }

  /** Gives a connection back after a complete exchange, with the caller's listeners taken off; else it is closed. */
  release(connection: T): void {
    const { socket, key } = connection;
    if (this.#closed || this.#limits.maxIdlePerKey === 0 || !isUsable(socket)) {
      socket.destroy();
      return;
    }
    const resting = this.#byKey.get(key) ?? [];
    if (resting.length >= this.#limits.maxIdlePerKey) this.#drop(resting[0]);
    else if (this.#all.size >= this.#limits.maxIdle) this.#drop(this.#all.values().next().value);
    this.#add(connection);
  }

  /** Closes all that rest, and from now on all that is released. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const entry of this.#all) this.#drop(entry);
  }

  #add(connection: T): void {
    const { socket, key } = connection;
    const onDisturbed = () => this.#drop(entry);
    const entry: Resting<T> = {
      connection,
      since: this.#clock.now(),
      stop: () => {
        socket.off('data', onDisturbed);
        socket.off('end', onDisturbed);
        socket.off('close', onDisturbed);
      },
    };
    socket.on('data', onDisturbed);
    socket.on('end', onDisturbed);
    socket.on('close', onDisturbed);
    // It stays flowing when it is taken: whoever takes it listens in the same tick.
    socket.resume();
    const resting = this.#byKey.get(key);
    if (resting === undefined) this.#byKey.set(key, [entry]);
    else resting.push(entry);
    this.#all.add(entry);
  }

  #drop(entry: Resting<T> | undefined): void {
    if (entry === undefined) return;
    this.#remove(entry);
    entry.connection.socket.destroy();
  }

  #remove(entry: Resting<T>): void {
    if (!this.#all.delete(entry)) return;
    entry.stop();
    const { key } = entry.connection;
    const resting = this.#byKey.get(key) ?? [];
    resting.splice(resting.lastIndexOf(entry), 1);
    if (resting.length === 0) this.#byKey.delete(key);
  }

  #isExpired(entry: Resting<T>): boolean {
    return this.#clock.now() - entry.since >= this.#limits.idleTimeoutMs;
  }

  #dropExpired(): void {
    for (const entry of this.#all) {
      if (!this.#isExpired(entry)) return;
      this.#drop(entry);
    }
  }
}

function isUsable(socket: Socket): boolean {
  return socket.readable && socket.writable && socket.readableLength === 0 && socket.writableLength === 0;
}
