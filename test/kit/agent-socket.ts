/**
 * A client's end of one connection, TCP or TLS, byte by byte: sends in given pieces, reads with deadlines, and tells
 * how the other side ended it. Half-open, so that a test decides itself when to send its FIN.
 */
import type net from 'node:net';
import { type Reply, readReply } from './http1-reply.ts';
import { KIT_DEADLINE_MS, nextTurn, within } from './within.ts';

/** How the peer's side ended: `FIN`, or the code of the error (`ECONNRESET`, ...), or `closed` when by ourselves. */
export type Ending = 'FIN' | 'closed' | (string & {});

export interface RequestText {
  readonly method?: string;
  readonly target: string;
  /** Lines `Name: value`. */
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
}

export class AgentSocket implements AsyncDisposable {
  readonly socket: net.Socket;
  /** Settles when the peer's side has ended. */
  readonly ending: Promise<Ending>;
  /** All bytes received so far, read or not. */
  receivedBytes = 0;
  ended: Ending | undefined;
  #unread: Buffer[] = [];
  #unreadBytes = 0;
  #wake: () => void = () => undefined;
  readonly #tcp: net.Socket;

  /** Takes the socket over: its data, its errors and its end. `tcp` is the socket under it where it is a TLS socket. */
  constructor(socket: net.Socket, tcp: net.Socket = socket) {
    this.socket = socket;
    this.#tcp = tcp;
    socket.setNoDelay(true);
    this.ending = new Promise((resolve) => {
      const end = (how: Ending) => {
        this.ended ??= how;
        resolve(this.ended);
        this.#wake();
      };
      socket.once('end', () => end('FIN'));
      socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
      socket.once('close', () => end('closed'));
    });
    socket.on('data', this.#take);
  }

  /** Writes and resolves when the kernel (or TLS) took it all. */
  async send(data: string | Buffer): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data, (error) =>
        error ? reject(error) : resolve(),
      );
    });
    await within(written, KIT_DEADLINE_MS, 'a write taken by the peer');
  }

  /** Writes each piece on its own, with a turn of the event loop between, so that each is its own segment. */
  async sendPieces(pieces: Iterable<string | Buffer>): Promise<void> {
    for (const piece of pieces) {
      await this.send(piece);
      await nextTurn();
    }
  }

  /** Our FIN; reading goes on. */
  finish(): void {
    this.socket.end();
  }

  /** RST of the TCP connection, also from under TLS. */
  reset(): void {
    this.#tcp.resetAndDestroy();
  }

  async readUntil(marker: string): Promise<Buffer> {
    let at = -1;
    await this.#until(() => {
      at = this.#peek().indexOf(marker, 0, 'latin1');
      return at >= 0;
    }, JSON.stringify(marker));
    return this.#shift(at + marker.length);
  }

  async readExactly(bytes: number): Promise<Buffer> {
    await this.#until(() => this.#unreadBytes >= bytes, `${bytes} bytes`);
    return this.#shift(bytes);
  }

  /** Whatever comes until the peer ends. */
  async readToEnd(): Promise<Buffer> {
    await within(this.ending, KIT_DEADLINE_MS, 'the end of the connection');
    return this.#shift(this.#unreadBytes);
  }

  async readReply(method?: string): Promise<Reply> {
    return readReply(this, method);
  }

  /** Sends one HTTP/1.1 request (Content-Length where there is a body) and reads its response. */
  async request(request: RequestText): Promise<Reply> {
    await this.send(requestText(request));
    return this.readReply(request.method);
  }

  /** Waits for the peer's end and tells how it came. */
  async untilEnded(): Promise<Ending> {
    return within(this.ending, KIT_DEADLINE_MS, 'the end of the connection');
  }

  /** Gives the socket back, paused, for TLS to take over; throws when bytes came that nobody read. */
  release(): net.Socket {
    if (this.#unreadBytes > 0) throw new Error(`unread bytes: ${JSON.stringify(this.#peek().toString('latin1'))}`);
    this.socket.off('data', this.#take);
    this.socket.pause();
    return this.socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.ending;
  }

  readonly #take = (chunk: Buffer): void => {
    this.receivedBytes += chunk.length;
    this.#unreadBytes += chunk.length;
    this.#unread.push(chunk);
    this.#wake();
  };

  #peek(): Buffer {
    if (this.#unread.length > 1) this.#unread = [Buffer.concat(this.#unread)];
    return this.#unread[0] ?? Buffer.alloc(0);
  }

  #shift(bytes: number): Buffer {
    const all = this.#peek();
    this.#unread = bytes < all.length ? [all.subarray(bytes)] : [];
    this.#unreadBytes -= bytes;
    return all.subarray(0, bytes);
  }

  async #until(ready: () => boolean, what: string): Promise<void> {
    const come = async () => {
      while (!ready()) {
        if (this.ended !== undefined) {
          const got = JSON.stringify(this.#peek().subarray(0, 300).toString('latin1'));
          throw new Error(`${this.ended} before ${what}; unread: ${got}`);
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    };
    await within(come(), KIT_DEADLINE_MS, what);
  }
}

/** The bytes of a request, as text. */
function requestText({ method = 'GET', target, headers = [], body }: RequestText): Buffer {
  const payload = Buffer.from(body ?? '');
  const lines = [`${method} ${target} HTTP/1.1`, ...headers];
  if (body !== undefined) lines.push(`Content-Length: ${payload.length}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), payload]);
}
