/**
 * The four that the same frames are given to: our session and node:http2's, each as a server and as a client, over a
 * connection in memory. Each tells which messages came whole, and how the connection ended.
 */
import http2 from 'node:http2';
import type { HeaderList } from '../../src/domain/facts.ts';
import { H2Relay, type RelayOwner } from '../../src/proxy/h2-relay.ts';
import { H2Session, type SessionOwner } from '../../src/proxy/h2-session.ts';
import type { H2Stream, NeverIndexed, StreamUser } from '../../src/proxy/h2-stream.ts';
import { OriginSession } from '../../src/proxy/h2-upstream.ts';
import { parseHostField } from '../../src/wire/authority.ts';
import { HpackDecoder } from '../../src/wire/hpack-decoder.ts';
import { type H2Request, h2TrailerProblem, readH2RequestHeaders } from '../../src/wire/http2-headers.ts';
import { normaliseTarget } from '../../src/wire/target.ts';
import { FRAME, type Frame, frame } from '../kit/h2-wire.ts';
import { type MemorySocket, memorySockets } from '../kit/memory-socket.ts';
import { Seen } from '../kit/seen.ts';
import { nextTurn, within } from '../kit/within.ts';
import type { Script } from './h2-frames.ts';

/** A message that came whole. */
export interface Message {
  readonly list: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
}

export interface Outcome {
  /** By stream. */
  readonly whole: ReadonlyMap<number, Message>;
  /** `open` where the last PING was answered, `waiting` for more of a frame; else the code of GOAWAY, or -1 without one. */
  readonly ended: Ending;
  /** Some stream was reset, or what came on it was refused. */
  readonly refused: boolean;
}

type Ending = 'open' | 'waiting' | number;

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const HEADER_BYTES = 9;
/** Turns of the event loop in which whatever can move does. */
const STILL_TURNS = 50;
const ACK = 1;
const LAST_PING = Buffer.from('the end.');
const MAX_LIST_BYTES = 65_536;
const MAX_STREAMS = 128;
const HTTPS_PORT = 443;
const WINDOW_BYTES = 256 * 1024;
const LIMITS = { strictSingleValueFields: false, maxHeaderListPairs: 256 };
const ANSWER = [':status', '200'];
const CODE = { protocol: 1, cancel: 8 };
/** What goes to the origins in turn; by these an answer's framing is judged. */
const METHODS = ['GET', 'HEAD', 'POST', 'GET'];
export const ASKED: readonly number[] = METHODS.map((_, i) => 1 + 2 * i);

type Answer = (send: () => void) => void;

function atOnce(send: () => void): void {
  send();
}

/** As node:http2 does, after all that came in the same turn has been read. */
export function later(send: () => void): void {
  setImmediate(send);
}

/** `answer`: how a request is answered that came whole. */
export async function ourServer(script: Script, cuts: readonly number[] = [], answer = atOnce): Promise<Outcome> {
  const [near, far] = memorySockets();
  const owner = new OurOwner(answer);
  const limits = { maxListBytes: MAX_LIST_BYTES, maxFields: 256, now: () => 0 };
  const session = new H2Session('server', far as never, limits, owner);
  session.start([[3, MAX_STREAMS]]);
  const end = await play(near, [PREFACE, frame('settings', 0, 0), script.bytes], cuts);
  return { whole: owner.whole, ...end, refused: end.refused || owner.refused };
}

export async function nodeServer(script: Script): Promise<Outcome> {
  const [near, far] = memorySockets();
  const whole = new Map<number, Message>();
  const session = http2.performServerHandshake(far as never, {
    settings: { maxConcurrentStreams: MAX_STREAMS, initialWindowSize: WINDOW_BYTES },
    ...LIMITS,
  });
  session.on('error', () => undefined);
  session.on('stream', (stream: http2.ServerHttp2Stream, _headers, _flags, raw?: string[]) => {
    stream.on('error', () => undefined);
    gather(stream, raw ?? [], whole, () => stream.respond({ ':status': 200 }, { endStream: true }));
  });
  const end = await play(near, [PREFACE, frame('settings', 0, 0), script.bytes], []);
  session.destroy();
  return { whole, ...end };
}

/** Four requests by METHODS, and then the script as the origin's side. */
export async function ourClient(script: Script, cuts: readonly number[] = []): Promise<Outcome> {
  const [near, far] = memorySockets();
  const whole = new Map<number, Message>();
  const origin = new OriginSession({ socket: far, address: '' } as never, { now: () => 0 } as never);
  near.write(frame('settings', 0, 0));
  await origin.ready;
  const agents: Agent[] = [];
  for (const [i, method] of METHODS.entries()) {
    const agent = new Agent((message) => whole.set(1 + 2 * i, message));
    const relay = new H2Relay(agent as unknown as H2Stream, origin, agent, method);
    agent.relay = relay;
    agents.push(agent);
    relay.start(requestOf(method), undefined, true);
  }
  const end = await play(near, [script.bytes], cuts, METHODS.length);
  origin.destroy();
  return { whole, ...end, refused: end.refused || agents.some(({ refused }) => refused) };
}

export async function nodeClient(script: Script): Promise<Outcome> {
  const [near, far] = memorySockets();
  const whole = new Map<number, Message>();
  const options: http2.SecureClientSessionOptions = {
    createConnection: () => far,
    settings: { enablePush: false, initialWindowSize: WINDOW_BYTES },
  };
  const session = http2.connect('http://a.test', { ...options, ...LIMITS });
  session.on('error', () => undefined);
  const settled = new Promise<void>((resolve) => session.once('remoteSettings', () => resolve()));
  near.write(frame('settings', 0, 0));
  await within(settled, 5_000, "node's client to read SETTINGS");
  for (const method of METHODS) {
    const stream = session.request(requestOf(method) as never, { endStream: true });
    stream.on('error', () => undefined);
    stream.once('response', (_headers, _flags, raw?: string[]) => gather(stream, raw ?? [], whole, () => undefined));
  }
  const end = await play(near, [script.bytes], [], METHODS.length);
  session.destroy();
  return { whole, ...end };
}

function requestOf(method: string): string[] {
  return [':method', method, ':scheme', 'http', ':authority', 'api.test', ':path', '/'];
}

/** Reads one message of node:http2's; whole is what ended by END_STREAM. */
export function gather(
  stream: http2.Http2Stream,
  list: readonly string[],
  whole: Map<number, Message>,
  onWhole: () => void,
): void {
  const id = stream.id ?? 0;
  const parts: Buffer[] = [];
  let trailers: readonly string[] = [];
  stream.on('data', (chunk: Buffer) => parts.push(chunk));
  stream.once('trailers', (_headers: unknown, _flags: number, raw?: string[]) => {
    trailers = raw ?? [];
  });
  stream.once('end', () => {
    if (stream.closed && stream.rstCode !== 0) return;
    whole.set(id, { list, body: Buffer.concat(parts).toString('latin1'), trailers });
    if (!stream.closed) onWhole();
  });
}

/** An owner that answers what is whole, and resets what RFC 9113 calls malformed, as H2Exchange does. */
class OurOwner implements SessionOwner {
  readonly whole = new Map<number, Message>();
  refused = false;
  readonly #answer: Answer;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  onStream(stream: H2Stream, list: HeaderList | undefined, _never: NeverIndexed, endStream: boolean): void {
    const read = list === undefined ? undefined : readH2RequestHeaders(list);
    if (list === undefined || read?.ok !== true || !isForOrigin(read.value)) {
      this.#refuse(stream);
      return;
    }
    const { headers } = read.value;
    const at = headers.indexOf('content-length');
    stream.owed = at < 0 ? -1 : Number(headers[at + 1]);
    if (endStream && stream.owed > 0) {
      this.#refuse(stream);
      return;
    }
    const onWhole = (message: Omit<Message, 'list'>): void => {
      this.whole.set(stream.id, { ...message, list });
      this.#answer(() => stream.sendHead(ANSWER, undefined, true));
    };
    const reader = new OurReader(stream, onWhole, () => this.#refuse(stream));
    stream.user = reader;
    if (endStream) reader.onData(PREFACE, 0, 0, true);
  }

  onReady(): void {}
  onLeaving(): void {}
  onRoom(): void {}
  onClogged(): void {}
  onBroken(): void {}
  onClosed(): void {}

  #refuse(stream: H2Stream): void {
    this.refused = true;
    stream.reset(CODE.protocol);
  }
}

/** The parts of readH2Request that need no connection. */
function isForOrigin({ authority, path, scheme, method }: H2Request): boolean {
  const target = method === 'OPTIONS' && path === '*' ? { ok: true } : normaliseTarget(path);
  return scheme === 'https' && parseHostField(authority, HTTPS_PORT).ok && target.ok;
}

class OurReader implements StreamUser {
  readonly #stream: H2Stream;
  readonly #onWhole: (message: Omit<Message, 'list'>) => void;
  readonly #refuse: () => void;
  #body = '';

  constructor(stream: H2Stream, onWhole: (message: Omit<Message, 'list'>) => void, refuse: () => void) {
    this.#stream = stream;
    this.#onWhole = onWhole;
    this.#refuse = refuse;
  }

  onHead(): void {}

  onData(bytes: Buffer, start: number, end: number, last: boolean): void {
    if (this.#stream.closed) throw new Error('DATA for a stream that is closed');
    this.#body += bytes.toString('latin1', start, end);
    this.#stream.giveBack(end - start);
    if (last) this.#onWhole({ body: this.#body, trailers: [] });
  }

  onTrailers(trailers: HeaderList): void {
    if (h2TrailerProblem(trailers, 'request') === undefined) this.#onWhole({ body: this.#body, trailers });
    else this.#refuse();
  }

  onSent(): void {}
  onReset(): void {}
  onLost(): void {}
}

/** What H2Relay has on the agent's side: the stream, and the exchange that owns it. */
class Agent implements RelayOwner {
  relay: H2Relay | undefined;
  refused = false;
  readonly checksResponse = false;
  readonly #onWhole: (message: Message) => void;
  #list: HeaderList = [];
  #body = '';
  #trailers: HeaderList = [];

  constructor(onWhole: (message: Message) => void) {
    this.#onWhole = onWhole;
  }

  sendHead(list: HeaderList): void {
    this.#list = list;
  }

  sendData(bytes: Buffer, start: number, end: number): void {
    this.#body += bytes.toString('latin1', start, end);
    this.relay?.onDelivered(end - start);
  }

  finish(trailers: HeaderList | undefined): void {
    this.#trailers = trailers ?? [];
  }

  giveBack(): void {}

  admits(): boolean {
    return true;
  }

  onResponded(): void {
    this.#onWhole({ list: this.#list, body: this.#body, trailers: this.#trailers });
  }

  onStatus(): void {}
  onBytes(): void {}
  onOriginLost(): void {}
  fail(): void {
    this.refused = true;
  }
}

/**
 * Sends all that there is (in pieces of `cuts` bytes in turn; none: at once) and a PING, and waits for its answer or for the
 * connection's end. What comes must be frames, and header blocks that are in step. `requests`: to be awaited before that.
 */
async function play(
  near: MemorySocket,
  parts: readonly Buffer[],
  cuts: readonly number[],
  requests = 0,
): Promise<Omit<Outcome, 'whole'>> {
  const far = new FarSide(near, requests > 0 ? PREFACE.length : 0);
  for (let i = 0; i < requests; i++) await far.frames.next((came) => came !== 'closed' && came.type === FRAME.headers);
  const all = Buffer.concat([...parts, frame('ping', 0, 0, LAST_PING)]);
  for (let at = 0, turn = 0; at < all.length; turn++) {
    const bytes = cuts[turn % Math.max(cuts.length, 1)] ?? all.length;
    if (!near.destroyed) near.write(all.subarray(at, at + bytes));
    at += bytes;
  }
  try {
    const ended = await far.end();
    return { ended, refused: far.frames.all.some((came) => came !== 'closed' && came.type === FRAME.rst) };
  } finally {
    near.destroy();
  }
}

/** Reads what comes on `near`; throws where it is no HTTP/2. */
class FarSide {
  readonly frames = new Seen<Frame | 'closed'>('frame of the session');
  readonly #near: MemorySocket;
  readonly #decoder = new HpackDecoder({ maxTableBytes: 4_096, maxListBytes: 1 << 20, maxFields: 10_000 });
  #held = Buffer.alloc(0);
  #skip: number;
  #block: Buffer[] = [];
  #problem: string | undefined;

  constructor(near: MemorySocket, skip: number) {
    this.#near = near;
    this.#skip = skip;
    near.on('data', (chunk: Buffer) => this.#onData(chunk));
    near.on('error', () => undefined);
    near.once('end', () => this.frames.push('closed'));
    near.once('close', () => this.frames.push('closed'));
  }

  async end(): Promise<Ending> {
    const isEnd = (came: Frame | 'closed'): boolean => came === 'closed' || isLastPong(came) || isError(came);
    for (let still = 0; still < STILL_TURNS && !this.frames.all.some(isEnd); still++) {
      const { count } = this.frames;
      await nextTurn();
      if (this.frames.count > count || this.#near.writableLength > 0) still = 0;
    }
    const last = this.frames.all.find(isEnd);
    if (this.#problem !== undefined) throw new Error(this.#problem);
    if (last === undefined) return 'waiting';
    if (last === 'closed') {
      const goaway = this.frames.all.find((came) => came !== 'closed' && came.type === FRAME.goaway);
      return goaway === undefined || goaway === 'closed' ? -1 : codeOf(goaway);
    }
    return last.type === FRAME.ping ? 'open' : codeOf(last);
  }

  #onData(chunk: Buffer): void {
    const skipped = Math.min(this.#skip, chunk.length);
    this.#skip -= skipped;
    this.#held = Buffer.concat([this.#held, chunk.subarray(skipped)]);
    while (this.#held.length >= HEADER_BYTES) {
      const end = HEADER_BYTES + this.#held.readUIntBE(0, 3);
      if (end > HEADER_BYTES + 16_384) this.#problem ??= 'a frame that is too long';
      if (this.#held.length < end) return;
      const [type = 0, flags = 0] = this.#held.subarray(3, 5);
      const came = { type, flags, stream: this.#held.readUInt32BE(5), payload: this.#held.subarray(HEADER_BYTES, end) };
      this.#held = this.#held.subarray(end);
      if (type === FRAME.settings && flags === 0 && !this.#near.destroyed) this.#near.write(frame('settings', ACK, 0));
      if (type === FRAME.headers || type === FRAME.continuation) this.#onBlock(came);
      this.frames.push(came);
    }
  }

  #onBlock({ flags, payload }: Frame): void {
    this.#block.push(payload);
    if ((flags & 4) === 0) return;
    const read = this.#decoder.decode(Buffer.concat(this.#block));
    this.#block = [];
    if (read.kind !== 'fields') this.#problem ??= `a header block that cannot be read: ${JSON.stringify(read)}`;
  }
}

function isLastPong({ type, flags, payload }: Frame): boolean {
  return type === FRAME.ping && flags === ACK && payload.equals(LAST_PING);
}

function isError(came: Frame): boolean {
  return came.type === FRAME.goaway && codeOf(came) !== 0;
}

function codeOf({ payload }: Frame): number {
  return payload.readUInt32BE(4);
}
