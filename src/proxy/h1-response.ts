/**
 * The response side of an HTTP/1.1 exchange: heads are read strictly, bodies pass as they came (threats 9, 12).
 * Interim responses (1xx) are passed on; a 101 only where this request asked for it and the origin answered validly.
 */
import { FlowFailure } from '../domain/failure.ts';
import { BodyScanner } from '../wire/http1-body.ts';
import { forwardResponseHead } from '../wire/http1-forward.ts';
import { parseResponseHead, type ResponseHead } from '../wire/http1-head.ts';
import type { BodyGate } from './body-gate.ts';
import type { H1Connection } from './h1-connection.ts';
import type { H1Exchange } from './h1-exchange.ts';
import { isValidSwitch, isWebSocketRequest } from './upgrade.ts';

/** Trailer fields of one message, together. */
export const MAX_TRAILER_BYTES = 16 * 1024;
/** Interim responses of one request; more is an origin that never answers. */
const MAX_INTERIM_RESPONSES = 32;

export class H1Response {
  /** Some byte of a response has gone to the agent: it can no longer be refused. */
  begun = false;
  readonly #exchange: H1Exchange;
  readonly #gate: BodyGate;
  readonly #connection: H1Connection;
  #stash: Buffer | undefined;
  /** Of the answer that was passed on. */
  head: ResponseHead | undefined;
  #body: BodyScanner | undefined;
  #interim = 0;
  #keepAlive = false;
  /** The final response, the switch, or an error is here: no more heads are read. */
  #settled = false;

  constructor(exchange: H1Exchange, gate: BodyGate) {
    this.#exchange = exchange;
    this.#gate = gate;
    this.#connection = exchange.connection;
  }

  onBytes(chunk: Buffer): void {
    if (this.#body !== undefined) {
      this.#relayBody(this.#body, chunk, 0, 0);
      return;
    }
    const input = this.#stash === undefined ? chunk : Buffer.concat([this.#stash, chunk]);
    this.#stash = undefined;
    this.#readHeads(input);
  }

  /** The origin has closed. `done` where that was the response's proper end. */
  onEnd(error: Error | undefined): 'done' | 'lost' {
    if (this.head?.framing.kind !== 'until_close' || error !== undefined) return 'lost';
    this.#exchange.responded(false, false);
    return 'done';
  }

  #readHeads(input: Buffer): void {
    const { options } = this.#connection.flow.deps;
    let at = 0;
    while (at < input.length && !this.#settled) {
      const result = parseResponseHead(input, at, this.#exchange.head.method, options);
      if (result.kind === 'incomplete') {
        this.#stash = at === 0 ? input : input.subarray(at);
        return;
      }
      if (result.kind === 'bad') {
        this.#malformed(result.detail);
        return;
      }
      this.#onHead(result.head, input, at);
      at += result.head.bytes;
    }
  }

  #onHead(head: ResponseHead, input: Buffer, start: number): void {
    const end = start + head.bytes;
    const raw = input.subarray(start, end);
    if (head.status === 101) this.#switch(head, raw, input.subarray(end));
    else if (head.status >= 200) this.#final(head, raw, input, start);
    else if (++this.#interim > MAX_INTERIM_RESPONSES) this.#malformed('too many interim responses');
    else if (this.#exchange.head.minor === 1) this.#interimDown(raw, head);
  }

  /** Fields of an interim response would pass a rule on responses by, so there the agent gets a bare 100 and no others. */
  #interimDown(raw: Buffer, head: ResponseHead): void {
    if (!this.#gate.checksResponse) this.#down(forwardResponseHead(raw, head, { close: false, upgrade: false }));
    else if (head.status === 100) this.#exchange.sendContinue();
  }

  #final(head: ResponseHead, raw: Buffer, input: Buffer, start: number): void {
    const { framing } = head;
    this.#settled = true;
    if (framing.kind === 'chunked' && this.#exchange.head.minor === 0) {
      this.#malformed('chunked to an HTTP/1.0 request');
      return;
    }
    if (!this.#admits(head)) return;
    this.head = head;
    this.#exchange.record.status = head.status;
    this.begun = true;
    this.#keepAlive = this.#agentKeepsAlive() && framing.kind !== 'until_close';
    const forwarded = forwardResponseHead(raw, head, { close: !this.#keepAlive, upgrade: false });
    const body = new BodyScanner(framing, { strictChunks: false, maxTrailerBytes: MAX_TRAILER_BYTES });
    this.#body = body;
    const bodyStart = start + head.bytes;
    const unchanged = forwarded === raw;
    if (!unchanged) this.#down(forwarded);
    // Unchanged head and body leave in one write.
    this.#relayBody(body, input, bodyStart, unchanged ? start : bodyStart);
  }

  /** Relays `chunk` from `from`; the body begins at `start`. */
  #relayBody(body: BodyScanner, chunk: Buffer, start: number, from: number): void {
    const end = start < chunk.length ? body.feed(chunk, start) : start;
    if (body.error !== undefined) {
      this.#malformed(body.error);
      return;
    }
    if (end > from) this.#down(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end));
    // Bytes after a response belong to no request: the connection they came on is not used again.
    if (body.done) this.#exchange.responded(this.head?.keepAlive === true && end === chunk.length, this.#keepAlive);
  }

  #switch(head: ResponseHead, raw: Buffer, rest: Buffer): void {
    this.#settled = true;
    const request = this.#exchange.head;
    if (!isWebSocketRequest(request) || !isValidSwitch(request, head)) {
      this.#malformed('101 that answers no WebSocket handshake of this request');
      return;
    }
    if (!this.#admits(head)) return;
    this.head = head;
    this.begun = true;
    this.#exchange.record.status = 101;
    this.#exchange.upgraded(forwardResponseHead(raw, head, { close: false, upgrade: true }), rest);
  }

  /** Whether this final answer may go to the agent; if not, the agent has been told, and the origin is cut off. */
  #admits(head: ResponseHead): boolean {
    const block = this.#gate.checksResponse ? this.#gate.refusalOf(head, this.#exchange.record) : undefined;
    if (block !== undefined) this.#exchange.block(block);
    return block === undefined;
  }

  /** RFC 9112 section 9.3: a proxy keeps no connection with an HTTP/1.0 client, whatever that asks for. */
  #agentKeepsAlive(): boolean {
    const { head, requestDone } = this.#exchange;
    const asked = head.keepAlive && head.minor === 1;
    return asked && requestDone && !this.#connection.exhausted && !this.#connection.flow.draining;
  }

  #down(bytes: Buffer): void {
    this.#exchange.record.bytesDown += bytes.length;
    if (!this.#connection.stream.write(bytes)) this.#exchange.pauseUpstream();
  }

  #malformed(detail: string): void {
    this.#settled = true;
    this.#connection.discardUpstream();
    this.#exchange.fail(new FlowFailure('origin_malformed', { detail }));
  }
}
