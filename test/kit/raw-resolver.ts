/**
 * A DNS server under a test's full control, UDP and TCP on one port of loopback: the test gets each question as bytes
 * and sends whatever it likes, from wherever it likes.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { uint16 } from './dns-message.ts';
import { Seen } from './seen.ts';

export interface RawQuery {
  readonly transport: 'udp' | 'tcp';
  readonly message: Buffer;
  /** Of the asker. */
  readonly port: number;
  /** Sends bytes back as they are (over TCP with their length before them). */
  reply(message: Buffer): void;
  /** Over UDP: sends bytes to the asker from another socket, on this address of loopback. */
  forge(message: Buffer, from: string): Promise<void>;
  /** Over TCP: closes the connection. */
  hangUp(): void;
}

type Handler = (query: RawQuery) => void | Promise<void>;

export class RawResolver implements AsyncDisposable {
  readonly queries = new Seen<RawQuery>('query at the raw resolver');
  readonly port: number;
  readonly #udp: dgram.Socket;
  readonly #tcp: net.Server;
  readonly #streams = new Set<net.Socket>();
  readonly #handler: Handler;
  #closed = false;

  constructor(udp: dgram.Socket, tcp: net.Server, handler: Handler) {
    this.#udp = udp;
    this.#tcp = tcp;
    this.#handler = handler;
    this.port = udp.address().port;
    udp.on('message', (message, from) => {
      const reply = (answer: Buffer) => udp.send(answer, from.port, from.address);
      this.#take({ transport: 'udp', message, port: from.port, reply, forge: forgerOf(from.port), hangUp: () => {} });
    });
    tcp.on('connection', (socket) => this.#serve(socket));
  }

  /** `host:port`, as --upstream-dns takes it. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** May be called again. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const socket of this.#streams) socket.destroy();
    await new Promise<void>((resolve) => this.#udp.close(() => resolve()));
    await new Promise<void>((resolve) => this.#tcp.close(() => resolve()));
  }

  #serve(socket: net.Socket): void {
    this.#streams.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#streams.delete(socket));
    socket.once('data', (chunk) => {
      const reply = (answer: Buffer) => socket.write(Buffer.concat([uint16(answer.length), answer]));
      const hangUp = () => socket.destroy();
      const port = socket.remotePort as number;
      this.#take({ transport: 'tcp', message: chunk.subarray(2), port, reply, forge: forgerOf(port), hangUp });
    });
  }

  #take(query: RawQuery): void {
    this.queries.push(query);
    void this.#handler(query);
  }
}

/** Starts one that treats each question with `handler`. */
export async function startRawResolver(handler: Handler): Promise<RawResolver> {
  for (;;) {
    const tcp = net.createServer().listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const udp = dgram.createSocket('udp4');
    try {
      udp.bind((tcp.address() as AddressInfo).port, '127.0.0.1');
      await once(udp, 'listening');
      return new RawResolver(udp, tcp, handler);
    } catch {
      udp.close(); // The port is taken for UDP: try another.
      await new Promise((resolve) => tcp.close(resolve));
    }
  }
}

function forgerOf(port: number): (message: Buffer, from: string) => Promise<void> {
  return async (message, from) => {
    const socket = dgram.createSocket('udp4');
    socket.bind(0, from);
    await once(socket, 'listening');
    await new Promise<void>((resolve) => socket.send(message, port, '127.0.0.1', () => resolve()));
    socket.close();
  };
}
