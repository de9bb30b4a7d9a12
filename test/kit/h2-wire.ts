/**
 * HTTP/2 frame by frame over a TLS connection, as a client or as an origin: for what node:http2 refuses to send. Writes
 * header blocks as HPACK literals without indexing (RFC 7541 section 6.2.2) and reads none: what a block said is for
 * other witnesses to tell.
 */
import type { AgentSocket } from './agent-socket.ts';
import { Seen } from './seen.ts';

/** RFC 9113 section 6. */
export const FRAME = {
  data: 0,
  headers: 1,
  rst: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const;
/** RFC 9113 section 7. */
export const CODE = {
  none: 0,
  protocol: 1,
  internal: 2,
  refused: 7,
  cancel: 8,
  calm: 11,
} as const;
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const HEADER_BYTES = 9;

export type Fields = readonly (readonly [name: string, value: string])[];

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export interface HeadersOptions {
  /** Default true. */
  readonly endStream?: boolean;
  /** Default true; false leaves the block open for CONTINUATION. */
  readonly endHeaders?: boolean;
}

/** One end of an HTTP/2 connection. It acknowledges SETTINGS, and nothing else happens by itself. */
export class H2Wire implements AsyncDisposable {
  readonly socket: AgentSocket;
  /** Every frame that came, in order. */
  readonly frames = new Seen<Frame>('HTTP/2 frame');
  #prefaceRead = false;

  constructor(socket: AgentSocket) {
    this.socket = socket;
  }

  /** The client's preface and empty SETTINGS; reading begins. */
  async startClient(): Promise<this> {
    await this.socket.send(PREFACE);
    return this.#start();
  }

  /** What a client sends first; until startServer it hears nothing. */
  async readPreface(): Promise<this> {
    await this.socket.readExactly(PREFACE.length);
    this.#prefaceRead = true;
    return this;
  }

  /** The server's side, behind the client's preface; `more` goes out with its SETTINGS. */
  async startServer(settings?: Buffer, ...more: readonly Buffer[]): Promise<this> {
    if (!this.#prefaceRead) await this.readPreface();
    return this.#start(settings, more);
  }

  send(...frames: readonly Buffer[]): Promise<void> {
    return this.socket.send(Buffer.concat(frames));
  }

  /** The next frame of that type (on that stream) that was not handed out yet. */
  next(type: keyof typeof FRAME, stream?: number): Promise<Frame> {
    return this.frames.next((frame) => frame.type === FRAME[type] && (stream ?? frame.stream) === frame.stream);
  }

  /** The code of the RST_STREAM or GOAWAY that comes next. */
  async nextCode(type: 'rst' | 'goaway', stream?: number): Promise<number> {
    return (await this.next(type, stream)).payload.readUInt32BE(type === 'rst' ? 0 : 4);
  }

  /** Payload bytes of DATA on one stream so far. */
  dataOn(stream: number): Buffer {
    const parts = this.frames.all.filter((frame) => frame.type === FRAME.data && frame.stream === stream);
    return Buffer.concat(parts.map((frame) => frame.payload));
  }

  /** Whether the peer has ended that stream with END_STREAM. */
  ended(stream: number): boolean {
    return this.frames.all.some(
      (frame) => frame.stream === stream && frame.type <= FRAME.headers && (frame.flags & END_STREAM) !== 0,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.socket[Symbol.asyncDispose]();
  }

  async #start(settings?: Buffer, more: readonly Buffer[] = []): Promise<this> {
    await this.send(frame('settings', 0, 0, settings), ...more);
    void this.#read().catch(() => undefined);
    return this;
  }

  async #read(): Promise<void> {
    for (;;) {
      const head = await this.socket.readExactly(HEADER_BYTES);
      const payload = await this.socket.readExactly(head.readUIntBE(0, 3));
      const came = { type: head[3] ?? 0, flags: head[4] ?? 0, stream: head.readUInt32BE(5) & 0x7fffffff, payload };
      if (came.type === FRAME.settings && (came.flags & ACK) === 0) await this.send(frame('settings', ACK, 0));
      this.frames.push(came);
    }
  }
}

export function frame(
  type: keyof typeof FRAME,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = FRAME[type];
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function headersFrame(stream: number, fields: Fields, options: HeadersOptions = {}): Buffer {
  const flags = (options.endStream === false ? 0 : END_STREAM) | (options.endHeaders === false ? 0 : END_HEADERS);
  return frame('headers', flags, stream, literals(fields));
}

export function continuationFrame(stream: number, fields: Fields, endHeaders: boolean): Buffer {
  return frame('continuation', endHeaders ? END_HEADERS : 0, stream, literals(fields));
}

export function dataFrame(stream: number, data: string | Buffer, endStream = false): Buffer {
  return frame('data', endStream ? END_STREAM : 0, stream, Buffer.from(data));
}

export function rstFrame(stream: number, code: number): Buffer {
  return frame('rst', 0, stream, uint32(code));
}

export function goawayFrame(lastStream: number, code: number): Buffer {
  return frame('goaway', 0, 0, Buffer.concat([uint32(lastStream), uint32(code)]));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The fields as HPACK literals, names and values exactly as given (latin1). */
function literals(fields: Fields): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  return Buffer.concat([hpackLength(Buffer.byteLength(text, 'latin1')), Buffer.from(text, 'latin1')]);
}

/** RFC 7541 section 5.1, with a prefix of 7 bits; no Huffman code. */
function hpackLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest >>= 7) bytes.push((rest & 127) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}
