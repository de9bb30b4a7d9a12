/**
 * An agent's stream joined to its counterpart at the origin: interim responses, head, body and trailers pass unbuffered,
 * each body under the flow control of both sides. What was cut off never ends as if it were whole, and nothing that
 * an origin says can throw (threats 9, 10). Decides nothing and records nothing.
 */
import type { HeaderList } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import { H2_CODE } from '../wire/http2-frames.ts';
import { h2TrailerProblem } from '../wire/http2-headers.ts';
import type { H2Stream, NeverIndexed, StreamUser } from './h2-stream.ts';
import type { OriginSession } from './h2-upstream.ts';

/** As over HTTP/1.1: an origin that goes on for ever never answers. */
const MAX_INTERIM_RESPONSES = 32;
/** A bare interim response. */
export const CONTINUE: HeaderList = [':status', '100'];
const NO_CONTENT = 204;
const NOT_MODIFIED = 304;

export interface RelayOwner {
  /** A rule looks at the answer before the agent does. */
  readonly checksResponse: boolean;
  /** Whether the answer with this head (flat, as it came) may pass; if not, it is refused by now. */
  admits(raw: HeaderList): boolean;
  /** The response's head was passed on. */
  onStatus(status: number): void;
  /** Bytes of a body passed. */
  onBytes(up: number, down: number): void;
  /** The response is whole. */
  onResponded(): void;
  /** The origin's stream ended before its response was whole; `code` as in RFC 9113 section 7. */
  onOriginLost(code: number, why: string): void;
  fail(failure: FlowFailure): void;
}

export class H2Relay implements StreamUser {
  readonly #down: H2Stream;
  readonly #origin: OriginSession;
  readonly #owner: RelayOwner;
  readonly #isHead: boolean;
  #up: H2Stream | undefined;
  #interim = 0;
  /** Bytes that Content-Length promises the agent and that have not passed yet; undefined where it does not say. */
  #owed: number | undefined;
  #over = false;

  constructor(down: H2Stream, origin: OriginSession, owner: RelayOwner, method: string) {
    this.#down = down;
    this.#origin = origin;
    this.#owner = owner;
    this.#isHead = method === 'HEAD';
  }

  /** Asks the origin; `section` must not change any more. */
  start(section: HeaderList, neverIndexed: NeverIndexed, endStream: boolean): void {
    this.#up = this.#origin.request(this, section, neverIndexed, endStream);
  }

  /** The agent has the whole body, though the origin may not have said so yet. */
  get delivered(): boolean {
    return this.#owed === 0;
  }

  /** A part of the request's body. */
  write(bytes: Buffer, start: number, end: number, last: boolean): void {
    if (this.#over) return;
    this.#owner.onBytes(end - start, 0);
    this.#up?.sendData(bytes, start, end, last);
  }

  /** The request is whole, with these trailers. */
  endRequest(trailers: HeaderList | undefined, neverIndexed: NeverIndexed): void {
    this.#up?.finish(trailers, neverIndexed);
  }

  /** So many bytes of the response have left for the agent. */
  onDelivered(bytes: number): void {
    this.#up?.giveBack(bytes);
  }

  /** Nothing more passes; the origin is told with `code`. */
  cancel(code: number): void {
    this.#over = true;
    this.#up?.reset(code);
  }

  onHead(raw: HeaderList, neverIndexed: NeverIndexed, endStream: boolean): void {
    if (this.#over) return;
    const head = this.#origin.readHead(raw);
    if (!head.ok) this.#malformed(head.detail);
    else if (head.value.status < 200) this.#onInterim(raw, neverIndexed, head.value.status, endStream);
    else this.#onFinal(raw, neverIndexed, head.value, endStream);
  }

  onData(bytes: Buffer, start: number, end: number, last: boolean): void {
    if (this.#over) return;
    this.#owner.onBytes(0, end - start);
    if (this.#owed !== undefined) this.#owed -= end - start;
    this.#down.sendData(bytes, start, end, last);
    if (last) this.#responded();
  }

  onTrailers(raw: HeaderList, neverIndexed: NeverIndexed): void {
    if (this.#over) return;
    const problem = h2TrailerProblem(raw, 'response');
    if (problem !== undefined) {
      this.#malformed(problem);
      return;
    }
    this.#down.finish(raw, neverIndexed);
    this.#responded();
  }

  onSent(bytes: number): void {
    this.#down.giveBack(bytes);
  }

  onReset(code: number, fault: string | undefined): void {
    if (fault !== undefined) this.#malformed(fault);
    else this.#lost(code, `stream reset with code ${code}`);
  }

  onLost(why: string): void {
    this.#lost(H2_CODE.internalError, why);
  }

  #onInterim(raw: HeaderList, neverIndexed: NeverIndexed, status: number, endStream: boolean): void {
    if (endStream) this.#malformed('an interim response that ends the stream');
    else if (++this.#interim > MAX_INTERIM_RESPONSES) this.#malformed('too many interim responses');
    else if (!this.#owner.checksResponse) this.#down.sendHead(raw, neverIndexed, false);
    // As over HTTP/1.1: a bare 100, and no other.
    else if (status === 100) this.#down.sendHead(CONTINUE, undefined, false);
  }

  #onFinal(
    raw: HeaderList,
    neverIndexed: NeverIndexed,
    { status, length }: { readonly status: number; readonly length: number | undefined },
    endStream: boolean,
  ): void {
    const up = this.#up as H2Stream;
    up.headCame = true;
    // RFC 9110 section 6.4.1: these have no body, whatever they say.
    const bodyless = this.#isHead || status === NO_CONTENT || status === NOT_MODIFIED;
    up.owed = bodyless ? 0 : (length ?? -1);
    if (endStream && up.owed > 0) {
      this.#malformed('no body, and a content-length');
      return;
    }
    if (!this.#owner.admits(raw)) return;
    this.#owed = length;
    this.#owner.onStatus(status);
    this.#down.sendHead(raw, neverIndexed, endStream);
    if (endStream) this.#responded();
  }

  #responded(): void {
    if (this.#over) return;
    this.#over = true;
    this.#owner.onResponded();
  }

  #lost(code: number, why: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#owner.onOriginLost(code, why);
  }

  #malformed(detail: string): void {
    if (this.#over) return;
    this.cancel(H2_CODE.protocolError);
    this.#owner.fail(new FlowFailure('origin_malformed', { detail }));
  }
}
