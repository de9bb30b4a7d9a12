/**
 * node:http2 as the referee of our HPACK: its session at one end of a connection in memory, our encoder and decoder with
 * hand-made frames at the other. Once as its client, once as its server.
 */
import http2 from 'node:http2';
import { type Duplex, duplexPair } from 'node:stream';
import { HpackDecoder } from '../../src/wire/hpack-decoder.ts';
import { HpackEncoder, worstCaseBytes } from '../../src/wire/hpack-encoder.ts';
import { FRAME, type Frame, frame } from '../kit/h2-wire.ts';
import { Seen } from '../kit/seen.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const HEADER_BYTES = 9;
const ACK = 1;
const END_BOTH = 5;
const HEADER_TABLE_SIZE = 1;
const DEFAULT_TABLE_BYTES = 4_096;
/** RFC 9113 section 7. */
const COMPRESSION_ERROR = 9;
const SESSION = { strictSingleValueFields: false, maxHeaderListPairs: 2_000 };

/** A header list as one end read it. */
export interface Read {
  readonly list: readonly string[];
  /** Names that came as "never indexed". */
  readonly never: readonly string[];
}

type Exchange = (list: readonly string[], never: readonly string[]) => Promise<Read>;

/** What the two say to each other; each list goes through one encoder and the other's decoder. */
export interface HpackPeers extends AsyncDisposable {
  /** From our encoder to node's decoder. */
  readonly fromOurs: Exchange;
  /** From node's encoder to our decoder. */
  readonly fromNodes: Exchange;
  /** node announces another table size for what we send. */
  resize(tableBytes: number): Promise<void>;
}

export interface TableSizes {
  readonly ours: number;
  readonly nodes: number;
}

/** What became of one block at node's server. */
export type Verdict = { readonly list: readonly string[] } | 'refused stream' | 'broken';

/** Header blocks, as they are, to a server of node's, one stream each. */
export async function nodeAsJudge(): Promise<AsyncDisposable & { judge(block: Buffer): Promise<Verdict> }> {
  const [near, far] = duplexPair();
  const session = http2.performServerHandshake(far as never, { ...SESSION, settings: { maxConcurrentStreams: 1_000 } });
  let list: readonly string[] | undefined;
  session.on('error', () => undefined);
  session.on('stream', (stream: http2.ServerHttp2Stream, _headers, _flags, raw?: string[]) => {
    stream.on('error', () => undefined);
    stream.close();
    list = raw;
  });
  near.write(PREFACE);
  const ours = new OurEnd(near, DEFAULT_TABLE_BYTES);
  let id = 1;
  return {
    judge: async (block) => {
      list = undefined;
      near.write(Buffer.concat([frame('headers', END_BOTH, id, block), frame('ping', 0, 0, Buffer.alloc(8))]));
      id += 2;
      const { type, payload } = await ours.frames.next(
        (came) => came.type === FRAME.ping || came.type === FRAME.goaway,
      );
      if (type === FRAME.ping) return list === undefined ? 'refused stream' : { list };
      if (payload.readUInt32BE(4) === COMPRESSION_ERROR) return 'broken';
      throw new Error(`node ends the connection with code ${payload.readUInt32BE(4)}`);
    },
    [Symbol.asyncDispose]: async () => {
      session.destroy();
      near.destroy();
    },
  };
}

/** Requests are ours, answers node's. */
export async function asClientOfNode(sizes: TableSizes): Promise<HpackPeers> {
  const [near, far] = duplexPair();
  const settings = { headerTableSize: sizes.nodes, maxConcurrentStreams: 1_000_000 };
  const session = http2.performServerHandshake(far as never, { ...SESSION, settings });
  const streams = new Seen<{ stream: http2.ServerHttp2Stream; read: Read }>('stream at node');
  session.on('stream', (stream: http2.ServerHttp2Stream, headers, _flags, raw?: string[]) => {
    stream.on('error', () => undefined);
    streams.push({ stream, read: { list: raw ?? [], never: secretsOf(headers) } });
  });
  near.write(PREFACE);
  const ours = new OurEnd(near, sizes.ours);
  await ours.frames.next(({ type, flags }) => type === FRAME.settings && flags === 0);
  let nextStream = 1;
  let waiting: http2.ServerHttp2Stream | undefined;
  return {
    fromOurs: async (list, never) => {
      ours.sendHeaders(nextStream, list, never);
      nextStream += 2;
      const { stream, read } = await streams.next();
      waiting = stream;
      return read;
    },
    fromNodes: async (list, never) => {
      waiting?.respond(
        withSecrets(list, never) as never,
        { endStream: true, sendDate: false } as http2.ServerStreamResponseOptions,
      );
      return ours.read(await ours.frames.next(({ type }) => type === FRAME.headers));
    },
    resize: (headerTableSize) => ours.onSettings(() => session.settings({ headerTableSize })),
    [Symbol.asyncDispose]: async () => {
      session.destroy();
      near.destroy();
    },
  };
}

/** Requests are node's, answers ours. */
export async function asServerOfNode(sizes: TableSizes): Promise<HpackPeers> {
  const [near, far] = duplexPair();
  const settings = { headerTableSize: sizes.nodes, enablePush: false };
  const session = http2.connect('http://a.test', { ...SESSION, settings, createConnection: () => far });
  session.on('error', () => undefined);
  const ours = new OurEnd(near, sizes.ours, PREFACE.length);
  await ours.frames.next(({ type, flags }) => type === FRAME.settings && flags === 0);
  await ours.frames.next(({ type, flags }) => type === FRAME.settings && flags === ACK);
  let waiting: { readonly id: number; readonly answer: Promise<Read> } | undefined;
  return {
    fromNodes: async (list, never) => {
      const stream = session.request(withSecrets(list, never) as never, { endStream: true });
      stream.on('error', () => undefined);
      const { promise, resolve } = Promise.withResolvers<Read>();
      stream.once('response', (headers, _flags, raw?: string[]) =>
        resolve({ list: raw ?? [], never: secretsOf(headers) }),
      );
      const came = await ours.frames.next(({ type }) => type === FRAME.headers);
      waiting = { id: came.stream, answer: promise };
      return ours.read(came);
    },
    fromOurs: async (list, never) => {
      ours.sendHeaders(waiting?.id ?? 0, list, never);
      return (await waiting?.answer) ?? { list: [], never: [] };
    },
    resize: (headerTableSize) => ours.onSettings(() => session.settings({ headerTableSize })),
    [Symbol.asyncDispose]: async () => {
      session.destroy();
      near.destroy();
    },
  };
}

function withSecrets(list: readonly string[], never: readonly string[]): string[] {
  return Object.assign([...list], { [http2.sensitiveHeaders]: [...never] });
}

function secretsOf(headers: object): readonly string[] {
  return (headers as { readonly [http2.sensitiveHeaders]?: readonly string[] })[http2.sensitiveHeaders] ?? [];
}

class OurEnd {
  readonly frames = new Seen<Frame>('frame from node');
  readonly #stream: Duplex;
  readonly #encoder = new HpackEncoder();
  readonly #decoder: HpackDecoder;
  #held = Buffer.alloc(0);
  #skip: number;

  constructor(stream: Duplex, tableBytes: number, skip = 0) {
    this.#stream = stream;
    this.#skip = skip;
    this.#decoder = new HpackDecoder({ maxTableBytes: tableBytes, maxListBytes: 1 << 20, maxFields: 1_000 });
    const setting = Buffer.alloc(6);
    setting.writeUInt16BE(HEADER_TABLE_SIZE, 0);
    setting.writeUInt32BE(tableBytes, 2);
    stream.write(frame('settings', 0, 0, setting));
    stream.on('data', (chunk: Buffer) => this.#onData(chunk));
  }

  sendHeaders(stream: number, list: readonly string[], never: readonly string[]): void {
    const out = Buffer.alloc(worstCaseBytes(list));
    const end = this.#encoder.encode(list, never.length === 0 ? undefined : new Set(never), out, 0);
    this.#stream.write(frame('headers', END_BOTH, stream, out.subarray(0, end)));
  }

  /** Throws where our decoder takes the block for broken. */
  read({ payload }: Frame): Read {
    const read = this.#decoder.decode(payload);
    if (read.kind !== 'fields') throw new Error(`our decoder says: ${JSON.stringify(read)}`);
    return { list: read.list, never: [...(read.neverIndexed ?? [])] };
  }

  /** Resolves once what `announce` made node announce is here and acknowledged. */
  async onSettings(announce: () => void): Promise<void> {
    announce();
    await this.frames.next(({ type, flags }) => type === FRAME.settings && flags === 0);
  }

  #onData(chunk: Buffer): void {
    const skipped = Math.min(this.#skip, chunk.length);
    this.#skip -= skipped;
    this.#held = Buffer.concat([this.#held, chunk.subarray(skipped)]);
    while (this.#held.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + this.#held.readUIntBE(0, 3);
      if (this.#held.length < end) return;
      const [type = 0, flags = 0] = this.#held.subarray(3, 5);
      const came = { type, flags, stream: this.#held.readUInt32BE(5), payload: this.#held.subarray(HEADER_BYTES, end) };
      this.#held = this.#held.subarray(end);
      if (type === FRAME.settings && flags === 0) this.#onSettings(came.payload);
      this.frames.push(came);
    }
  }

  #onSettings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) === HEADER_TABLE_SIZE) this.#encoder.limitTable(payload.readUInt32BE(at + 2));
    }
    this.#stream.write(frame('settings', ACK, 0));
  }
}
