/**
 * Sequences of HTTP/2 frames as a client or an origin might send them: mostly what is allowed, with what is not in between,
 * and some with octets changed. Header blocks are written by our encoder, so that they use its table.
 */
import fc from 'fast-check';
import { HpackEncoder, worstCaseBytes } from '../../src/wire/hpack-encoder.ts';

/** RFC 9113 sections 4.1 and 6. */
const TYPE = { data: 0, headers: 1, priority: 2, rst: 3, settings: 4, push: 5, ping: 6, goaway: 7, window: 8, more: 9 };
const END_STREAM = 1;
const ACK = 1;
const END_HEADERS = 4;
const PADDED = 8;
const PRIORITY = 32;
const HEADER_BYTES = 9;
/** nghttp2 ends a connection for more; ours allows 32. */
const MAX_CONTINUATIONS = 8;
const EMPTY = Buffer.alloc(0);

/** One thing that is sent: HEADERS (`head` first on a stream, `trailers` later on), DATA, or a frame as it is given. */
type Step =
  | { readonly kind: 'head' | 'trailers'; readonly to: Target; readonly list: readonly string[]; readonly shape: Shape }
  | { readonly kind: 'data'; readonly to: Target; readonly bytes: number; readonly shape: Shape }
  | { readonly kind: 'frame'; readonly bytes: Buffer };

interface Target {
  /** The how manieth of those streams where it is allowed; where `wild`, of all. */
  readonly nth: number;
  readonly wild: boolean;
}

interface Shape {
  readonly last: boolean;
  /** Octets of the HEADERS frame and of each CONTINUATION; 0: all in one. */
  readonly cut: number;
  readonly pad: number;
  readonly priority: boolean;
}

/** What goes over the wire. */
export interface Script {
  readonly bytes: Buffer;
  /** It has something that node:http2 ends a connection for and ours does not: see LENIENT. */
  readonly lenient: boolean;
  /** Ids of streams that it resets itself: how far they came is a matter of time. */
  readonly resets: ReadonlySet<number>;
}

const regular = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.constantFrom(
      ['x-a', 'b'],
      ['accept', '*/*'],
      ['cookie', 'a=b'],
      ['cookie', 'c=d'],
      ['te', 'trailers'],
    ),
  },
  { weight: 3, arbitrary: fc.constantFrom(['content-length', '0'], ['content-length', '5'], ['content-length', '10']) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ['connection', 'close'],
      ['transfer-encoding', 'chunked'],
      ['X-Upper', 'a'],
      ['te', 'gzip'],
      ['x-a', 'a\r\nb'],
      ['x-a', ' a'],
      ['', 'a'],
      ['x:a', 'b'],
      [':path', '/late'],
      [':unknown', 'a'],
      ['content-length', '+5'],
      ['host', 'other.test'],
    ),
  },
);
const regulars = fc.array(regular, { maxLength: 3 }).map((all) => all.flat());
const REQUEST_HEADS = [
  [':method', 'GET', ':scheme', 'https', ':authority', 'api.test', ':path', '/'],
  [':method', 'POST', ':scheme', 'https', ':authority', 'api.test', ':path', '/v1?a=b'],
  [':method', 'POST', ':scheme', 'https', ':authority', 'api.test', ':path', '/upload'],
];
const BAD_REQUEST_HEADS = [
  [':method', 'GET', ':scheme', 'https', ':authority', 'api.test'],
  [':method', 'GET', ':scheme', 'https', ':authority', 'api.test', ':path', ''],
  [':method', 'GET', ':method', 'GET', ':scheme', 'https', ':authority', 'api.test', ':path', '/'],
  [':status', '200', ':method', 'GET', ':scheme', 'https', ':authority', 'api.test', ':path', '/'],
  ['x-a', 'b', ':method', 'GET', ':scheme', 'https', ':authority', 'api.test', ':path', '/'],
  [],
];
const RESPONSE_HEADS = [
  [':status', '200'],
  [':status', '200', 'content-type', 'text/plain'],
  [':status', '404'],
];
const OTHER_RESPONSE_HEADS = [
  [':status', '100'],
  [':status', '103', 'link', '</a>'],
  [':status', '204'],
  [':status', '304'],
  [':status', '99'],
  [':status', '20'],
  [':status', '101'],
  [':status', '200', ':status', '200'],
  ['x-a', 'b', ':status', '200'],
  [':method', 'GET'],
  ['x-a', 'b'],
];

const rarely = <T>(usual: T, ...unusual: readonly [T, ...(readonly T[])]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 12, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...unusual) });
const targets: fc.Arbitrary<Target> = fc.record({ nth: fc.nat({ max: 5 }), wild: rarely(false, true) });
const shapes: fc.Arbitrary<Shape> = fc.record({
  last: fc.boolean(),
  cut: rarely(0, 1, 7, 20),
  pad: rarely(0, 1, 20, 255),
  priority: rarely(false, true),
});
const data: fc.Arbitrary<Step> = fc.record({
  kind: fc.constant('data' as const),
  to: targets,
  bytes: fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(0, 5, 10) },
    { weight: 1, arbitrary: fc.nat({ max: 16_000 }) },
  ),
  shape: shapes,
});
const trailers: fc.Arbitrary<Step> = fc
  .record({ kind: fc.constant('trailers' as const), to: targets, list: regulars, shape: shapes })
  .chain((step) => rarely(true, false).map((last) => ({ ...step, shape: { ...step.shape, last } })));
const heads = (usual: readonly string[][], odd: readonly string[][], oddity: number): fc.Arbitrary<Step> =>
  fc
    .record({
      kind: fc.constant('head' as const),
      to: targets,
      start: fc.oneof(
        { weight: 100 - oddity, arbitrary: fc.constantFrom(...usual) },
        { weight: oddity, arbitrary: fc.constantFrom(...odd) },
      ),
      more: regulars,
      shape: shapes,
    })
    .map(({ start, more, ...step }) => ({ ...step, list: [...start, ...more] }));

const ids = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(1, 3, 5, 7) }, fc.constantFrom(0, 2, 13, 0x7fffffff));
const numbers = fc.oneof(fc.constantFrom(0, 1, 5, 1_000, 65_535, 0x7fffffff, 0x80000000), fc.nat({ max: 100_000 }));
const octets = fc.uint8Array({ maxLength: 20 }).map((all) => Buffer.from(all));
const settings = fc
  .array(fc.tuple(fc.constantFrom(1, 2, 3, 4, 5, 6, 8, 9, 0xfff), numbers), { maxLength: 3 })
  .map((all) => Buffer.concat(all.flatMap(([id, value]) => [uint(id, 2), uint(value, 4)])));
const frame = (
  type: fc.Arbitrary<number> | number,
  flags: fc.Arbitrary<number> | number,
  id: fc.Arbitrary<number> | number,
  payload: fc.Arbitrary<Buffer>,
): fc.Arbitrary<Step> => {
  const [types, allFlags, to] = [type, flags, id].map((each) => (typeof each === 'number' ? fc.constant(each) : each));
  return fc
    .tuple(types as fc.Arbitrary<number>, allFlags as fc.Arbitrary<number>, to as fc.Arbitrary<number>, payload)
    .map((parts) => ({ kind: 'frame', bytes: frameOf(...parts) }));
};
const others: fc.Arbitrary<Step> = fc.oneof(
  frame(
    TYPE.window,
    0,
    ids,
    numbers.map((value) => uint(value, 4)),
  ),
  frame(TYPE.ping, rarely(0, ACK), rarely(0, 1), fc.constant(Buffer.alloc(8))),
  frame(TYPE.settings, 0, rarely(0, 1), settings),
  frame(
    TYPE.rst,
    0,
    ids,
    fc.constantFrom(0, 1, 7, 8, 99).map((code) => uint(code, 4)),
  ),
  frame(
    TYPE.priority,
    0,
    ids,
    fc.constantFrom(0, 9, 11).map((on) => Buffer.concat([uint(on, 4), uint(15, 1)])),
  ),
  frame(TYPE.more, fc.constantFrom(0, END_HEADERS), ids, octets),
  frame(TYPE.push, fc.constantFrom(0, END_HEADERS), ids, octets),
  frame(
    TYPE.goaway,
    0,
    rarely(0, 1),
    rarely(0, 2).map((code) => Buffer.concat([uint(0x7fffffff, 4), uint(code, 4)])),
  ),
  frame(11, fc.nat({ max: 255 }), ids, octets),
  frame(fc.nat({ max: 10 }), fc.nat({ max: 255 }), ids, octets),
);
const change = fc.record({
  frame: fc.nat({ max: 20 }),
  kind: fc.constantFrom<'octet' | 'drop' | 'twice' | 'cut'>('octet', 'octet', 'drop', 'twice', 'cut'),
  at: fc.nat({ max: 40 }),
  octet: fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 1, 4, 5, 8, 0xff)),
});

/** How far a script leaves what is usual. */
export interface Oddity {
  /** Of a hundred steps, those that are about neither a request nor a response. */
  readonly others: number;
  /** Frames that are changed in some octet, dropped, doubled or cut off. */
  readonly changes: number;
}

/** What a client sends behind its preface and SETTINGS. */
export function clientScripts(oddity: Oddity): fc.Arbitrary<Script> {
  return scripts(heads(REQUEST_HEADS, BAD_REQUEST_HEADS, 3), oddity, []);
}

/** What an origin sends behind its SETTINGS to those who ask on streams `asked`. */
export function originScripts(oddity: Oddity, asked: readonly number[]): fc.Arbitrary<Script> {
  return scripts(heads(RESPONSE_HEADS, OTHER_RESPONSE_HEADS, 25), oddity, asked);
}

function scripts(head: fc.Arbitrary<Step>, oddity: Oddity, asked: readonly number[]): fc.Arbitrary<Script> {
  const step = fc.oneof(
    { weight: 100 - oddity.others, arbitrary: fc.oneof(head, head, data, data, trailers) },
    { weight: oddity.others, arbitrary: others },
  );
  const steps = fc.array(step, { minLength: 1, maxLength: 16 });
  return fc.tuple(steps, fc.array(change, { maxLength: oddity.changes })).map(([all, changes]) => {
    const writer = new ScriptWriter(asked);
    const frames = all.flatMap((each) => writer.framesOf(each));
    for (const its of changes) changeOne(frames, its.frame, its.kind, its.at, its.octet);
    const bytes = Buffer.concat(frames);
    const cut = [...framesIn(bytes)];
    const resets = cut.filter(({ type }) => type === TYPE.rst).map(({ id }) => id);
    return { bytes, lenient: cut.some((its) => LENIENT.some((isSuch) => isSuch(its))), resets: new Set(resets) };
  });
}

interface CutFrame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

/** The frames as a reader finds them, whatever they were before. */
function* framesIn(bytes: Buffer): Generator<CutFrame> {
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const end = at + HEADER_BYTES + bytes.readUIntBE(at, 3);
    const [type = 0, flags = 0] = bytes.subarray(at + 3, at + 5);
    yield { type, flags, id: bytes.readUInt32BE(at + 5) & 0x7fffffff, payload: bytes.subarray(at + HEADER_BYTES, end) };
    at = end;
  }
}

/** What does no harm, and no RFC calls an error of the connection. */
const LENIENT: readonly ((frame: CutFrame) => boolean)[] = [
  // Acknowledgements that nobody waits for.
  ({ type, flags }) => (type === TYPE.ping || type === TYPE.settings) && (flags & ACK) !== 0,
  // Extensions that we do not speak, such as ALTSVC (RFC 9113 section 5.5).
  ({ type }) => type > TYPE.more,
  // A last stream that is none of ours, or a later one than before: nothing is done with it.
  ({ type }) => type === TYPE.goaway,
  // SETTINGS_NO_RFC7540_PRIORITIES in a later frame (RFC 9218 section 2.1.1): we look at no priorities.
  ({ type, payload }) => type === TYPE.settings && payload.some((octet, i) => i % 6 === 1 && octet === 9),
];

/** Knows which streams are in which state, as far as the script says. */
class ScriptWriter {
  readonly #encoder = new HpackEncoder();
  /** Streams whose head is still to come; of a client's, those that it opens are endless. */
  readonly #headless: number[];
  readonly #opens: boolean;
  readonly #open: number[] = [];
  #next = 1;

  constructor(asked: readonly number[]) {
    this.#headless = [...asked];
    this.#opens = asked.length === 0;
  }

  framesOf(step: Step): Buffer[] {
    if (step.kind === 'frame') return [step.bytes];
    const id = this.#streamFor(step);
    if (id === undefined) return [];
    if (step.shape.last) this.#open.splice(this.#open.indexOf(id) >>> 0, 1);
    if (step.kind !== 'data') return headOf(this.#encoder, id, step.list, step.shape);
    return [dataOf(id, step.bytes, step.shape)];
  }

  #streamFor({ kind, to, ...step }: Exclude<Step, { readonly kind: 'frame' }>): number | undefined {
    if (to.wild) return 1 + 2 * to.nth;
    if (kind !== 'head') return this.#open[to.nth % Math.max(this.#open.length, 1)];
    if (this.#opens) {
      this.#open.push(this.#next);
      this.#next += 2;
      return this.#next - 2;
    }
    const at = to.nth % Math.max(this.#headless.length, 1);
    const id = this.#headless[at];
    const isInterim = 'list' in step && step.list[1]?.startsWith('1') === true;
    if (id === undefined || isInterim) return id;
    this.#headless.splice(at, 1);
    this.#open.push(id);
    return id;
  }
}

function changeOne(
  frames: Buffer[],
  nth: number,
  kind: 'octet' | 'drop' | 'twice' | 'cut',
  at: number,
  octet: number,
): void {
  const i = nth % Math.max(frames.length, 1);
  const bytes = frames[i];
  if (bytes === undefined) return;
  if (kind === 'drop') frames.splice(i, 1);
  else if (kind === 'twice') frames.splice(i, 0, bytes);
  else if (kind === 'cut') frames[i] = bytes.subarray(0, at % bytes.length);
  else {
    const changed = Buffer.from(bytes);
    changed[at % changed.length] = octet;
    frames[i] = changed;
  }
}

function headOf(encoder: HpackEncoder, id: number, list: readonly string[], shape: Shape): Buffer[] {
  const out = Buffer.alloc(worstCaseBytes(list));
  const block = out.subarray(0, encoder.encode(list, undefined, out, 0));
  const cut = shape.cut === 0 ? block.length : Math.max(shape.cut, Math.ceil(block.length / MAX_CONTINUATIONS));
  const parts = [block.subarray(0, cut)];
  for (let at = cut; at < block.length; at += cut) parts.push(block.subarray(at, at + cut));
  return parts.map((part, i) => {
    const ends = i === parts.length - 1 ? END_HEADERS : 0;
    if (i > 0) return frameOf(TYPE.more, ends, id, part);
    const flags = ends | (shape.last ? END_STREAM : 0) | (shape.pad > 0 ? PADDED : 0) | (shape.priority ? PRIORITY : 0);
    const before = [shape.pad > 0 ? uint(shape.pad, 1) : EMPTY, shape.priority ? Buffer.alloc(5) : EMPTY];
    return frameOf(TYPE.headers, flags, id, Buffer.concat([...before, part, Buffer.alloc(shape.pad)]));
  });
}

function dataOf(id: number, bytes: number, { pad, last }: Shape): Buffer {
  const body = Buffer.alloc(bytes, 'body ');
  const payload = pad > 0 ? Buffer.concat([uint(pad, 1), body, Buffer.alloc(pad)]) : body;
  return frameOf(TYPE.data, (last ? END_STREAM : 0) | (pad > 0 ? PADDED : 0), id, payload);
}

function frameOf(type: number, flags: number, id: number, payload: Buffer): Buffer {
  return Buffer.concat([uint(payload.length, 3), Buffer.from([type, flags]), uint(id, 4), payload]);
}

function uint(value: number, bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  out.writeUIntBE(value, 0, bytes);
  return out;
}
