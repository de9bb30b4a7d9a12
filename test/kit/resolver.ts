/**
 * A fake DNS server on loopback, UDP and TCP on one port, that answers from a map under the test's control and records
 * each query. Knows A, AAAA and CNAME; whatever is not in the zone is NXDOMAIN.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net, { isIPv4 } from 'node:net';
import { addressBytes } from './pki.ts';
import { Seen } from './seen.ts';

const DEFAULT_TTL_SECONDS = 60;
const CLASS_IN = 1;
const TYPES: Readonly<Record<string, number>> = { A: 1, CNAME: 5, TXT: 16, AAAA: 28, HTTPS: 65, ANY: 255 };
const RCODES = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const;

export interface Answer {
  /** Addresses, of both families as they come. */
  readonly addresses?: readonly string[];
  /** An alias; its target is answered from the zone in the same message. */
  readonly cname?: string;
  readonly ttlSeconds?: number;
  readonly rcode?: keyof typeof RCODES;
  /** No answer at all. */
  readonly drop?: boolean;
  /** Over UDP: an empty answer with TC set, so that the client asks again over TCP. */
  readonly truncate?: boolean;
  /** Settles before the answer goes out. */
  readonly hold?: Promise<unknown>;
}

/** An address, several, or an answer in full; or a function of the ordinal (from 1) of this question, for rebinding. */
export type ZoneEntry = string | readonly string[] | Answer | ((query: Query, ordinal: number) => Answer);
export type Zone = Record<string, ZoneEntry>;

export interface Query {
  /** As asked, lower-case, without trailing dot. */
  readonly name: string;
  /** `A`, `AAAA`, ..., or the number. */
  readonly type: string;
  readonly transport: 'udp' | 'tcp';
}

export class Resolver implements AsyncDisposable {
  readonly queries = new Seen<Query>('query at the resolver');
  readonly zone: Map<string, ZoneEntry>;
  readonly port: number;
  readonly #udp: dgram.Socket;
  readonly #tcp: net.Server;
  readonly #streams = new Set<net.Socket>();

  constructor(udp: dgram.Socket, tcp: net.Server, zone: Zone) {
    this.#udp = udp;
    this.#tcp = tcp;
    this.zone = new Map(Object.entries(zone));
    this.port = udp.address().port;
    udp.on('message', (message, from) => {
      void this.#reply(message, 'udp', (answer) => udp.send(answer, from.port, from.address));
    });
    tcp.on('connection', (socket) => this.#serveStream(socket));
  }

  /** `host:port`, as --upstream-dns takes it. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  set(name: string, entry: ZoneEntry): void {
    this.zone.set(name, entry);
  }

  /** How many questions asked for this name. */
  asked(name: string): number {
    return this.queries.all.filter((query) => query.name === name).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#streams) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => this.#udp.close(() => resolve())),
      new Promise<void>((resolve) => this.#tcp.close(() => resolve())),
    ]);
  }

  #serveStream(socket: net.Socket): void {
    this.#streams.add(socket);
    let pending = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#streams.delete(socket));
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const end = 2 + pending.readUInt16BE(0);
        const message = pending.subarray(2, end);
        pending = pending.subarray(end);
        void this.#reply(message, 'tcp', (answer) => socket.write(Buffer.concat([uint16(answer.length), answer])));
      }
    });
  }

  async #reply(message: Buffer, transport: 'udp' | 'tcp', send: (answer: Buffer) => void): Promise<void> {
    const question = readQuestion(message);
    if (question === undefined) return;
    const query: Query = { name: question.name, type: typeName(question.type), transport };
    const ordinal = 1 + this.queries.all.filter((q) => q.name === query.name && q.type === query.type).length;
    this.queries.push(query);
    const answer = this.#answerOf(query, ordinal);
    if (answer.hold !== undefined) await answer.hold;
    if (answer.drop !== true) send(this.#encode(message, question, query, answer));
  }

  #answerOf(query: Query, ordinal: number): Answer {
    const entry = this.zone.get(query.name);
    if (entry === undefined) return { rcode: 'NXDOMAIN' };
    if (typeof entry === 'function') return entry(query, ordinal);
    if (typeof entry === 'string') return { addresses: [entry] };
    return Array.isArray(entry) ? { addresses: entry as readonly string[] } : (entry as Answer);
  }

  #encode(message: Buffer, question: Question, query: Query, answer: Answer): Buffer {
    const truncate = answer.truncate === true && query.transport === 'udp';
    const records = truncate ? [] : this.#records(query, query.name, answer);
    const flags = 0x8180 | RCODES[answer.rcode ?? 'NOERROR'] | (truncate ? 0x0200 : 0);
    const head = Buffer.concat([message.subarray(0, 2), ...[flags, 1, records.length, 0, 0].map(uint16)]);
    return Buffer.concat([head, message.subarray(12, question.end), ...records]);
  }

  #records(query: Query, name: string, answer: Answer, depth = 0): Buffer[] {
    const ttl = answer.ttlSeconds ?? DEFAULT_TTL_SECONDS;
    if (answer.cname !== undefined && depth < 8) {
      const target = answer.cname;
      const alias = record(name, TYPES['CNAME'] as number, ttl, encodeName(target));
      const next = this.#answerOf({ ...query, name: target }, 1);
      return [alias, ...this.#records(query, target, next, depth + 1)];
    }
    const wanted = (answer.addresses ?? []).filter((a) => query.type === (isIPv4(a) ? 'A' : 'AAAA'));
    return wanted.map((address) => record(name, TYPES[query.type] as number, ttl, addressBytes(address)));
  }
}

/** Starts a resolver on an ephemeral port of loopback. */
export async function startResolver(zone: Zone = {}): Promise<Resolver> {
  for (;;) {
    const tcp = net.createServer();
    tcp.listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const udp = dgram.createSocket('udp4');
    try {
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject);
        udp.bind((tcp.address() as net.AddressInfo).port, '127.0.0.1', resolve);
      });
      udp.removeAllListeners('error');
      return new Resolver(udp, tcp, zone);
    } catch {
      udp.close(); // The port is taken for UDP: try another.
      await new Promise((resolve) => tcp.close(resolve));
    }
  }
}

interface Question {
  readonly name: string;
  readonly type: number;
  /** Index just after the question in the message. */
  readonly end: number;
}

function readQuestion(message: Buffer): Question | undefined {
  if (message.length < 17 || (message[2] as number) & 0x80) return undefined;
  const labels: string[] = [];
  let at = 12;
  for (let length = message[at]; length !== undefined && length > 0; length = message[at]) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  if (at + 5 > message.length) return undefined;
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

function typeName(type: number): string {
  return Object.keys(TYPES).find((name) => TYPES[name] === type) ?? String(type);
}

function record(name: string, type: number, ttl: number, data: Buffer): Buffer {
  const seconds = Buffer.alloc(4);
  seconds.writeUInt32BE(ttl);
  return Buffer.concat([encodeName(name), uint16(type), uint16(CLASS_IN), seconds, uint16(data.length), data]);
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(label, 'latin1'));
  return Buffer.concat([...labels.flatMap((label) => [Buffer.from([label.length]), label]), Buffer.from([0])]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
