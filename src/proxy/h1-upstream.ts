/**
 * An upstream connection in the hands of one agent connection: listeners are attached once, not per exchange.
 * While no exchange uses it, any byte or close from the origin ends it.
 */
import type { OriginRequest } from '../upstream/origin.ts';
import { resetConnection } from '../upstream/reset.ts';
import { readDirectly, stopDirectReads } from './direct-reads.ts';
import type { UpstreamConnection } from './site.ts';

export interface UpstreamListener {
  onResponseBytes(chunk: Buffer): void;
  onUpstreamDrained(): void;
  /** The origin's side is over: FIN (no error) or reset. Nothing follows. */
  onUpstreamEnd(error: Error | undefined): void;
}

export class H1Upstream {
  readonly connection: UpstreamConnection;
  /** True once it has carried a request, here or before it came from the pool. */
  reused: boolean;
  user: UpstreamListener | undefined;
  readonly #origin: OriginRequest;
  readonly #onLost: () => void;
  #error: Error | undefined;

  /** `onLost` is called once when the connection can serve nothing any more. */
  constructor(connection: UpstreamConnection, origin: OriginRequest, onLost: () => void) {
    this.connection = connection;
    this.reused = connection.reused;
    this.#origin = origin;
    this.#onLost = onLost;
    const { socket } = connection;
    readDirectly(socket, this.#onData);
    socket.on('drain', this.#onDrain);
    socket.on('end', this.#onEnd);
    socket.on('error', this.#onError);
    socket.on('close', this.#onEnd);
    socket.resume();
  }

  /** Whether this is a connection to that origin, under a grant that allows the same. */
  serves(origin: OriginRequest): boolean {
    const own = this.#origin;
    return own === origin || (own.host === origin.host && own.port === origin.port && own.grant === origin.grant);
  }

  detach(): void {
    const { socket } = this.connection;
    stopDirectReads(socket, this.#onData);
    socket.off('drain', this.#onDrain);
    socket.off('end', this.#onEnd);
    socket.off('error', this.#onError);
    socket.off('close', this.#onEnd);
  }

  destroy(): void {
    this.detach();
    // An error that is still on its way must find a listener.
    this.connection.socket.on('error', () => undefined);
    resetConnection(this.connection.raw, this.connection.socket);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.user !== undefined) this.user.onResponseBytes(chunk);
    else this.#lose();
  };

  readonly #onDrain = (): void => this.user?.onUpstreamDrained();

  readonly #onError = (error: Error): void => {
    this.#error = error;
  };

  readonly #onEnd = (): void => {
    const { user } = this;
    this.user = undefined;
    this.#lose();
    user?.onUpstreamEnd(this.#error);
  };

  #lose(): void {
    this.#onLost();
    this.destroy();
  }
}
