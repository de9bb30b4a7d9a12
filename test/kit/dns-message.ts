/**
 * DNS messages of tests, written and read without any code of src/: questions as clients send them (and as they do
 * not), answers taken apart. Reads well-formed messages only and throws on others.
 */

export const DNS_TYPES = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  NULL: 10,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  SVCB: 64,
  HTTPS: 65,
  ANY: 255,
} as const;

export type DnsTypeName = keyof typeof DNS_TYPES;

export interface QuestionText {
  readonly id?: number;
  readonly name: string;
  readonly type?: DnsTypeName | number;
  readonly class?: number;
  /** The second 16 bits; RD alone unless told. */
  readonly flags?: number;
  /** An OPT record with this UDP size. */
  readonly edns?: number;
  readonly ednsVersion?: number;
  readonly dnssecOk?: boolean;
  /** Bytes of EDNS options. */
  readonly options?: Buffer;
}

export interface DecodedRecord {
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly data: Buffer;
}

export interface Decoded {
  readonly id: number;
  readonly flags: number;
  readonly truncated: boolean;
  /** Of 12 bits where there is an OPT record. */
  readonly rcode: number;
  /** With the case it had. */
  readonly question: { readonly name: string; readonly type: number; readonly class: number } | undefined;
  readonly answers: readonly DecodedRecord[];
  readonly authority: readonly DecodedRecord[];
  readonly opt: { readonly udpBytes: number; readonly dnssecOk: boolean; readonly version: number } | undefined;
  /** Extended DNS Error: info code and text. */
  readonly error: { readonly code: number; readonly text: string } | undefined;
}

const CLASS_IN = 1;
const RD = 0x0100;
const HEADER_BYTES = 12;

export function question(text: QuestionText): Buffer {
  const { id = 0x1234, name, type = 'A', flags = RD, edns } = text;
  const typeNumber = typeof type === 'number' ? type : DNS_TYPES[type];
  const head = Buffer.concat([id, flags, 1, 0, 0, edns === undefined ? 0 : 1].map(uint16));
  const opt = edns === undefined ? [] : [optRecord(edns, text)];
  return Buffer.concat([head, wireName(name), uint16(typeNumber), uint16(text.class ?? CLASS_IN), ...opt]);
}

/** Labels divided by dots, as bytes; `` is the root. */
export function wireName(name: string): Buffer {
  const labels = name === '' ? [] : name.split('.').map((label) => Buffer.from(label, 'latin1'));
  return Buffer.concat([...labels.flatMap((label) => [Buffer.from([label.length]), label]), Buffer.from([0])]);
}

/** The answer of a server to `query` (which holds one question and nothing else). */
export function answerTo(
  query: Buffer,
  records: readonly Buffer[],
  options: { readonly flags?: number; readonly id?: number; readonly question?: Buffer } = {},
): Buffer {
  const { flags = 0x8180, id = query.readUInt16BE(0), question: asked = query.subarray(HEADER_BYTES) } = options;
  return Buffer.concat([...[id, flags, 1, records.length, 0, 0].map(uint16), asked, ...records]);
}

/** A record; `owner` is a name, or the bytes of one. */
export function record(owner: string | Buffer, type: DnsTypeName | number, ttl: number, data: Buffer): Buffer {
  const typeNumber = typeof type === 'number' ? type : DNS_TYPES[type];
  const seconds = Buffer.alloc(4);
  seconds.writeUInt32BE(ttl);
  const name = typeof owner === 'string' ? wireName(owner) : owner;
  return Buffer.concat([name, uint16(typeNumber), uint16(CLASS_IN), seconds, uint16(data.length), data]);
}

export function pointerTo(index: number): Buffer {
  return uint16(0xc000 | index);
}

export function ipv4Data(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

export function decode(message: Buffer): Decoded {
  const flags = message.readUInt16BE(2);
  const [questions, answerCount, authorityCount, additionalCount] = [4, 6, 8, 10].map((at) => message.readUInt16BE(at));
  const reader = new Reader(message);
  const asked = questions === 0 ? undefined : reader.question();
  const answers = reader.records(answerCount as number);
  const authority = reader.records(authorityCount as number);
  const additional = reader.records(additionalCount as number);
  if (reader.at !== message.length) throw new Error(`${message.length - reader.at} bytes after the message`);
  const opt = additional.find(({ type }) => type === DNS_TYPES.OPT);
  return {
    id: message.readUInt16BE(0),
    flags,
    truncated: (flags & 0x0200) !== 0,
    rcode: (flags & 0xf) | (opt === undefined ? 0 : (opt.ttl >>> 24) << 4),
    question: asked,
    answers,
    authority,
    opt:
      opt === undefined
        ? undefined
        : { udpBytes: opt.class, dnssecOk: (opt.ttl & 0x8000) !== 0, version: (opt.ttl >>> 16) & 0xff },
    error: opt === undefined ? undefined : extendedError(opt.data),
  };
}

/** The addresses of the A records among the answers. */
export function addressesIn(decoded: Decoded): string[] {
  return decoded.answers.filter(({ type }) => type === DNS_TYPES.A).map(({ data }) => data.join('.'));
}

export function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function optRecord(udpBytes: number, { ednsVersion = 0, dnssecOk = false, options }: QuestionText): Buffer {
  const data = options ?? Buffer.alloc(0);
  const head = [Buffer.from([0]), uint16(DNS_TYPES.OPT), uint16(udpBytes), Buffer.from([0, ednsVersion])];
  return Buffer.concat([...head, uint16(dnssecOk ? 0x8000 : 0), uint16(data.length), data]);
}

function extendedError(options: Buffer): Decoded['error'] {
  for (let at = 0; at < options.length; at += 4 + options.readUInt16BE(at + 2)) {
    if (options.readUInt16BE(at) !== 15) continue;
    const end = at + 4 + options.readUInt16BE(at + 2);
    return { code: options.readUInt16BE(at + 4), text: options.toString('utf8', at + 6, end) };
  }
  return undefined;
}

class Reader {
  at = HEADER_BYTES;
  readonly #message: Buffer;

  constructor(message: Buffer) {
    this.#message = message;
  }

  question(): { name: string; type: number; class: number } {
    const name = this.#name();
    this.at += 4;
    return { name, type: this.#message.readUInt16BE(this.at - 4), class: this.#message.readUInt16BE(this.at - 2) };
  }

  records(count: number): DecodedRecord[] {
    return Array.from({ length: count }, () => {
      const name = this.#name();
      const at = this.at;
      const bytes = this.#message.readUInt16BE(at + 8);
      if (at + 10 + bytes > this.#message.length) throw new RangeError('a record is cut short');
      this.at += 10 + bytes;
      return {
        name,
        type: this.#message.readUInt16BE(at),
        class: this.#message.readUInt16BE(at + 2),
        ttl: this.#message.readUInt32BE(at + 4),
        data: Buffer.from(this.#message.subarray(at + 10, at + 10 + bytes)),
      };
    });
  }

  #name(): string {
    const [labels, end] = this.#labels(this.at, 0);
    this.at = end;
    return labels.join('.');
  }

  #labels(start: number, jumps: number): [string[], number] {
    const labels: string[] = [];
    for (let at = start; ; ) {
      const length = this.#message.readUInt8(at);
      if (length === 0) return [labels, at + 1];
      if (length >= 0xc0) {
        if (jumps > 20) throw new Error('pointers without end');
        const [rest] = this.#labels(this.#message.readUInt16BE(at) & 0x3fff, jumps + 1);
        return [[...labels, ...rest], at + 2];
      }
      labels.push(this.#message.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
  }
}
