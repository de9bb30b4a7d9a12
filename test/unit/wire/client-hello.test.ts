import { describe, expect, it } from 'vitest';
import { readClientHello } from '../../../src/wire/client-hello.ts';

const u8 = (value: number) => Buffer.from([value]);
const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff]);
const v8 = (data: Buffer) => Buffer.concat([u8(data.length), data]);
const v16 = (data: Buffer) => Buffer.concat([u16(data.length), data]);
const text = (value: string) => Buffer.from(value, 'latin1');

const serverName = (name: string, type = 0) => Buffer.concat([u8(type), v16(text(name))]);
const extension = (type: number, data: Buffer) => Buffer.concat([u16(type), v16(data)]);
const sni = (name: string) => extension(0, v16(serverName(name)));
const alpn = (...names: string[]) => extension(16, v16(Buffer.concat(names.map((name) => v8(text(name))))));
const versions = (...all: number[]) => extension(43, v8(Buffer.concat(all.map(u16))));

interface Parts {
  readonly version?: number;
  readonly sessionId?: Buffer;
  readonly suites?: Buffer;
  readonly compression?: Buffer;
  /** undefined: the block of extensions is left out. */
  readonly extensions?: Buffer | undefined;
  readonly tail?: Buffer;
}

function message(parts: Parts): Buffer {
  const body = Buffer.concat([
    u16(parts.version ?? 0x0303),
    Buffer.alloc(32, 7),
    v8(parts.sessionId ?? Buffer.alloc(32, 1)),
    v16(parts.suites ?? Buffer.from([0x13, 0x01, 0x13, 0x02])),
    v8(parts.compression ?? u8(0)),
    'extensions' in parts && parts.extensions === undefined
      ? Buffer.alloc(0)
      : v16(parts.extensions ?? sni('example.com')),
    parts.tail ?? Buffer.alloc(0),
  ]);
  return Buffer.concat([u8(1), u8(body.length >> 16), u16(body.length & 0xffff), body]);
}

function records(handshake: Buffer, bytesEach = 16_384, type = 22, version = 0x0301): Buffer {
  const all: Buffer[] = [];
  for (let at = 0; at < handshake.length; at += bytesEach) {
    all.push(u8(type), u16(version), v16(handshake.subarray(at, at + bytesEach)));
  }
  return Buffer.concat(all);
}

const hello = (...extensions: Buffer[]) => records(message({ extensions: Buffer.concat(extensions) }));
const PLAIN = hello(sni('example.com'), alpn('h2', 'http/1.1'), versions(0x0304, 0x0303));
const READ = {
  kind: 'hello',
  sni: 'example.com',
  alpn: ['h2', 'http/1.1'],
  versions: [0x0304, 0x0303],
  ech: false,
  bytes: PLAIN.length,
};

describe('a ClientHello', () => {
  it('tells server name, protocols and versions, and how long it is', () => {
    expect(readClientHello(PLAIN)).toEqual(READ);
    expect(readClientHello(Buffer.concat([PLAIN, Buffer.from([20, 3, 3, 0, 1, 1])]))).toEqual(READ);
  });

  it('is read whole over any number of records, and incomplete until its last byte', () => {
    const handshake = PLAIN.subarray(5);
    for (const bytesEach of [1, 2, 3, 4, 5, 50, handshake.length - 1]) {
      const split = records(handshake, bytesEach);
      expect(readClientHello(split)).toEqual({ ...READ, bytes: split.length });
      for (let end = 0; end < split.length; end++) {
        expect(readClientHello(split.subarray(0, end))).toEqual({ kind: 'incomplete' });
      }
    }
  });

  it('may have no server name, no extensions, or neither ALPN nor supported_versions', () => {
    const bare = { kind: 'hello', sni: undefined, alpn: [], versions: [0x0303], ech: false };
    expect(readClientHello(hello(extension(10, v16(u16(29)))))).toMatchObject(bare);
    expect(readClientHello(records(message({ extensions: undefined })))).toMatchObject(bare);
    expect(readClientHello(records(message({ extensions: Buffer.alloc(0) })))).toMatchObject(bare);
    expect(readClientHello(records(message({ version: 0x0301 })))).toMatchObject({ versions: [0x0301] });
  });

  it('tells of encrypted ClientHello, real or GREASE, beside the outer name', () => {
    expect(readClientHello(hello(sni('outer.example'), extension(0xfe0d, Buffer.alloc(8))))).toMatchObject({
      sni: 'outer.example',
      ech: true,
    });
    expect(readClientHello(hello(sni('outer.example'), extension(0x0a0a, Buffer.alloc(8))))).toMatchObject({
      ech: false,
    });
  });

  it('gives the server name as it was sent, byte for byte, for others to judge', () => {
    for (const name of ['EXAMPLE.com.', 'a\0b', '127.0.0.1', '\xff', 'a'.repeat(300)]) {
      expect(readClientHello(hello(sni(name)))).toMatchObject({ kind: 'hello', sni: name });
    }
  });

  it.each([
    ['plain HTTP', 'GET / HTTP/1.1\r\n\r\n'],
    ['an h2 preface', 'PRI * HTTP/2.0\r\n\r\n'],
    ['SSH', 'SSH-2.0-x\r\n'],
    ['an SSLv2 hello', '\x80\x2e\x01\x03\x01'],
    ['an alert record', '\x15\x03\x01\x00\x02\x02\x28'],
    ['an application data record', '\x17\x03\x03\x00\x01a'],
  ])('is not there in %s, by the first byte', (_, start) => {
    expect(readClientHello(text(start))).toEqual({ kind: 'not_tls' });
    expect(readClientHello(text(start.slice(0, 1)))).toEqual({ kind: 'not_tls' });
  });

  it.each([
    ['a record of version 2', records(message({}), 16_384, 22, 0x0201)],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
    ['a record over 16384 bytes', Buffer.from([22, 3, 1, 0x40, 0x01])],
    ['a ServerHello', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
    ['a message over 64 KiB', Buffer.from([22, 3, 1, 0, 4, 1, 1, 0, 0])],
    ['another record in the middle', Buffer.concat([records(message({}), 20).subarray(0, 25), records(u8(1), 1, 21)])],
    ['bytes after it in its record', records(Buffer.concat([message({}), u8(0)]))],
    ['a second message in its record', records(Buffer.concat([message({}), message({})]))],
    ['a hello of version 2', records(message({ version: 0x0200 }))],
    ['a session id of 33 bytes', records(message({ sessionId: Buffer.alloc(33) }))],
    ['no cipher suites', records(message({ suites: Buffer.alloc(0) }))],
    ['an odd list of cipher suites', records(message({ suites: Buffer.alloc(3) }))],
    ['no compression methods', records(message({ compression: Buffer.alloc(0) }))],
    ['bytes after the extensions', records(message({ tail: u8(0) }))],
    ['a lone byte for extensions', records(message({ extensions: undefined, tail: u8(0) }))],
    ['an empty message', records(Buffer.from([1, 0, 0, 0]))],
    ['an extension cut short', hello(Buffer.from([0, 0, 0, 9, 0]))],
    ['an extension without a length', hello(Buffer.from([0, 23, 0]))],
    ['an extension twice', hello(extension(23, Buffer.alloc(0)), extension(23, Buffer.alloc(0)))],
    ['two server_name extensions', hello(sni('a.example'), sni('b.example'))],
    ['two names in server_name', hello(extension(0, v16(Buffer.concat([serverName('a'), serverName('b')]))))],
    ['a name of another type', hello(extension(0, v16(serverName('a', 1))))],
    ['an empty name', hello(sni(''))],
    ['an empty server_name list', hello(extension(0, v16(Buffer.alloc(0))))],
    ['an empty server_name', hello(extension(0, Buffer.alloc(0)))],
    ['a server_name list longer than its extension', hello(extension(0, Buffer.concat([u16(20), serverName('a')])))],
    [
      'a server_name list shorter than its extension',
      hello(extension(0, Buffer.concat([v16(serverName('a')), u8(0)]))),
    ],
    ['a name longer than its list', hello(extension(0, v16(Buffer.concat([u8(0), u16(9), text('a')]))))],
    ['an empty ALPN list', hello(extension(16, v16(Buffer.alloc(0))))],
    ['an empty ALPN name', hello(extension(16, v16(v8(Buffer.alloc(0)))))],
    ['an ALPN name longer than its list', hello(extension(16, v16(Buffer.concat([u8(9), text('h2')]))))],
    ['bytes after the ALPN list', hello(extension(16, Buffer.concat([v16(v8(text('h2'))), u8(0)])))],
    ['no versions', hello(extension(43, v8(Buffer.alloc(0))))],
    ['half a version', hello(extension(43, v8(u8(3))))],
    ['bytes after the versions', hello(extension(43, Buffer.concat([v8(u16(0x0304)), u8(0)])))],
  ])('is malformed with %s, and read without', (_, input) => {
    expect(readClientHello(input)).toMatchObject({ kind: 'malformed', detail: expect.stringMatching(/^[ -~]+$/) });
    expect(readClientHello(hello(sni('example.com')))).toMatchObject({ kind: 'hello', sni: 'example.com' });
  });

  it('over 64 KiB, records and all, is malformed from its header on, and read just below', () => {
    const padded = (bytes: number) =>
      message({ extensions: Buffer.concat([sni('example.com'), extension(21, Buffer.alloc(bytes))]) });
    const overhead = padded(0).length;
    expect(readClientHello(records(padded(65_000 - overhead)))).toMatchObject({ kind: 'hello', sni: 'example.com' });
    expect(readClientHello(records(padded(20_000), 1))).toMatchObject({ kind: 'malformed' });
    expect(readClientHello(records(padded(10_000), 1))).toMatchObject({ kind: 'hello', sni: 'example.com' });
    expect(readClientHello(Buffer.from([22, 3, 1, 0, 4, 1, 0, 0xff, 0xfc]))).toEqual({ kind: 'incomplete' });
    expect(readClientHello(Buffer.from([22, 3, 1, 0, 4, 1, 0, 0xff, 0xfd]))).toMatchObject({ kind: 'malformed' });
  });
});
