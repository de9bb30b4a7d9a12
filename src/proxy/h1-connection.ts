/**
 * One HTTP/1.1 connection from an agent: reads heads, runs one exchange at a time, keeps the connection or closes it.
 * The same code serves the explicit door, plain HTTP inside a CONNECT, and decrypted TLS; site.ts is the difference.
 *   1. bytes become a head (strict; absolute deadline from its first byte)
 *   2. the head becomes an exchange, which decides and relays (h1-exchange.ts)
 *   3. what follows the request waits until the exchange is done: one in, one out (threat 9)
 *   4. the upstream stays with this connection while both sides keep it alive, then goes back to the pool
 */
import type { Socket } from 'node:net';
import type { FailureReason } from '../domain/failure.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import { resetConnection } from '../upstream/reset.ts';
import { parseRequestHead, type RequestHead } from '../wire/http1-head.ts';
import { failureRefusal, refusalBytes } from '../wire/refusal.ts';
import { readDirectly, stopDirectReads } from './direct-reads.ts';
import type { ExchangeRecord } from './exchange-record.ts';
import type { Flow } from './flow.ts';
import { H1Exchange } from './h1-exchange.ts';
import { H1Upstream } from './h1-upstream.ts';
import { failedFlow } from './outcome.ts';
import { closeAfter } from './refuse.ts';
import { relay } from './relay.ts';
import type { Site, UpstreamConnection } from './site.ts';

/** A request that is not proxied: it takes the socket over (CONNECT), or has its answer at hand (health). */
export type SpecialRequest =
  | { readonly kind: 'takeover'; serve(rest: Buffer): void }
  | { readonly kind: 'answer'; readonly bytes: Buffer };

export class H1Connection {
  readonly flow: Flow;
  readonly stream: Socket;
  readonly site: Site;
  special: ((head: RequestHead) => SpecialRequest | undefined) | undefined;
  /** The agent has sent its FIN; what it asked for is still answered. */
  agentEnded = false;
  /** Whether a new rule set would still admit this connection. */
  readonly permittedBy: (rules: RuleSet) => boolean;
  #pending: Buffer | undefined;
  #exchange: H1Exchange | undefined;
  #upstream: H1Upstream | undefined;
  /** It has made a request, and may well make another. */
  #seasoned = false;
  #headStarted = false;
  #closed = false;

  constructor(flow: Flow, stream: Socket, site: Site, permittedBy: (rules: RuleSet) => boolean) {
    this.flow = flow;
    this.stream = stream;
    this.site = site;
    this.permittedBy = permittedBy;
  }

  /** `first`: bytes that were read already. */
  start(first: Buffer | undefined): void {
    const { flow, stream } = this;
    flow.handler = {
      onTimeout: () => this.#onTimeout(),
      onDrain: () => this.#onDrain(),
      onRest: () => this.#onRest(),
      permittedBy: this.#permitted,
      abort: (why) => this.abort(why),
    };
    flow.allowIdle(flow.deps.options.idleTimeoutMs);
    stream.allowHalfOpen = true;
    readDirectly(stream, this.#onData);
    stream.on('end', this.#onEnd);
    stream.on('drain', this.#onDrained);
    stream.on('close', this.#onClose);
    stream.on('error', this.#onError);
    if (first !== undefined && first.length > 0) this.#onData(first);
    if (this.#closed) return;
    // A FIN that came before us has had its 'end' already.
    if (stream.readableEnded) this.#onEnd();
    else if (this.#exchange === undefined) stream.resume();
  }

  /** The agent asks for nothing more: it has ended its side, and no request of it waits. */
  get exhausted(): boolean {
    return this.agentEnded && this.#pending === undefined;
  }

  /** The upstream for this origin that is at hand without dialling. */
  upstreamAtHand(origin: OriginRequest): H1Upstream | undefined {
    const kept = this.#upstream;
    if (kept?.serves(origin)) return kept;
    this.#letGoUpstream();
    const taken = this.site.take(origin);
    return taken === undefined ? undefined : this.adopt(taken, origin);
  }

  /** Makes a fresh upstream this connection's own. */
  adopt(connection: UpstreamConnection, origin: OriginRequest): H1Upstream {
    this.#upstream = new H1Upstream(connection, origin, () => {
      this.#upstream = undefined;
    });
    return this.#upstream;
  }

  /** The exchange is over and recorded. */
  finished(keepAlive: boolean): void {
    this.#exchange = undefined;
    if (!keepAlive || this.flow.draining) {
      this.#close();
      return;
    }
    this.#headStarted = false;
    this.flow.allowIdle(this.flow.deps.options.idleTimeoutMs);
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.#advance(pending);
    else if (!this.#seasoned && this.#upstream !== undefined && this.site.lacks(this.#upstream.connection)) {
      // Many clients make one request for each connection, and an upstream for each would be a handshake each.
      this.#letGoUpstream();
    }
    this.#seasoned = true;
    if (this.#closed || this.#exchange !== undefined) return;
    if (this.agentEnded) this.#close();
    else this.stream.resume();
  }

  /** Ends the connection with an answer that says why; the exchange, if any, has been recorded. */
  refuse(bytes: Buffer): void {
    this.detach();
    this.discardUpstream();
    closeAfter(this.flow, this.stream, bytes);
  }

  /** Ends the connection without a word: what was begun cannot be completed truthfully. */
  abort(why: FailureReason = 'client_closed'): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.detach();
    this.discardUpstream();
    exchange?.onAborted(why);
    resetConnection(this.flow.raw, this.stream);
  }

  /** Takes our listeners off the stream; whoever serves it next brings its own. Returns bytes that were not used. */
  detach(): Buffer | undefined {
    const { stream } = this;
    this.#closed = true;
    stopDirectReads(stream, this.#onData);
    stream.off('end', this.#onEnd);
    stream.off('drain', this.#onDrained);
    stream.off('close', this.#onClose);
    // Who opened the stream listens for errors as well; ours would keep us for as long as a tunnel lives.
    stream.off('error', this.#onError);
    return this.#pending;
  }

  /** After a 101: both sockets are relayed unread; the exchange's record is written when that ends. */
  relayUpgrade(head: Buffer, rest: Buffer, record: ExchangeRecord): void {
    const { connection } = this.#upstream as H1Upstream;
    const early = this.detach();
    this.#upstream?.detach();
    this.#upstream = undefined;
    this.stream.write(head);
    relay(
      this.flow,
      { stream: this.stream, raw: this.flow.raw, first: early },
      { stream: connection.socket, raw: connection.raw, first: rest.length > 0 ? rest : undefined },
      this.#permitted,
      (result) => {
        record.bytesUp += result.bytesUp;
        record.bytesDown += head.length + result.bytesDown;
        record.allowed();
      },
    );
  }

  readonly #permitted = (rules: RuleSet): boolean =>
    this.permittedBy(rules) && this.#exchange?.permittedBy(rules) !== false;

  readonly #onData = (chunk: Buffer): void => {
    const exchange = this.#exchange;
    this.flow.touch();
    if (exchange === undefined) {
      this.#advance(this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]));
      return;
    }
    const used = exchange.requestDone ? 0 : exchange.onRequestBytes(chunk, 0);
    if (used < chunk.length && !this.#closed) this.#stash(used === 0 ? chunk : chunk.subarray(used));
  };

  readonly #onEnd = (): void => {
    this.agentEnded = true;
    if (this.#exchange === undefined) this.#close();
    else if (!this.#exchange.requestDone) this.abort();
  };

  /** The last bytes of a response may have paused the upstream: it must read on for the next one. */
  readonly #onDrained = (): void => {
    this.#upstream?.connection.socket.resume();
  };

  readonly #onError = (): void => {
    this.stream.destroy();
  };

  readonly #onClose = (): void => {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.detach();
    if (exchange === undefined) this.#letGoUpstream();
    else this.discardUpstream();
    exchange?.onAborted('client_closed');
    this.#recordIfSilent();
  };

  #advance(input: Buffer): void {
    const { options } = this.flow.deps;
    const result = parseRequestHead(input, 0, options);
    this.#pending = result.kind === 'incomplete' ? input : undefined;
    switch (result.kind) {
      case 'incomplete':
        if (!this.#headStarted) this.flow.expectWithin(options.headTimeoutMs);
        this.#headStarted = true;
        return;
      case 'bad':
        this.#refuseUnread(result.reason, result.detail);
        return;
      case 'head':
        this.#begin(result.head, input);
        return;
    }
  }

  #begin(head: RequestHead, input: Buffer): void {
    const special = this.special?.(head);
    if (special !== undefined) {
      this.#serveSpecial(special, input.subarray(head.bytes));
      return;
    }
    this.flow.allowIdle(this.flow.deps.options.idleTimeoutMs);
    const exchange = new H1Exchange(this, head, input);
    this.#exchange = exchange;
    const used = exchange.begin();
    if (used < input.length && !this.#closed) this.#stash(input.subarray(used));
  }

  #serveSpecial(special: SpecialRequest, rest: Buffer): void {
    this.#letGoUpstream();
    if (special.kind === 'answer') {
      this.refuse(special.bytes);
      return;
    }
    this.detach();
    this.stream.pause();
    special.serve(rest);
  }

  #stash(bytes: Buffer): void {
    this.#pending = this.#pending === undefined ? bytes : Buffer.concat([this.#pending, bytes]);
    this.stream.pause();
  }

  #refuseUnread(reason: FailureReason, detail: string | undefined): void {
    const refusal = failureRefusal(reason, undefined);
    failedFlow(this.flow, { reason, detail }, { ...this.site.fields, status: refusal.status });
    this.refuse(refusalBytes(refusal, { head: false, close: true }));
  }

  #onTimeout(): void {
    if (this.#exchange !== undefined) this.#exchange.onTimeout();
    else if (this.#headStarted || this.#pending !== undefined) this.#refuseUnread('header_timeout', undefined);
    else this.#close();
  }

  #onDrain(): void {
    if (this.#exchange === undefined && this.#pending === undefined) this.#close();
  }

  /** Another connection of this agent may use it meanwhile; and an upstream is half of what a connection weighs. */
  #onRest(): void {
    if (this.#exchange === undefined) this.#letGoUpstream();
  }

  /** An orderly close with nothing under way. */
  #close(): void {
    this.detach();
    this.#letGoUpstream();
    this.#recordIfSilent();
    closeAfter(this.flow, this.stream, Buffer.alloc(0));
  }

  /** A decrypted connection that never carried a request is worth a record: a pinned client looks like this. */
  #recordIfSilent(): void {
    if (this.flow.records > 0 || this.site.taken !== 'intercept') return;
    failedFlow(this.flow, { reason: 'client_closed', detail: 'closed_before_request' }, this.site.fields);
  }

  #letGoUpstream(): void {
    const kept = this.#upstream;
    this.#upstream = undefined;
    kept?.detach();
    if (kept !== undefined) this.site.release(kept.connection);
  }

  /** The upstream cannot be used again. */
  discardUpstream(): void {
    this.#upstream?.destroy();
    this.#upstream = undefined;
  }
}
