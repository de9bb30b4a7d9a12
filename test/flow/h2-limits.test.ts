/**
 * What one HTTP/2 connection may ask of us, frame by frame (threats 8, 37): frames that bring nothing, streams that we are
 * made to reset, windows, blocks that unfold. Each flood ends its connection with the code of RFC 9113, and the same in small
 * is served. Floods that are bounded though nobody reads their answers: h2-floods.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { dataFrame, FRAME, type Frame, frame, H2Wire, headersFrame } from '../kit/h2-wire.ts';
import type { Origin, OriginReply } from '../kit/origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { askThrough, fieldsOf, type H2Scene, nextOrigin, openBoth, startH2Scene, startRawH2Scene } from './h2-scene.ts';
import { interceptRule } from './intercept-scene.ts';

/** RFC 9113 section 7. */
const CODE = { protocol: 1, flowControl: 3, streamClosed: 5, frameSize: 6, refused: 7, compression: 9, calm: 11 };
/** More than the burst of any bucket, and as many as anybody may send. */
const FLOOD = 12_000;
const FEW = 100;
const FRAMES_AT_ONCE = 500;
/** What 200,000 frames of a byte may leave behind, with our own of them in the same process. */
const MAX_GROWTH_BYTES = 150 * 1024 * 1024;
const DEFAULT_WINDOW_BYTES = 65_535;
const MAX_WINDOW_BYTES = 0x7fffffff;
const MAX_STREAMS = 128;
const END_STREAM = 1;
const END_HEADERS = 4;
const END_BOTH = 5;
const INITIAL_WINDOW = 4;
/** More than the default of --idle-timeout-ms. */
const IDLE_MS = 301_000;

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), uint32(value)]);
}

const NO_WINDOWS = frame('settings', 0, 0, setting(INITIAL_WINDOW, 0));

/** A frame whose type node:http2 has no name for here: PRIORITY, or none at all. */
function frameOfType(type: number, stream: number, payload: Buffer): Buffer {
  const bytes = frame('data', 0, stream, payload);
  bytes[3] = type;
  return bytes;
}

/** Sends `count` of them for as long as the connection takes it. */
async function sendMany(wire: H2Wire, count: number, nth: (i: number) => Buffer): Promise<void> {
  for (let i = 0; i < count && wire.socket.ended === undefined; i += FRAMES_AT_ONCE) {
    const many = Array.from({ length: Math.min(FRAMES_AT_ONCE, count - i) }, (_, j) => nth(i + j));
    await wire.send(...many).catch(() => undefined);
  }
}

async function isServed(wire: H2Wire, stream: number, path = '/good'): Promise<void> {
  await wire.send(headersFrame(stream, fieldsOf('GET', path)));
  await wire.next('headers', stream);
}

/** What /echo had of the request that was sent on `stream`. */
function echoed(wire: H2Wire, stream: number): Buffer {
  return Buffer.from((JSON.parse(wire.dataOn(stream).toString('latin1')) as { body: string }).body, 'latin1');
}

const urls = (scene: H2Scene<Origin>): readonly string[] => scene.origin.heads.all.map(({ url }) => url);

describe('frames that bring nothing', () => {
  it.each([
    ['PING', () => frame('ping', 0, 0, Buffer.alloc(8))],
    ['acknowledged PING', () => frame('ping', 1, 0, Buffer.alloc(8))],
    ['SETTINGS', () => frame('settings', 0, 0)],
    ['SETTINGS that move all windows', (i: number) => frame('settings', 0, 0, setting(INITIAL_WINDOW, i))],
    ['PRIORITY', (i: number) => frameOfType(2, 2 * i + 1, Buffer.alloc(5))],
    ['WINDOW_UPDATE of the connection', () => frame('window', 0, 0, uint32(1))],
    ['WINDOW_UPDATE of a stream', () => frame('window', 0, 1, uint32(1))],
    ['empty DATA', () => dataFrame(1, '')],
    ['DATA of padding alone', () => frame('data', 8, 1, Buffer.from([3, 0, 0, 0]))],
    ['a type that nobody knows', () => frameOfType(0x7f, 0, Buffer.from('x'))],
  ] as const)('end their connection where they are a flood, and do not where they are few: %s', async (_, nth) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false }));
    await sendMany(wire, FEW, nth);
    await isServed(wire, 3);
    await sendMany(wire, FLOOD, nth);
    expect(await wire.nextCode('goaway')).toBe(CODE.calm);
    await wire[Symbol.asyncDispose]();
    await scene.proxy.nextRecord(({ event, reason }) => event === 'flow' && reason === 'bad_request');
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(['/good']);
  });
});

describe('streams that an agent makes us reset', () => {
  const opened = (stream: number, more: readonly (readonly [string, string])[] = []): Buffer =>
    headersFrame(stream, fieldsOf('POST', '/evil', more), { endStream: false });
  it.each([
    ['by a window that widens by nothing', (s: number) => [opened(s), frame('window', 0, s, uint32(0))], CODE.protocol],
    [
      'by a window that is too wide',
      (s: number) => [opened(s), frame('window', 0, s, uint32(MAX_WINDOW_BYTES))],
      CODE.flowControl,
    ],
    [
      'by a body that is longer than it said',
      (s: number) => [opened(s, [['content-length', '1']]), dataFrame(s, 'ab')],
      CODE.protocol,
    ],
    [
      'by a second head',
      (s: number) => [opened(s), headersFrame(s, fieldsOf('POST', '/evil'), { endStream: false })],
      CODE.protocol,
    ],
    [
      'by a length without a body',
      (s: number) => [headersFrame(s, fieldsOf('POST', '/evil', [['content-length', '1']]))],
      CODE.protocol,
    ],
  ] as const)('end its connection where they are many, and a few do not: %s', async (_, frames, code) => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    await wire.send(...frames(1));
    expect(await wire.nextCode('rst', 1)).toBe(code);
    await wire.send(headersFrame(3, fieldsOf('GET', '/good')));
    const isWhole = ({ type, flags }: Frame): boolean => type === FRAME.headers && (flags & END_STREAM) !== 0;
    const good = await origin.frames.next(isWhole);
    await origin.send(headersFrame(good.stream, [[':status', '204']]));
    await wire.next('headers', 3);
    await sendMany(wire, 3_000, (i) => Buffer.concat(frames(2 * i + 5)));
    expect(await wire.nextCode('goaway')).toBe(CODE.calm);
    await wire[Symbol.asyncDispose]();
    await origin.socket.untilEnded();
    expect(origin.frames.all.filter(({ type }) => type === FRAME.headers).length).toBeLessThan(1_500);
    expect(origin.frames.all.filter(isWhole)).toEqual([good]);
    expect(origin.frames.all.filter(({ type, flags }) => type === FRAME.data && flags !== 0)).toEqual([]);
  });

  it('by streams beyond those that are allowed end its connection where they are many, and a few do not', async () => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    for (let i = 0; i < MAX_STREAMS; i++) {
      await wire.send(headersFrame(2 * i + 1, fieldsOf('POST', '/echo'), { endStream: false }));
    }
    await wire.send(headersFrame(2 * MAX_STREAMS + 1, fieldsOf('GET', '/evil')));
    expect(await wire.nextCode('rst', 2 * MAX_STREAMS + 1)).toBe(CODE.refused);
    await wire.send(dataFrame(1, 'one of the first', true));
    await wire.next('headers', 1);
    await isServed(wire, 2 * MAX_STREAMS + 3);
    await sendMany(wire, 3_000, (i) => headersFrame(2 * (MAX_STREAMS + i) + 5, fieldsOf('GET', '/evil')));
    expect(await wire.nextCode('goaway')).toBe(CODE.calm);
    expect(urls(scene).filter((url) => url === '/evil').length).toBeLessThan(1_500);
  });
});

describe('a window', () => {
  it.each([
    [
      'of the connection, by WINDOW_UPDATE',
      frame('window', 0, 0, uint32(MAX_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)),
      // The answer on stream 3 has narrowed it by as many bytes.
      frame('window', 0, 0, uint32('ok'.length + 1)),
    ],
    [
      'of a stream, by SETTINGS',
      Buffer.concat([
        frame('window', 0, 1, uint32(MAX_WINDOW_BYTES - DEFAULT_WINDOW_BYTES)),
        frame('settings', 0, 0, setting(INITIAL_WINDOW, DEFAULT_WINDOW_BYTES)),
      ]),
      frame('settings', 0, 0, setting(INITIAL_WINDOW, DEFAULT_WINDOW_BYTES + 1)),
    ],
    [
      'of streams to come, by SETTINGS',
      NO_WINDOWS,
      frame('settings', 0, 0, setting(INITIAL_WINDOW, MAX_WINDOW_BYTES + 1)),
    ],
  ])('may be as wide as 2^31-1 and no wider: %s', async (_, widest, wider) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false }), widest);
    await isServed(wire, 3);
    if (!wire.ended(3) && !widest.equals(NO_WINDOWS)) await wire.next('data', 3);
    await wire.send(wider);
    expect(await wire.nextCode('goaway')).toBe(CODE.flowControl);
  });

  it('that its agent never opens holds its answer back until the connection has been idle, and no longer', async () => {
    const handler = (_: unknown, reply: OriginReply): boolean => {
      reply.end(Buffer.alloc(1024 * 1024, 'd'));
      return true;
    };
    await using scene = await startH2Scene({ origin: { handler } });
    await using wire = await scene.openWire();
    await wire.send(NO_WINDOWS);
    await isServed(wire, 1, '/opened');
    await isServed(wire, 3, '/held');
    await wire.send(frame('window', 0, 1, uint32(1_000)));
    await wire.next('data', 1);
    scene.proxy.clock.advance(IDLE_MS);
    await wire.next('goaway');
    await scene.proxy.nextRecord(({ path, verdict }) => path === '/held' && verdict === 'failed');
    expect([wire.dataOn(1).length, wire.dataOn(3).length]).toEqual([1_000, 0]);
    expect(wire.ended(1) || wire.ended(3)).toBe(false);
    await scene.origin.closed.atLeast(1);
  });

  it('made smaller than what is under way holds back what comes after it, and all of it arrives', async () => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    const body = Buffer.alloc(100_000, 'b');
    await wire.send(headersFrame(1, fieldsOf('POST', '/echo'), { endStream: false }));
    for (let at = 0; at < body.length; at += 10_000) await wire.send(dataFrame(1, body.subarray(at, at + 10_000)));
    await wire.send(dataFrame(1, '', true));
    while (wire.dataOn(1).length < DEFAULT_WINDOW_BYTES) await wire.next('data', 1);
    expect(wire.dataOn(1)).toHaveLength(DEFAULT_WINDOW_BYTES);
    await wire.send(NO_WINDOWS, frame('window', 0, 0, uint32(1_000_000)));
    await wire.send(frame('window', 0, 1, uint32(DEFAULT_WINDOW_BYTES)));
    await isServed(wire, 3);
    expect(wire.dataOn(1)).toHaveLength(DEFAULT_WINDOW_BYTES);
    await wire.send(frame('window', 0, 1, uint32(1_000_000)));
    while (!wire.ended(1)) await wire.next('data', 1);
    expect(echoed(wire, 1).equals(body)).toBe(true);
  });

  it('of ours that its agent does not keep to resets the stream, and one that it does keep to does not', async () => {
    await using scene = await startRawH2Scene();
    const opening = scene.openWire();
    await using origin = await new H2Wire(await scene.origin.peers.next()).startServer(setting(INITIAL_WINDOW, 0));
    await using wire = await opening;
    const { payload } = await wire.next('settings');
    const ids = Array.from({ length: payload.length / 6 }, (_, i) => payload.readUInt16BE(6 * i));
    const allowed = payload.readUInt32BE(6 * ids.indexOf(INITIAL_WINDOW) + 2);
    for (const stream of [1, 3]) {
      await wire.send(headersFrame(stream, fieldsOf('POST', '/'), { endStream: false }));
      await origin.next('headers');
      for (let left = allowed; left > 0; left -= 16_384) {
        await wire.send(dataFrame(stream, Buffer.alloc(Math.min(left, 16_384), 'u')));
      }
    }
    await wire.send(dataFrame(1, 'u'));
    expect(await wire.nextCode('rst', 1)).toBe(CODE.flowControl);
    await wire.send(dataFrame(3, '', true));
    await origin.send(headersFrame(3, [[':status', '204']]));
    await wire.next('headers', 3);
    expect(wire.frames.all.some(({ type, stream }) => type === FRAME.rst && stream === 3)).toBe(false);
  });
});

describe('bytes in small pieces', () => {
  it('of one each arrive as they were, whether a rule holds them back or not', async () => {
    const rules = rulesFile(
      interceptRule('held', 'http.path == "/echo?held" && http.body.startsWith("ab")', ', match_body: true'),
      interceptRule('api', 'http.path != "/echo?held"'),
    );
    await using scene = await startH2Scene({ rules });
    const before = process.memoryUsage().rss;
    for (const path of ['/echo?held', '/echo']) {
      await using wire = await scene.openWire();
      await wire.send(
        frame('window', 0, 0, uint32(1_000_000)),
        frame('settings', 0, 0, setting(INITIAL_WINDOW, 1_000_000)),
      );
      await wire.send(headersFrame(1, fieldsOf('POST', path), { endStream: false }));
      const body = Buffer.alloc(100_000, 'abc');
      await sendMany(wire, body.length, (i) => dataFrame(1, body.subarray(i, i + 1)));
      await wire.send(dataFrame(1, '', true));
      while (!wire.ended(1)) await wire.next('data', 1);
      expect(echoed(wire, 1).equals(body)).toBe(true);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(MAX_GROWTH_BYTES);
  });
});

describe('a header block', () => {
  /** `GET https://api.test/evil`, and an entry of the table that its name and 4,000 octets fill. */
  const request = (path: string, entry: Buffer, uses: number): Buffer =>
    Buffer.concat([
      entry,
      Buffer.from([0x82, 0x87, 0x01, 8]),
      Buffer.from('api.test'),
      Buffer.from([0x04, path.length]),
      Buffer.from(path),
      Buffer.alloc(uses, 0xbe),
    ]);
  const big = Buffer.concat([
    Buffer.from([0x40, 3]),
    Buffer.from('x-a'),
    Buffer.from([0x7f, 0xa1, 0x1e]),
    Buffer.alloc(4_000, 'a'),
  ]);
  const literal = Buffer.from([0x82, 0x87, 0x01, 8, ...Buffer.from('api.test'), 0x04, 5, ...Buffer.from('/good')]);

  it.each([
    ['to more than is allowed', 100, 'too_large'],
    ['to sixteen times what is allowed', 12_000, 'broken'],
  ] as const)('that unfolds %s reaches no origin, and one that unfolds a little does', async (_, uses, answer) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(frame('headers', END_BOTH, 1, Buffer.concat([literal, big])));
    await wire.next('headers', 1);
    await wire.send(frame('headers', END_BOTH, 3, Buffer.concat([literal, Buffer.alloc(3, 0xbe)])));
    await wire.next('headers', 3);
    await wire.send(frame('headers', END_BOTH, 5, request('/evil', Buffer.alloc(0), uses)));
    if (answer === 'broken') expect(await wire.nextCode('goaway')).toBe(CODE.compression);
    else {
      await wire.next('headers', 5);
      await scene.proxy.nextRecord(({ reason }) => reason === 'header_too_large');
      await isServed(wire, 7);
    }
    expect(urls(scene)).not.toContain('/evil');
    expect(scene.origin.heads.all.slice(0, 2).map((head) => head.header('x-a').length)).toEqual([1, 3]);
  });

  it.each([
    ['with an index that is in no table', Buffer.from([0xff, 0x40]), CODE.compression],
    ['that ends in the middle of a field', Buffer.from([0x00, 0x05, 0x78]), CODE.compression],
  ])('%s ends its connection, and reaches no origin', async (_, more, code) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await wire.send(frame('headers', END_BOTH, 1, literal));
    await wire.next('headers', 1);
    await wire.send(frame('headers', END_BOTH, 3, request('/evil', more, 0)));
    expect(await wire.nextCode('goaway')).toBe(code);
    expect(urls(scene)).toEqual(['/good']);
  });

  it('in 30 CONTINUATION frames is served, and in 40 ends its connection', async () => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    const cut = (path: string, frames: number, stream: number): Buffer[] => {
      const fields = Array.from({ length: frames }, (_, i) => [0x00, 3, 0x78, 0x2d, 0x61 + (i % 26), 1, 0x62]);
      const start = request(path, Buffer.alloc(0), 0);
      const first = frame('headers', 1, stream, start);
      return [
        first,
        ...fields.map((field, i) =>
          frame('continuation', i === frames - 1 ? END_HEADERS : 0, stream, Buffer.from(field)),
        ),
      ];
    };
    await wire.send(...cut('/good', 30, 1));
    await wire.next('headers', 1);
    await wire.send(...cut('/evil', 40, 3));
    expect(await wire.nextCode('goaway')).toBe(CODE.calm);
    expect(urls(scene)).toEqual(['/good']);
  });
});

describe('a frame', () => {
  it.each([
    [
      'of 16,385 bytes',
      (s: number) => dataFrame(s, Buffer.alloc(16_385)),
      (s: number) => dataFrame(s, Buffer.alloc(16_384), true),
      CODE.frameSize,
    ],
    [
      'of a stream that was never opened',
      () => dataFrame(99, 'x'),
      (s: number) => dataFrame(s, 'x', true),
      CODE.protocol,
    ],
    [
      'of a stream of ours',
      () => headersFrame(2, fieldsOf('GET', '/evil')),
      (s: number) => dataFrame(s, 'x', true),
      CODE.protocol,
    ],
    [
      'of a stream that has ended',
      () => headersFrame(1, fieldsOf('GET', '/evil')),
      (s: number) => dataFrame(s, 'x', true),
      CODE.streamClosed,
    ],
    [
      'PUSH_PROMISE',
      (s: number) => frameOfType(5, s, Buffer.alloc(9)),
      (s: number) => dataFrame(s, 'x', true),
      CODE.protocol,
    ],
    [
      'RST_STREAM of a wrong size',
      (s: number) => frame('rst', 0, s, Buffer.alloc(5)),
      (s: number) => dataFrame(s, 'x', true),
      CODE.frameSize,
    ],
    [
      'PING of a wrong size',
      () => frame('ping', 0, 0, Buffer.alloc(7)),
      (s: number) => dataFrame(s, 'x', true),
      CODE.frameSize,
    ],
    [
      'SETTINGS of a wrong size',
      () => frame('settings', 0, 0, Buffer.alloc(5)),
      (s: number) => dataFrame(s, 'x', true),
      CODE.frameSize,
    ],
    [
      'SETTINGS out of range',
      () => frame('settings', 0, 0, setting(2, 2)),
      (s: number) => dataFrame(s, 'x', true),
      CODE.protocol,
    ],
    [
      'CONTINUATION of nothing',
      (s: number) => frame('continuation', 4, s),
      (s: number) => dataFrame(s, 'x', true),
      CODE.protocol,
    ],
  ] as const)('%s ends the connection, and what is allowed in its place is served', async (_, bad, good, code) => {
    await using scene = await startH2Scene();
    await using wire = await scene.openWire();
    await isServed(wire, 1);
    while (!wire.ended(1)) await wire.next('data', 1);
    for (const [stream, that] of [
      [3, good],
      [5, bad],
    ] as const) {
      await wire.send(headersFrame(stream, fieldsOf('POST', '/echo'), { endStream: false }), that(stream));
      if (that === good) await wire.next('headers', stream);
    }
    expect(await wire.nextCode('goaway')).toBe(code);
    expect(urls(scene)).not.toContain('/evil');
  });
});

describe('an origin', () => {
  it.each([
    ['PING', () => frame('ping', 0, 0, Buffer.alloc(8))],
    ['SETTINGS', () => frame('settings', 0, 0)],
    ['WINDOW_UPDATE', () => frame('window', 0, 0, uint32(1))],
    ['PRIORITY', () => frameOfType(2, 1, Buffer.alloc(5))],
    ['empty DATA', (stream: number) => dataFrame(stream, '')],
  ] as const)(
    'that floods us with %s loses its connection and no other, and one that sends a few is heard',
    async (_, nth) => {
      await using scene = await startRawH2Scene();
      const { wire, origin } = await openBoth(scene);
      const first = (await askThrough(wire, origin, 1)).stream;
      await origin.send(headersFrame(first, [[':status', '200']], { endStream: false }));
      await sendMany(origin, FEW, () => nth(first));
      await origin.send(dataFrame(first, 'whole', true));
      await wire.next('headers', 1);
      while (!wire.ended(1)) await wire.next('data', 1);
      const second = (await askThrough(wire, origin, 3)).stream;
      await origin.send(headersFrame(second, [[':status', '200']], { endStream: false }));
      await wire.next('headers', 3);
      await sendMany(origin, FLOOD, () => nth(second));
      await wire.next('rst', 3);
      expect(wire.ended(3)).toBe(false);
      await wire.send(headersFrame(5, fieldsOf('GET', '/5')));
      await using other = await nextOrigin(scene);
      const third = (await other.next('headers')).stream;
      await other.send(headersFrame(third, [[':status', '204']]));
      await wire.next('headers', 5);
      await wire[Symbol.asyncDispose]();
    },
  );

  it.each([
    ['widens a window too far', (s: number) => frame('window', 0, s, uint32(MAX_WINDOW_BYTES))],
    ['sends DATA before a head', (s: number) => dataFrame(s, 'early')],
    ['pushes', (s: number) => frameOfType(5, s, Buffer.alloc(9))],
    ['has a header block that cannot be read', (s: number) => frame('headers', END_BOTH, s, Buffer.from([0xff, 0x40]))],
    [
      'has a header list that is too large',
      (s: number) =>
        headersFrame(s, [[':status', '200'], ...Array.from({ length: 300 }, (_, i) => [`x-${i}`, ''] as const)]),
    ],
    ['opens a stream of its own', () => headersFrame(2, [[':status', '200']])],
    ['answers what nobody asked', () => headersFrame(99, [[':status', '200']])],
  ] as const)('that %s has its answer replaced by a 502, and one that does not has it passed on', async (_, bad) => {
    await using scene = await startRawH2Scene();
    const { wire, origin } = await openBoth(scene);
    const first = (await askThrough(wire, origin, 1)).stream;
    await origin.send(headersFrame(first, [[':status', '200']]));
    await wire.next('headers', 1);
    const second = (await askThrough(wire, origin, 3)).stream;
    await origin.send(bad(second));
    await scene.proxy.nextRecord(({ path, status }) => path === '/3' && status === 502);
    await wire.next('headers', 3);
    await wire[Symbol.asyncDispose]();
  });
});
