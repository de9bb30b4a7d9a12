import { describe, expect, it } from 'vitest';
import { asksForSecondHello, type ServerFlight, ServerFlightReader } from '../../../src/wire/server-flight.ts';

const u8 = (value: number) => Buffer.from([value]);
const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff]);
const u24 = (value: number) => Buffer.from([value >> 16, (value >> 8) & 0xff, value & 0xff]);
const v8 = (data: Buffer) => Buffer.concat([u8(data.length), data]);
const v16 = (data: Buffer) => Buffer.concat([u16(data.length), data]);
const v24 = (data: Buffer) => Buffer.concat([u24(data.length), data]);
const extension = (type: number, data: Buffer) => Buffer.concat([u16(type), v16(data)]);
const message = (type: number, body: Buffer) => Buffer.concat([u8(type), v24(body)]);

const RETRY = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');
const TLS13 = extension(43, u16(0x0304));

interface Hello {
  readonly version?: number;
  readonly random?: Buffer;
  readonly sessionId?: Buffer;
  readonly compression?: number;
  /** undefined: the block is left out. */
  readonly extensions?: Buffer | undefined;
  readonly tail?: Buffer;
}

function serverHello(parts: Hello = {}): Buffer {
  const extensions = 'extensions' in parts ? parts.extensions : Buffer.alloc(0);
  return message(
    2,
    Buffer.concat([
      u16(parts.version ?? 0x0303),
      parts.random ?? Buffer.alloc(32, 7),
      v8(parts.sessionId ?? Buffer.alloc(32, 1)),
      u16(0xc02f),
      u8(parts.compression ?? 0),
      extensions === undefined ? Buffer.alloc(0) : v16(extensions),
      parts.tail ?? Buffer.alloc(0),
    ]),
  );
}

const LEAF = Buffer.from('leaf');
const ISSUER = Buffer.from('issuer');
const certificates = (...all: Buffer[]) => message(11, v24(Buffer.concat(all.map(v24))));

function records(handshake: Buffer, bytesEach = 16_384, type = 22): Buffer {
  const all: Buffer[] = [];
  for (let at = 0; at < handshake.length; at += bytesEach) {
    all.push(u8(type), u16(0x0303), v16(handshake.subarray(at, at + bytesEach)));
  }
  return Buffer.concat(all);
}

const alert = (level: number, description: number) => records(Buffer.from([level, description]), 2, 21);
const CHANGE_CIPHER_SPEC = records(u8(1), 1, 20);

function read(bytes: Buffer, step = bytes.length): ServerFlight {
  const reader = new ServerFlightReader();
  let flight: ServerFlight = { kind: 'incomplete' };
  for (let at = 0; at < bytes.length; at += step) flight = reader.push(bytes.subarray(at, at + step));
  expect(reader.bytes).toEqual(bytes);
  return flight;
}

const WITH_CHAIN = Buffer.concat([serverHello(), certificates(LEAF, ISSUER)]);
const CHAIN = { kind: 'certificate', chain: [LEAF, ISSUER] };

describe('the first flight of a server', () => {
  it('shows its certificates in TLS 1.2, the same however it is cut into records and segments', () => {
    expect(read(records(WITH_CHAIN))).toEqual(CHAIN);
    for (const bytesEach of [1, 2, 3, 4, 5, 50, WITH_CHAIN.length - 1]) {
      const flight = records(WITH_CHAIN, bytesEach);
      for (const step of [1, 2, 3, 7, 64]) expect(read(flight, step)).toEqual(CHAIN);
      for (let end = 0; end < flight.length; end++)
        expect(read(flight.subarray(0, end))).toEqual({ kind: 'incomplete' });
    }
  });

  it('is kept whole with what comes after the answer, and the answer stays', () => {
    const reader = new ServerFlightReader();
    const after = Buffer.from('\x17\x03\x03\x00\x05later', 'latin1');
    expect(reader.push(Buffer.concat([records(WITH_CHAIN), after]))).toEqual(CHAIN);
    expect(reader.push(after)).toEqual(CHAIN);
    expect(reader.bytes).toEqual(Buffer.concat([records(WITH_CHAIN), after, after]));
    const more = Buffer.concat([WITH_CHAIN, message(14, Buffer.alloc(0))]);
    expect(read(records(more))).toEqual(CHAIN);
  });

  it.each([
    ['TLS 1.3', 'tls13', records(serverHello({ extensions: TLS13 }))],
    [
      'a TLS 1.3 server that asks for another ClientHello',
      'tls13_retry',
      records(serverHello({ random: RETRY, extensions: TLS13 })),
    ],
    ['a resumed session', 'resumed', Buffer.concat([records(serverHello()), CHANGE_CIPHER_SPEC])],
    [
      'a resumed session with a new ticket',
      'resumed',
      records(Buffer.concat([serverHello(), message(4, Buffer.alloc(8))])),
    ],
    [
      'a suite without certificates',
      'anonymous',
      records(Buffer.concat([serverHello(), message(12, Buffer.alloc(8))])),
    ],
    ['an empty list of certificates', 'anonymous', records(Buffer.concat([serverHello(), certificates()]))],
  ])('hides the certificate in %s, and shows it in a full handshake of TLS 1.2', (_, why, flight) => {
    for (const step of [1, 5, flight.length]) expect(read(flight, step)).toEqual({ kind: 'hidden', why });
    expect(read(records(WITH_CHAIN))).toEqual(CHAIN);
  });

  it('may warn of the name before the ServerHello (RFC 6066), and anything else of that kind ends it', () => {
    expect(read(Buffer.concat([alert(1, 112), records(WITH_CHAIN)]))).toEqual(CHAIN);
    expect(read(alert(2, 40))).toEqual({ kind: 'alert', description: 40 });
    expect(read(alert(1, 0))).toEqual({ kind: 'alert', description: 0 });
    const late = Buffer.concat([records(serverHello()), alert(1, 112), records(certificates(LEAF))]);
    expect(read(late)).toEqual({ kind: 'alert', description: 112 });
  });

  it('may leave its extensions out, and may be of an older version, which is said', () => {
    expect(read(records(Buffer.concat([serverHello({ extensions: undefined }), certificates(LEAF)])))).toMatchObject({
      kind: 'certificate',
    });
    expect(read(records(serverHello({ version: 0x0301 })))).toEqual({ kind: 'outdated', version: 0x0301 });
  });

  it.each([
    ['plain text', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['application data', records(u8(0), 1, 23)],
    ['a record of version 2', Buffer.from([22, 2, 0, 0, 4, 2, 0, 0, 0])],
    ['an empty record', Buffer.from([22, 3, 3, 0, 0])],
    ['a record over 16384 bytes', Buffer.from([22, 3, 3, 0x40, 0x01])],
    ['an alert of one byte', records(u8(1), 1, 21)],
    ['change_cipher_spec first', CHANGE_CIPHER_SPEC],
    ['a certificate first', records(certificates(LEAF))],
    ['a HelloRequest first', records(message(0, Buffer.alloc(0)))],
    ['a HelloRequest before the certificate', records(Buffer.concat([serverHello(), message(0, Buffer.alloc(0))]))],
    ['two ServerHellos', records(Buffer.concat([serverHello(), serverHello()]))],
    ['an alert inside a message', Buffer.concat([records(serverHello().subarray(0, 20)), alert(1, 112)])],
    ['a message over 128 KiB', records(Buffer.from([2, 2, 0, 0]))],
    ['a ServerHello of version 4', records(serverHello({ version: 0x0404 }))],
    ['a session id of 33 bytes', records(serverHello({ sessionId: Buffer.alloc(33) }))],
    ['compression', records(serverHello({ compression: 1 }))],
    ['bytes after the extensions', records(serverHello({ tail: u8(0) }))],
    ['an extension cut short', records(serverHello({ extensions: Buffer.from([0, 0, 0, 9, 0]) }))],
    ['an extension twice', records(serverHello({ extensions: Buffer.concat([TLS13, TLS13]) }))],
    ['another version in supported_versions', records(serverHello({ extensions: extension(43, u16(0x0303)) }))],
    ['a draft of TLS 1.3', records(serverHello({ extensions: extension(43, u16(0x7f1c)) }))],
    ['half a version', records(serverHello({ extensions: extension(43, u8(3)) }))],
    ['supported_versions beside TLS 1.1', records(serverHello({ version: 0x0302, extensions: TLS13 }))],
    ['bytes after a TLS 1.3 ServerHello', records(Buffer.concat([serverHello({ extensions: TLS13 }), u8(8)]))],
    ['a raw public key', records(serverHello({ extensions: extension(20, u8(2)) }))],
    ['an OpenPGP certificate', records(serverHello({ extensions: extension(9, u8(1)) }))],
    ['an empty certificate', records(Buffer.concat([serverHello(), certificates(Buffer.alloc(0))]))],
    ['a certificate longer than the list', records(Buffer.concat([serverHello(), message(11, v24(u24(9)))]))],
    [
      'bytes after the list',
      records(Buffer.concat([serverHello(), message(11, Buffer.concat([v24(v24(LEAF)), u8(0)]))])),
    ],
    ['a list longer than its message', records(Buffer.concat([serverHello(), message(11, u24(9))]))],
  ])('is malformed with %s, and read without', (_, flight) => {
    for (const step of [1, flight.length]) {
      expect(read(flight, step)).toMatchObject({ kind: 'malformed', detail: expect.stringMatching(/^[ -~]+$/) });
    }
    expect(read(records(WITH_CHAIN))).toEqual(CHAIN);
  });

  it('over 128 KiB, records and all, is malformed, and read just below', () => {
    const flight = (bytes: number) => Buffer.concat([serverHello(), certificates(Buffer.alloc(bytes))]);
    expect(read(records(flight(130_000)))).toMatchObject({ kind: 'certificate' });
    expect(read(records(flight(131_072)))).toMatchObject({ kind: 'malformed' });
    expect(read(records(flight(60_000), 1))).toMatchObject({ kind: 'malformed' });
    expect(read(records(flight(20_000), 1))).toMatchObject({ kind: 'certificate' });
  });
});

describe('a server asks for a second ClientHello', () => {
  const retry = serverHello({ random: RETRY, extensions: TLS13 });
  const warned = alert(1, 112);

  it.each([
    ['it does', records(retry), true],
    ['it does, in records of one byte', records(retry, 1), true],
    ['it does, after a warning', Buffer.concat([warned, CHANGE_CIPHER_SPEC, records(retry)]), true],
    ['it goes on', records(serverHello({ extensions: TLS13 })), false],
    ['it goes on, after a warning', Buffer.concat([warned, records(serverHello())]), false],
    ['it says something else', records(certificates(LEAF)), false],
    ['it speaks no TLS', Buffer.from('220 ready\r\n'), false],
    ['it never comes to a message', Buffer.concat(Array.from({ length: 200 }, () => warned)), true],
  ])('where %s, which is known once enough is there', (_how, said, asks) => {
    expect(asksForSecondHello(said)).toBe(asks);
    let at = 0;
    while (asksForSecondHello(said.subarray(0, at)) === undefined) at++;
    expect(at).toBeGreaterThan(0);
    for (; at <= said.length; at++) expect(asksForSecondHello(said.subarray(0, at))).toBe(asks);
  });
});
