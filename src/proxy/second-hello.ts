/**
 * What a client says after its ClientHello, held until the server's first words in a tunnel (threat 1). A server may ask for
 * a second ClientHello (RFC 8446 section 4.1.4), and serves the name of that one: it must be the name that was checked.
 */
import type { Socket } from 'node:net';
import { FlowFailure } from '../domain/failure.ts';
import { readSecondHello } from '../wire/client-hello.ts';
import { asksForSecondHello } from '../wire/server-flight.ts';
import { type Hello, type Peeked, peek } from './peek.ts';

const NO_BYTES = Buffer.alloc(0);
/** RFC 8446 section 5.1. */
const ALERT = 21;

/** Why this may not follow the first hello; undefined where it may. RFC 8446 section 4.1.2 keeps the name as it was. */
export function secondHelloProblem(first: Hello, second: Peeked): FlowFailure | undefined {
  if (second.kind === 'closed' || (second.kind === 'other' && second.bytes[0] === ALERT)) {
    return new FlowFailure('client_closed', { detail: 'during the TLS handshake' });
  }
  if (second.kind !== 'hello') {
    return new FlowFailure('client_hello_malformed', { detail: 'the second ClientHello cannot be read' });
  }
  if (second.hello.sni === first.sni && second.hello.ech === first.ech) return undefined;
  return new FlowFailure('sni_mismatch', { detail: 'the second ClientHello names another server than the first' });
}

export class HelloGate {
  readonly #client: Socket;
  readonly #hello: Hello;
  #held: Buffer;
  /** What the server said, as long as it is too little to tell. */
  #said = NO_BYTES;
  #onOpen: ((held: Buffer) => void) | undefined;
  #onWrong: ((failure: FlowFailure) => void) | undefined;

  /** `held`: what the client has said after its hello. */
  constructor(client: Socket, hello: Hello, held: Buffer) {
    this.#client = client;
    this.#hello = hello;
    this.#held = held;
  }

  /** `onOpen` is called once, with what is to go to the server first, or `onWrong`. */
  wait(onOpen: (held: Buffer) => void, onWrong: (failure: FlowFailure) => void): void {
    this.#onOpen = onOpen;
    this.#onWrong = onWrong;
    // A client that has nothing to say before the server does may still end or break off.
    this.#client.on('data', this.#hold).on('end', this.#ended);
    if (this.#client.readableEnded) this.#ended();
    else if (this.#held.length === 0) this.#client.resume();
  }

  /** Takes what the server says; true: no more is to be shown. */
  look(chunk: Buffer): boolean {
    if (this.#onOpen === undefined) return true;
    const said = this.#said.length === 0 ? chunk : Buffer.concat([this.#said, chunk]);
    const asks = asksForSecondHello(said);
    // The chunk's bytes are not ours to keep.
    if (asks === undefined) this.#said = Buffer.from(said);
    else if (asks) this.#readSecond();
    else this.#open(this.#held);
    return asks !== undefined;
  }

  readonly #hold = (chunk: Buffer): void => {
    this.#held = Buffer.concat([this.#held, chunk]);
    this.#client.pause();
  };

  /** Who is through after one hello sends no second. */
  readonly #ended = (): void => {
    if (this.#held.length === 0) this.#open(NO_BYTES);
  };

  #readSecond(): void {
    const held = this.#held;
    const onOpen = this.#leave();
    peek(
      this.#client,
      held,
      (second) => {
        const problem = secondHelloProblem(this.#hello, second);
        if (problem !== undefined) this.#onWrong?.(problem);
        else if (second.kind === 'hello') onOpen?.(second.bytes);
      },
      readSecondHello,
    );
  }

  #open(held: Buffer): void {
    this.#leave()?.(held);
  }

  #leave(): ((held: Buffer) => void) | undefined {
    const onOpen = this.#onOpen;
    this.#onOpen = undefined;
    this.#held = NO_BYTES;
    this.#said = NO_BYTES;
    this.#client.off('data', this.#hold).off('end', this.#ended);
    return onOpen;
  }
}
