/**
 * Bytes both ways between two sockets, unread: tunnels, WebSockets after their 101, direct relays.
 * Backpressure in each direction, half-close passed on, a reset on one side resets the other.
 */
import type { Socket } from 'node:net';
import type { FlowFailure } from '../domain/failure.ts';
import { resetConnection } from '../upstream/reset.ts';
import type { AbortReason, Flow } from './flow.ts';
import type { HelloGate } from './second-hello.ts';
import type { WideReader } from './wide-reader.ts';

export interface RelayEnd {
  /** What is read and written: the TCP socket, or TLS over it. */
  readonly stream: Socket;
  readonly raw: Socket;
  /** Bytes that were read from this side before the relay began. */
  readonly first: Buffer | undefined;
  /** What this side says after `first` waits for it. */
  readonly gate?: HelloGate | undefined;
  /** What reads this side; undefined where the stream does. */
  readonly reader?: WideReader | undefined;
}

export interface RelayResult {
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly ended: 'closed' | 'agent_reset' | 'origin_reset' | 'idle' | 'gate' | AbortReason;
  /** Why the gate did not open. */
  readonly failure: FlowFailure | undefined;
}

/** Relays until both sides are closed. `onEnd` is called exactly once. */
export function relay(
  flow: Flow,
  agent: RelayEnd,
  origin: RelayEnd,
  permittedBy: NonNullable<Flow['handler']>['permittedBy'],
  onEnd: (result: RelayResult) => void,
): void {
  const up = new Direction(flow, agent, origin);
  const down = new Direction(flow, origin, agent);
  let ended: RelayResult['ended'] | undefined;
  let failure: FlowFailure | undefined;
  let open = 2;
  const reset = (why: RelayResult['ended']): void => {
    ended ??= why;
    resetConnection(agent.raw, agent.stream);
    resetConnection(origin.raw, origin.stream);
  };
  const { promise, resolve } = Promise.withResolvers<void>();
  flow.recorded = promise;
  const closed = (): void => {
    if (--open > 0) return;
    onEnd({ bytesUp: up.bytes, bytesDown: down.bytes, ended: ended ?? 'closed', failure });
    resolve();
  };
  for (const [side, other, why] of [
    [agent, origin, 'agent_reset'],
    [origin, agent, 'origin_reset'],
  ] as const) {
    side.stream.on('error', () => reset(why));
    side.stream.once('close', () => {
      // A side that is gone before both have ended in order cannot be served any more.
      if (!side.stream.readableEnded || !side.stream.writableFinished) reset(why);
      else if (!other.stream.writableEnded) other.stream.end();
      closed();
    });
  }
  flow.handler = {
    onTimeout: () => reset('idle'),
    onDrain: () => undefined,
    permittedBy,
    abort: reset,
  };
  flow.allowIdle(flow.deps.options.idleTimeoutMs);
  up.start((why) => {
    failure = why;
    reset('gate');
  });
  down.start(() => undefined);
}

class Direction {
  bytes = 0;
  readonly #flow: Flow;
  readonly #from: RelayEnd;
  readonly #to: RelayEnd;

  constructor(flow: Flow, from: RelayEnd, to: RelayEnd) {
    this.#flow = flow;
    this.#from = from;
    this.#to = to;
  }

  start(onWrong: (failure: FlowFailure) => void): void {
    const { first, gate } = this.#from;
    if (first !== undefined) this.#pass(first);
    if (gate === undefined) this.#listen();
    else gate.wait((held) => this.#goOn(held), onWrong);
  }

  #goOn(held: Buffer): void {
    if (held.length > 0) this.#pass(held);
    this.#listen();
  }

  #listen(): void {
    const source = this.#from.stream;
    const sink = this.#to.stream;
    const { reader } = this.#from;
    if (!source.readableEnded) source.once('end', () => sink.end());
    if (reader !== undefined) {
      reader.start(source, sink, (bytes) => this.#count(bytes));
      source.resume();
      return;
    }
    source.on('data', (chunk: Buffer) => this.#pass(chunk));
    sink.on('drain', () => source.resume());
    // A FIN that came before the relay has had its 'end' already.
    if (source.readableEnded) sink.end();
    else if (!sink.writableNeedDrain) source.resume();
  }

  #count(bytes: number): void {
    this.bytes += bytes;
    this.#flow.touch();
  }

  #pass(chunk: Buffer): void {
    this.#count(chunk.length);
    if (!this.#to.stream.write(chunk)) this.#from.stream.pause();
  }
}
