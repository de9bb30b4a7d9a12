// The generator's client: opens a lane (TCP, CONNECT, verified TLS) and repeats one request on it. Its HTTP/1.1 knows answers with
// Content-Length only and accepts nothing but 200; it is no general client. HTTP/2 is h2-lane.ts.
import net from 'node:net';
import tls from 'node:tls';
import { H2Lane } from './h2-lane.ts';
import type { Exchange, Route } from './jobs.ts';

const HEAD_END = Buffer.from('\r\n\r\n');
const READ_BYTES = 256 * 1024;
const KEY_GROUP = 'X25519'; // without the post-quantum share, which costs the generator more than the peers that ignore it
const CONNECT_LIMIT_MS = 20_000;

/** Called after each answer with its time and body size; false ends the repetition. */
export type OnAnswer = (ms: number, bodyBytes: number) => boolean;

export class Client {
  private readonly route: Route;
  private readonly context: tls.SecureContext | undefined;
  /** Without TLS every read of every lane goes here: a tunnel's bytes come faster than fresh buffers can be made. */
  private readonly buffer = Buffer.allocUnsafe(READ_BYTES);
  private dialled = 0;

  constructor(route: Route) {
    this.route = route;
    this.context = route.ca === undefined ? undefined : tls.createSecureContext({ ca: route.ca, ecdhCurve: KEY_GROUP });
  }

  /** A lane on which nothing has been requested yet. Rejects when CONNECT is refused or the peer is not verified. */
  async open(exchange: Exchange): Promise<Lane | H2Lane> {
    const inbox = new Inbox();
    const raw = this.dial(inbox);
    raw.setTimeout(CONNECT_LIMIT_MS, () => raw.destroy(new Error('timed out while connecting')));
    await event(raw, 'connect');
    if (this.route.connect) await tunnel(raw, inbox, `${exchange.host}:${this.route.originPort}`);
    const socket = this.context === undefined ? raw : await this.handshake(raw, exchange, this.context);
    if (socket !== raw) socket.on('data', inbox.take);
    raw.setTimeout(0);
    const { originPort } = this.route;
    if (exchange.streams !== undefined) return new H2Lane(socket, inbox, exchange, originPort);
    return new Lane(socket, inbox, requestBytes(exchange, originPort));
  }

  private dial(inbox: Inbox): net.Socket {
    const { port, sources = [] } = this.route;
    const localAddress = sources[this.dialled++ % sources.length];
    const from = localAddress === undefined ? {} : { localAddress };
    const to = { host: '127.0.0.1', port, noDelay: true, ...from };
    if (this.context !== undefined) return net.connect(to);
    const callback = (bytes: number, buffer: Uint8Array): boolean => {
      inbox.take(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
      return true;
    };
    return net.connect({ ...to, onread: { buffer: this.buffer, callback } });
  }

  private async handshake(
    raw: net.Socket,
    { host, streams }: Exchange,
    context: tls.SecureContext,
  ): Promise<tls.TLSSocket> {
    const protocol = streams === undefined ? 'http/1.1' : 'h2';
    const socket = tls.connect({ socket: raw, servername: host, secureContext: context, ALPNProtocols: [protocol] });
    await event(socket, 'secureConnect');
    if (protocol === 'h2' && socket.alpnProtocol !== 'h2') throw new Error('the peer does not speak h2');
    return socket;
  }
}

async function tunnel(raw: net.Socket, inbox: Inbox, authority: string): Promise<void> {
  raw.on('data', inbox.take);
  const answer = inbox.head();
  raw.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const closed = event(raw, 'close').then(() => 'nothing');
  const text = await Promise.race([answer, closed]);
  if (!/^HTTP\/1\.[01] 200 /.test(text)) throw new Error(`CONNECT was answered ${JSON.stringify(text.slice(0, 60))}`);
  raw.off('data', inbox.take);
}

/** Where a socket's bytes go; the tunnel reads its answer from it first, then the lane. */
class Inbox {
  sink: (chunk: Buffer) => void = () => {};
  readonly take = (chunk: Buffer): void => this.sink(chunk);

  head(): Promise<string> {
    return new Promise((resolve) => {
      let text = '';
      this.sink = (chunk) => {
        text += chunk.toString('latin1');
        if (text.includes('\r\n\r\n')) resolve(text);
      };
    });
  }
}

function event(socket: net.Socket, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      socket.off(name, onEvent).off('error', settle).off('close', onClose);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onEvent = (): void => settle();
    const onClose = (): void => settle(new Error(`closed while waiting for ${name}`));
    socket.once(name, onEvent).once('error', settle).once('close', onClose);
  });
}

/** The port belongs in Host since it is not the scheme's own (RFC 9110 section 7.2). */
function requestBytes(exchange: Exchange, port: number): Buffer {
  const length = exchange.method === 'POST' ? `Content-Length: ${exchange.requestBytes}\r\n` : '';
  const fields = `User-Agent: bench\r\nAccept: */*\r\n${length}`;
  const head = `${exchange.method} ${exchange.path} HTTP/1.1\r\nHost: ${exchange.host}:${port}\r\n${fields}\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.alloc(exchange.requestBytes, 'y')]);
}

/** One open connection with one request prepared for it. */
export class Lane {
  private readonly socket: net.Socket;
  private readonly request: Buffer;
  private onAnswer: OnAnswer = () => false;
  private finish: (error?: Error) => void = () => {};
  private sentMs = 0;
  private partialHead: Buffer | undefined;
  private bodyBytes = 0;
  private missingBytes = 0;

  constructor(socket: net.Socket, inbox: Inbox, request: Buffer) {
    this.socket = socket;
    this.request = request;
    inbox.sink = (chunk) => this.read(chunk);
    socket.on('error', (error) => this.finish(error));
    socket.on('close', () => this.finish(new Error('closed in the middle')));
  }

  /** Sends the request and again after each answer, until `onAnswer` says false. */
  repeat(onAnswer: OnAnswer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onAnswer = onAnswer;
      this.finish = (error) => (error === undefined ? resolve() : reject(error));
      this.send();
    });
  }

  /** One request; gives the size of the answer's body. */
  async exchange(): Promise<number> {
    let size = 0;
    await this.repeat((_ms, bytes) => {
      size = bytes;
      return false;
    });
    return size;
  }

  close(): void {
    this.finish = () => {};
    this.socket.destroy();
  }

  private send(): void {
    this.sentMs = performance.now();
    this.socket.write(this.request);
  }

  private read(chunk: Buffer): void {
    if (this.missingBytes > 0) this.missingBytes -= chunk.length;
    else if (!this.readHead(chunk)) return;
    if (this.missingBytes > 0) return;
    if (this.missingBytes < 0) this.socket.destroy(new Error('more bytes than the answer said'));
    else if (this.onAnswer(performance.now() - this.sentMs, this.bodyBytes)) this.send();
    else this.finish();
  }

  /** False when the head goes on in the next chunk, or is not one we take. */
  private readHead(chunk: Buffer): boolean {
    const input = this.partialHead === undefined ? chunk : Buffer.concat([this.partialHead, chunk]);
    const end = input.indexOf(HEAD_END);
    this.partialHead = end === -1 ? Buffer.from(input) : undefined; // a copy: the buffer is read into again
    if (end === -1) return false;
    const head = input.toString('latin1', 0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (!head.startsWith('HTTP/1.1 200') || length === undefined) {
      this.socket.destroy(new Error(`the answer began ${JSON.stringify(input.toString('latin1', 0, 60))}`));
      return false;
    }
    this.bodyBytes = Number(length);
    this.missingBytes = end + HEAD_END.length + this.bodyBytes - input.length;
    return true;
  }
}
