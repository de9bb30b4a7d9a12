/**
 * An agent's DNS client, message by message: over UDP from a port and address of its choice, and over TCP.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { AgentSocket } from './agent-socket.ts';
import { type Decoded, decode, type QuestionText, question, uint16 } from './dns-message.ts';
import { Seen } from './seen.ts';

export class DnsClient implements AsyncDisposable {
  /** Whatever came back over UDP. */
  readonly answers = new Seen<Buffer>('DNS answer');
  readonly #port: number;
  readonly #address: string;
  readonly #udp: dgram.Socket;

  constructor(udp: dgram.Socket, port: number, address: string) {
    this.#udp = udp;
    this.#port = port;
    this.#address = address;
    udp.on('message', (message) => this.answers.push(message));
  }

  send(message: Buffer): void {
    this.#udp.send(message, this.#port, '127.0.0.1');
  }

  /** Asks over UDP, under an id of its own, and takes the answer apart. */
  async ask(text: QuestionText): Promise<Decoded> {
    return decode(await this.exchange(question({ id: this.#nextId++, ...text })));
  }

  /** Sends bytes over UDP and gives the answer with the same id. */
  async exchange(message: Buffer): Promise<Buffer> {
    this.send(message);
    return this.answers.next((answer) => answer.readUInt16BE(0) === message.readUInt16BE(0));
  }

  /** A connection from the same address. */
  async stream(): Promise<DnsStream> {
    const socket = net.connect({
      host: '127.0.0.1',
      port: this.#port,
      localAddress: this.#address,
      allowHalfOpen: true,
    });
    const agent = new AgentSocket(socket);
    // One that is reset at once tells so by its ending.
    await once(socket, 'connect').catch(() => undefined);
    return new DnsStream(agent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#udp.close(() => resolve()));
  }

  #nextId = 1;
}

export class DnsStream implements AsyncDisposable {
  readonly socket: AgentSocket;

  constructor(socket: AgentSocket) {
    this.socket = socket;
  }

  async ask(text: QuestionText): Promise<Decoded> {
    await this.socket.send(framed(question(text)));
    return this.answer();
  }

  async answer(): Promise<Decoded> {
    const bytes = (await this.socket.readExactly(2)).readUInt16BE(0);
    return decode(await this.socket.readExactly(bytes));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.socket[Symbol.asyncDispose]();
  }
}

/** A client on `address` of loopback, of the server on `port`. */
export async function dnsClient(port: number, address = '127.0.0.1'): Promise<DnsClient> {
  const udp = dgram.createSocket('udp4');
  udp.bind(0, address);
  await once(udp, 'listening');
  return new DnsClient(udp, port, address);
}

/** With the length before it, as over TCP. */
export function framed(message: Buffer): Buffer {
  return Buffer.concat([uint16(message.length), message]);
}
