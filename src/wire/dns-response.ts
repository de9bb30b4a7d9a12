/**
 * Writes the questions of our own resolver and reads what comes back. Takes nothing for an answer that does not repeat
 * id and question, and reads the answer section alone: what a server adds beside it is not looked at (cache poisoning).
 * Never throws. Does not follow aliases: see upstream/resolver-addresses.ts.
 */
import { CLASS_IN, HEADER_BYTES, TYPE } from './dns-codes.ts';
import { encodeName, readName } from './dns-name.ts';

export interface DnsRecord {
  /** As WireName.text. */
  readonly owner: string;
  readonly type: number;
  readonly ttlSeconds: number;
  /** Index of the TTL in the message; type and class stand before it. */
  readonly ttlAt: number;
  readonly dataStart: number;
  readonly dataEnd: number;
}

export interface DnsResponse {
  readonly message: Buffer;
  readonly rcode: number;
  /** TC was set: the records are not read, ask again over TCP. */
  readonly truncated: boolean;
  readonly answers: readonly DnsRecord[];
  readonly answersStart: number;
  readonly answersEnd: number;
}

export type ResponseResult =
  /** Not the answer to this question, whoever sent it: go on waiting. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'malformed'; readonly detail: string }
  | { readonly kind: 'response'; readonly response: DnsResponse };

/** Some thirty times what the largest names have; bounds the work on one message. */
const MAX_ANSWERS = 512;
/** Type, class, TTL and length of the data. */
const RECORD_TAIL_BYTES = 10;
const TYPE_AND_CLASS_BYTES = 4;
/** RFC 2181 section 8: a TTL with the top bit set is 0. */
const MAX_TTL_SECONDS = 0x7fff_ffff;
const RD = 0x01;
const FOREIGN: ResponseResult = { kind: 'foreign' };

/** One question of class IN, recursion desired. `name` as encodeName takes it. */
export function encodeQuestion(id: number, name: string, type: number): Buffer {
  const wireName = encodeName(name);
  const out = Buffer.alloc(HEADER_BYTES + wireName.length + TYPE_AND_CLASS_BYTES);
  out.writeUInt16BE(id, 0);
  out[2] = RD;
  out.writeUInt16BE(1, 4);
  wireName.copy(out, HEADER_BYTES);
  out.writeUInt16BE(type, out.length - 4);
  out.writeUInt16BE(CLASS_IN, out.length - 2);
  return out;
}

/** Reads what a server sent upon `question`, which encodeQuestion wrote. */
export function readResponse(message: Buffer, question: Buffer): ResponseResult {
  if (!answersQuestion(message, question)) return FOREIGN;
  const flags = message.readUInt16BE(2);
  const truncated = (flags & 0x0200) !== 0;
  const answersStart = question.length;
  const records = truncated ? { answers: [], end: answersStart } : readAnswers(message, answersStart);
  if (records === undefined) return { kind: 'malformed', detail: 'the answer section cannot be read' };
  const { answers, end } = records;
  const response = { message, rcode: flags & 0xf, truncated, answers, answersStart, answersEnd: end };
  return { kind: 'response', response };
}

/** The address of an A or AAAA record, in some spelling; undefined where the data is no address. */
export function readAddress({ message }: DnsResponse, record: DnsRecord): string | undefined {
  const data = message.subarray(record.dataStart, record.dataEnd);
  if (record.type === TYPE.A && data.length === 4) return data.join('.');
  if (record.type !== TYPE.AAAA || data.length !== 16) return undefined;
  return Array.from({ length: 8 }, (_, i) => data.readUInt16BE(2 * i).toString(16)).join(':');
}

/** The target of a CNAME record; undefined where it cannot be read, or has bytes that no host has. */
export function readAlias({ message }: DnsResponse, record: DnsRecord): string | undefined {
  const name = readName(message, record.dataStart);
  return name?.end === record.dataEnd && name.plain ? name.text : undefined;
}

/** A response of opcode QUERY with our id and our one question, its name in any case. */
function answersQuestion(message: Buffer, question: Buffer): boolean {
  if (message.length < question.length || message.readUInt16BE(0) !== question.readUInt16BE(0)) return false;
  if (((message[2] as number) & 0xf8) !== 0x80 || message.readUInt16BE(4) !== 1) return false;
  const tail = question.length - TYPE_AND_CLASS_BYTES;
  for (let i = HEADER_BYTES; i < question.length; i++) {
    const [theirs, ours] = [message[i] as number, question[i] as number];
    if (theirs !== ours && (i >= tail || lowerCase(theirs) !== lowerCase(ours))) return false;
  }
  return true;
}

function readAnswers(message: Buffer, start: number): { answers: DnsRecord[]; end: number } | undefined {
  const count = message.readUInt16BE(6);
  if (count > MAX_ANSWERS) return undefined;
  const answers: DnsRecord[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const owner = readName(message, at);
    if (owner === undefined || owner.end + RECORD_TAIL_BYTES > message.length) return undefined;
    const tail = owner.end;
    const dataStart = tail + RECORD_TAIL_BYTES;
    const dataEnd = dataStart + message.readUInt16BE(tail + 8);
    if (dataEnd > message.length) return undefined;
    if (message.readUInt16BE(tail + 2) !== CLASS_IN) return undefined;
    const ttl = message.readUInt32BE(tail + 4);
    const ttlSeconds = ttl > MAX_TTL_SECONDS ? 0 : ttl;
    answers.push({
      owner: owner.text,
      type: message.readUInt16BE(tail),
      ttlSeconds,
      ttlAt: tail + 4,
      dataStart,
      dataEnd,
    });
    at = dataEnd;
  }
  return { answers, end: at };
}

/** Length bytes are below `A`, so that only letters are touched. */
function lowerCase(octet: number): number {
  return octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet;
}
