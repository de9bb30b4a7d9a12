// The generator's HTTP/2 (RFC 9113): one connection with a fixed number of streams always open, each asking for the same thing. A
// request is one HEADERS frame made beforehand, of which only the stream changes; an answer is whole at END_STREAM. No header block
// is decoded but for its first byte, which says `:status: 200`; anything else ends the lane with an error.
import type { Socket } from 'node:net';
import type { OnAnswer } from './client.ts';
import type { Exchange } from './jobs.ts';

const FRAME_HEAD_BYTES = 9;
const TYPE = { data: 0, headers: 1, rstStream: 3, settings: 4, ping: 6, goaway: 7, windowUpdate: 8 } as const;
const END_STREAM = 0x1;
const ACK = 0x1;
const END_HEADERS = 0x4;
/** HPACK (RFC 7541): index 8 of the static table, :status 200. Before it may stand a change of the table's size (001xxxxx). */
const STATUS_200 = 0x88;
const MAX_WINDOW_BYTES = 0x7fffffff;
const DEFAULT_WINDOW_BYTES = 65_535;
/** The connection's window is filled up again after so many bytes. */
const REFILL_BYTES = 0x40000000;
const PREFACE: Buffer = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(TYPE.settings, 0, 0, Buffer.from([0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff])), // no push, widest windows
  windowUpdate(MAX_WINDOW_BYTES - DEFAULT_WINDOW_BYTES),
]);

interface Asked {
  readonly sentMs: number;
  bytes: number;
}

/** One open connection with one request prepared for it, as Lane is for HTTP/1.1. */
export class H2Lane {
  private readonly socket: Socket;
  private readonly request: Buffer;
  private readonly streams: number;
  private readonly open = new Map<number, Asked>();
  private readonly outbox: Buffer[] = [PREFACE];
  private nextStream = 1;
  private unread: Buffer = Buffer.alloc(0);
  private sinceRefill = 0;
  private bodyBytes = -1;
  private onAnswer: OnAnswer = () => false;
  private finish: (error?: Error) => void = () => {};

  constructor(socket: Socket, inbox: { sink: (chunk: Buffer) => void }, exchange: Exchange, port: number) {
    this.socket = socket;
    this.streams = exchange.streams ?? 1;
    this.request = frame(TYPE.headers, END_HEADERS | END_STREAM, 0, headerBlock(exchange, port));
    inbox.sink = (chunk) => this.read(chunk);
    socket.on('error', (error) => this.finish(error));
    socket.on('close', () => this.finish(new Error('closed in the middle')));
  }

  /** Keeps the lane's number of streams open until `onAnswer` says false, and resolves when the last answer has come. */
  repeat(onAnswer: OnAnswer): Promise<void> {
    return this.run(this.streams, onAnswer);
  }

  /** One request; gives the size of the answer's body. */
  async exchange(): Promise<number> {
    await this.run(1, () => false);
    return this.bodyBytes;
  }

  close(): void {
    this.finish = () => {};
    this.socket.destroy();
  }

  private run(streams: number, onAnswer: OnAnswer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onAnswer = onAnswer;
      this.finish = (error) => (error === undefined ? resolve() : reject(error));
      for (let i = 0; i < streams; i++) this.ask();
      this.flush();
    });
  }

  private ask(): void {
    const request = Buffer.from(this.request);
    request.writeUInt32BE(this.nextStream, 5);
    this.open.set(this.nextStream, { sentMs: performance.now(), bytes: 0 });
    this.nextStream += 2;
    this.outbox.push(request);
  }

  private flush(): void {
    if (this.outbox.length > 0) this.socket.write(Buffer.concat(this.outbox.splice(0)));
  }

  private read(chunk: Buffer): void {
    const input = this.unread.length === 0 ? chunk : Buffer.concat([this.unread, chunk]);
    let at = 0;
    while (at + FRAME_HEAD_BYTES <= input.length) {
      const end = at + FRAME_HEAD_BYTES + input.readUIntBE(at, 3);
      if (end > input.length) break;
      this.take(input.subarray(at, end));
      at = end;
    }
    this.unread = input.subarray(at);
    this.flush();
    if (this.open.size === 0) this.finish();
  }

  private take(whole: Buffer): void {
    const [type, flags, stream] = [whole[3], whole[4] ?? 0, whole.readUInt32BE(5)];
    const asked = this.open.get(stream);
    if (type === TYPE.headers && !isStatus200(whole)) this.fail(`an answer began ${whole.toString('hex', 9, 19)}`);
    else if (type === TYPE.data && asked !== undefined) this.countBody(asked, whole.length - FRAME_HEAD_BYTES);
    else if (type === TYPE.rstStream || type === TYPE.goaway) this.fail(`frame of type ${type} on stream ${stream}`);
    else if (type === TYPE.settings && flags !== ACK) this.outbox.push(frame(TYPE.settings, ACK, 0));
    else if (type === TYPE.ping && flags !== ACK)
      this.outbox.push(frame(TYPE.ping, ACK, 0, whole.subarray(FRAME_HEAD_BYTES)));
    if ((type === TYPE.headers || type === TYPE.data) && (flags & END_STREAM) !== 0) this.end(stream, asked);
  }

  private countBody(asked: Asked, bytes: number): void {
    asked.bytes += bytes;
    this.sinceRefill += bytes;
    if (this.sinceRefill < REFILL_BYTES) return;
    this.outbox.push(windowUpdate(this.sinceRefill));
    this.sinceRefill = 0;
  }

  private end(stream: number, asked: Asked | undefined): void {
    if (asked === undefined) return;
    this.open.delete(stream);
    if (this.bodyBytes === -1) this.bodyBytes = asked.bytes;
    if (asked.bytes !== this.bodyBytes) this.fail(`${asked.bytes} bytes where ${this.bodyBytes} had been the answer`);
    else if (this.onAnswer(performance.now() - asked.sentMs, asked.bytes)) this.ask();
  }

  private fail(why: string): void {
    this.socket.destroy(new Error(why));
  }
}

function isStatus200(headers: Buffer): boolean {
  let at = FRAME_HEAD_BYTES;
  while (((headers[at] ?? 0) & 0xe0) === 0x20) at++;
  return headers[at] === STATUS_200;
}

/** Literals without indexing (RFC 7541 section 6.2.2), names of the static table: one request is like another on the wire. */
function headerBlock({ host, path }: Exchange, port: number): Buffer {
  const field = (nameIndex: readonly number[], value: string): Buffer =>
    Buffer.concat([Buffer.from([...nameIndex, value.length]), Buffer.from(value)]);
  return Buffer.concat([
    Buffer.from([0x82, 0x87]), // :method GET, :scheme https
    field([0x04], path), // :path
    field([0x01], `${host}:${port}`), // :authority
    field([0x0f, 58 - 15], 'bench'), // user-agent
    field([0x0f, 19 - 15], '*/*'), // accept
  ]);
}

function windowUpdate(bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(TYPE.windowUpdate, 0, 0, payload);
}

function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
