/**
 * An agent's stream joined to its counterpart at the origin: interim responses, head, body and trailers pass unbuffered,
 * each body under the flow control of both sides. What was cut off never ends as if it were whole, and nothing that
 * an origin says can throw (threats 9, 10). Decides nothing and records nothing.
 */
import {
  type ClientHttp2Stream,
  constants,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
  type ServerStreamResponseOptions,
} from 'node:http2';
import { fieldValue, type HeaderList } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import { h2TrailerProblem } from '../wire/http2-headers.ts';

/** As over HTTP/1.1: an origin that goes on for ever never answers. */
const MAX_INTERIM_RESPONSES = 32;

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
  onOriginLost(code: number): void;
  fail(failure: FlowFailure): void;
}

export class H2Relay {
  readonly #down: ServerHttp2Stream;
  readonly #up: ClientHttp2Stream;
  readonly #owner: RelayOwner;
  readonly #responseEnded: () => boolean;
  #requestDone = false;
  #interim = 0;
  #trailersUp: OutgoingHttpHeaders = {};
  #trailersDown: OutgoingHttpHeaders = {};
  /** Bytes that Content-Length promises the agent and that have not passed yet; undefined where it does not say. */
  #owed: number | undefined;
  #over = false;

  /** Takes over `up`, which was made in this turn. */
  constructor(down: ServerHttp2Stream, up: ClientHttp2Stream, owner: RelayOwner) {
    this.#down = down;
    this.#up = up;
    this.#owner = owner;
    this.#responseEnded = watchEnd(up);
    up.on('headers', (_headers, _flags, raw?: string[]) => this.#onInterim(raw ?? []));
    up.once('response', (_headers, flags, raw?: string[]) =>
      this.#onHead(raw ?? [], (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0),
    );
    up.once('trailers', (_headers: unknown, _flags: number, raw?: string[]) => this.#onTrailers(raw ?? []));
    // Both streams wait for trailers, be there any or not: only so does close() send RST_STREAM without END_STREAM.
    up.once('wantTrailers', () => sendTrailers(up, this.#trailersUp));
    up.once('end', () => this.#onEnd());
    up.once('close', () => this.#onClosed());
    up.on('error', () => undefined);
    up.on('drain', () => down.resume());
    down.on('drain', () => up.resume());
  }

  /** The agent has the whole body, though the origin may not have said so yet. */
  get delivered(): boolean {
    return this.#owed === 0;
  }

  /** A part of the request's body. */
  write(chunk: Buffer): void {
    if (this.#over || !this.#up.writable) return;
    this.#owner.onBytes(chunk.length, 0);
    if (!this.#up.write(chunk)) this.#down.pause();
  }

  /** The request is whole; `trailers` flat, as they came. */
  endRequest(trailers: HeaderList): void {
    this.#requestDone = true;
    this.#trailersUp = fieldsOf(trailers);
    this.#up.end();
  }

  /** Nothing more passes; the origin is told with `code`. */
  cancel(code: number): void {
    this.#over = true;
    this.#up.close(code);
  }

  #onInterim(raw: string[]): void {
    const down = this.#down;
    if (this.#over || down.closed || down.headersSent) return;
    if (++this.#interim > MAX_INTERIM_RESPONSES) this.#malformed('too many interim responses');
    else if (!this.#owner.checksResponse) this.#orMalformed(() => down.additionalHeaders(fieldsOf(raw)));
    // As over HTTP/1.1: a bare 100, and no other.
    else if (statusOf(raw) === 100) down.additionalHeaders({ ':status': 100 });
  }

  #onHead(raw: string[], endStream: boolean): void {
    const down = this.#down;
    if (this.#over || down.closed) return;
    if (!this.#owner.admits(raw)) return;
    const status = statusOf(raw);
    if (!endStream) down.once('wantTrailers', () => this.#sendTrailers());
    const length = fieldValue(raw, 'content-length');
    if (length !== undefined) this.#owed = Number(length);
    // Without sendDate node:http2 would add a Date of its own; the types do not know it.
    const options = { endStream, waitForTrailers: !endStream, sendDate: false } as ServerStreamResponseOptions;
    this.#orMalformed(() => {
      down.respond(raw as never, options);
      this.#owner.onStatus(status);
      // Only now: node:http2 may give the first bytes of a body before it gives the head that came before them.
      this.#up.on('data', (chunk: Buffer) => this.#onBody(chunk));
    });
  }

  #onBody(chunk: Buffer): void {
    if (this.#over || !this.#down.writable) return;
    this.#owner.onBytes(0, chunk.length);
    if (this.#owed !== undefined) this.#owed -= chunk.length;
    if (!this.#down.write(chunk)) this.#up.pause();
  }

  #onTrailers(raw: string[]): void {
    const problem = h2TrailerProblem(raw, 'response');
    if (problem === undefined) this.#trailersDown = fieldsOf(raw);
    else this.#malformed(problem);
  }

  /** After the last byte of the response's body. */
  #sendTrailers(): void {
    sendTrailers(this.#down, this.#trailersDown);
    // node:http2 sends them in its next turn; what the agent still sends is wanted by nobody (RFC 9113 section 8.1).
    if (!this.#requestDone) setImmediate(() => this.#down.close(constants.NGHTTP2_NO_ERROR));
  }

  #onEnd(): void {
    if (this.#over || !this.#responseEnded()) return;
    this.#over = true;
    this.#owner.onResponded();
    const hadBody = this.#down.writable;
    this.#down.end();
    if (this.#requestDone) return;
    // Once the origin has ended its side, close() would end ours as if the request were whole.
    this.#up.destroy(new Error('the response came before the end of the request'));
    this.#down.resume();
    if (!hadBody) this.#down.close(constants.NGHTTP2_NO_ERROR);
  }

  #onClosed(): void {
    if (this.#over) return;
    this.#over = true;
    this.#owner.onOriginLost(this.#up.rstCode ?? constants.NGHTTP2_INTERNAL_ERROR);
  }

  /** node:http2 refuses to write some of what it reads, such as HTTP2-Settings. */
  #orMalformed(write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#malformed((error as Error).message);
    }
  }

  #malformed(detail: string): void {
    this.cancel(constants.NGHTTP2_PROTOCOL_ERROR);
    this.#owner.fail(new FlowFailure('origin_malformed', { detail }));
  }
}

/** What node:http2 will not send makes the message one that was cut off. */
function sendTrailers(stream: ClientHttp2Stream | ServerHttp2Stream, fields: OutgoingHttpHeaders): void {
  try {
    stream.sendTrailers(fields);
  } catch {
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
}

/**
 * Whether the peer ended the stream by END_STREAM. After a RST_STREAM with NO_ERROR node:http2 gives the same 'end' and
 * the same code; the difference is that the stream is closed by then.
 */
function watchEnd(stream: ClientHttp2Stream): () => boolean {
  let ended = false;
  const push = stream.push.bind(stream);
  stream.push = (chunk, encoding) => {
    if (chunk === null && !stream.closed) ended = true;
    return push(chunk, encoding);
  };
  return () => ended;
}

function statusOf(raw: HeaderList): number {
  return Number(raw[raw.indexOf(':status') + 1]);
}

/** node:http2 takes interim heads and trailers as an object only; repeated names keep their own lines. */
function fieldsOf(raw: HeaderList): OutgoingHttpHeaders {
  const fields = Object.create(null) as Record<string, string | string[]>;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    const before = fields[name];
    fields[name] = before === undefined ? value : [before, value].flat();
  }
  return fields;
}
