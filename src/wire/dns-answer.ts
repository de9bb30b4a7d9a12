/**
 * Writes the answers of the DNS filter, from the bytes of the question: its name comes back with the case it had, as
 * clients that mix the case need (0x20). Never longer than the client takes: what does not fit is cut to nothing, with
 * TC set, so that it is asked again over TCP.
 */
import { type EDE, HEADER_BYTES, TYPE } from './dns-codes.ts';
import type { DnsQuery } from './dns-query.ts';

/** A record of the name in the question. */
export interface AnswerRecord {
  readonly type: number;
  readonly ttlSeconds: number;
  readonly data: Buffer;
}

/** An answer section from elsewhere, whose pointers were written for a question of the same length. */
export interface RelayedSection {
  readonly bytes: Buffer;
  readonly count: number;
}

/** An Extended DNS Error (RFC 8914), told only to clients that speak EDNS. */
export interface ExtendedError {
  readonly code: (typeof EDE)[keyof typeof EDE];
  readonly text: string;
}

export interface DnsAnswer {
  readonly rcode: number;
  readonly records?: readonly AnswerRecord[];
  readonly relayed?: RelayedSection;
  /** A SOA record, so that "no such name" and "no such record" are kept for so long (RFC 2308). */
  readonly negativeTtlSeconds?: number;
  readonly error?: ExtendedError;
}

/** RFC 1035 section 4.2.1: without EDNS. */
const PLAIN_UDP_BYTES = 512;
/** Fits into any path without fragments (DNS flag day 2020). */
const EDNS_UDP_BYTES = 1_232;
/** The length before a message over TCP is of 16 bits. */
export const MAX_TCP_BYTES = 65_535;
/** A pointer to the name in the question. */
const QUESTION_NAME = 0xc000 | HEADER_BYTES;
const RECORD_HEAD_BYTES = 12;
const OPT_HEAD_BYTES = 11;
/** Option code of an Extended DNS Error (RFC 8914 section 2). */
const EDE_OPTION = 15;
const EDE_HEAD_BYTES = 6;
/** A name of 255 octets, a SOA and this stay below 512. */
const MAX_EDE_TEXT_BYTES = 160;
/** Bits of the header: response, recursion desired and checking disabled (as asked), recursion available, truncated. */
const QR = 0x8000;
const OPCODE_AND_RD = 0x7900;
const RD_AND_CD = 0x0110;
const RA = 0x0080;
const TC = 0x0200;

/** SOA of the root, so that it stands above any name: mname and rname `outcall.`, and timers that nobody follows. */
const SOA_NAMES = Buffer.from('\x07outcall\x00\x07outcall\x00', 'latin1');
const SOA_TIMER_BYTES = 20;
const SOA_HEAD_BYTES = 11;
const SOA_BYTES = SOA_HEAD_BYTES + SOA_NAMES.length + SOA_TIMER_BYTES;

/** How long an answer over UDP to this query may be. */
export function udpLimit(query: DnsQuery): number {
  if (query.edns === undefined) return PLAIN_UDP_BYTES;
  return Math.min(Math.max(query.edns.udpBytes, PLAIN_UDP_BYTES), EDNS_UDP_BYTES);
}

/** The whole answer to `query`, which was read from `message`; at most `maxBytes`, where 512 always suffice. */
export function encodeAnswer(message: Buffer, query: DnsQuery, answer: DnsAnswer, maxBytes: number): Buffer {
  const errorText =
    answer.error === undefined ? undefined : Buffer.from(answer.error.text).subarray(0, MAX_EDE_TEXT_BYTES);
  const optBytes = query.edns === undefined ? 0 : OPT_HEAD_BYTES + (errorText ? EDE_HEAD_BYTES + errorText.length : 0);
  const bodyBytes = sectionBytes(answer);
  const truncated = query.questionEnd + bodyBytes + optBytes > maxBytes;
  const out = Buffer.allocUnsafe(query.questionEnd + (truncated ? 0 : bodyBytes) + optBytes);
  writeHead(out, message, query, answer, truncated);
  const bodyEnd = truncated ? query.questionEnd : writeBody(out, query.questionEnd, answer);
  if (query.edns !== undefined) writeOpt(out, bodyEnd, query.edns.dnssecOk, answer, errorText);
  return out;
}

/** What can be said to a message whose question cannot be read: a header alone. For messages of 12 bytes at least. */
export function encodeRefusal(message: Buffer, rcode: number): Buffer {
  const out = Buffer.alloc(HEADER_BYTES);
  message.copy(out, 0, 0, 2);
  out.writeUInt16BE(QR | (message.readUInt16BE(2) & OPCODE_AND_RD) | RA | rcode, 2);
  return out;
}

/** `10.203.128.1` as the data of an A record. Only for canonical IPv4. */
export function addressData(address: string): Buffer {
  const data = Buffer.allocUnsafe(4);
  let octet = 0;
  let index = 0;
  for (let i = 0; i < address.length; i++) {
    const digit = address.charCodeAt(i) - 0x30;
    if (digit >= 0) {
      octet = octet * 10 + digit;
    } else {
      data[index++] = octet;
      octet = 0;
    }
  }
  data[index] = octet;
  return data;
}

function sectionBytes(answer: DnsAnswer): number {
  let bytes = answer.relayed?.bytes.length ?? 0;
  for (const record of answer.records ?? []) bytes += RECORD_HEAD_BYTES + record.data.length;
  return answer.negativeTtlSeconds === undefined ? bytes : bytes + SOA_BYTES;
}

function writeHead(out: Buffer, message: Buffer, query: DnsQuery, answer: DnsAnswer, truncated: boolean): void {
  message.copy(out, 0, 0, query.questionEnd);
  const flags = QR | (message.readUInt16BE(2) & RD_AND_CD) | RA | (answer.rcode & 0xf) | (truncated ? TC : 0);
  const answers = truncated ? 0 : (answer.records?.length ?? 0) + (answer.relayed?.count ?? 0);
  out.writeUInt16BE(flags, 2);
  out.writeUInt16BE(answers, 6);
  out.writeUInt16BE(truncated || answer.negativeTtlSeconds === undefined ? 0 : 1, 8);
  out.writeUInt16BE(query.edns === undefined ? 0 : 1, 10);
}

function writeBody(out: Buffer, start: number, answer: DnsAnswer): number {
  let at = start;
  for (const { type, ttlSeconds, data } of answer.records ?? []) {
    out.writeUInt16BE(QUESTION_NAME, at);
    at = writeRecordHead(out, at + 2, type, ttlSeconds, data.length);
    at += data.copy(out, at);
  }
  if (answer.relayed !== undefined) at += answer.relayed.bytes.copy(out, at);
  return answer.negativeTtlSeconds === undefined ? at : writeSoa(out, at, answer.negativeTtlSeconds);
}

/** Type, class IN, TTL and length of the data; gives the index of the data. */
function writeRecordHead(out: Buffer, start: number, type: number, ttlSeconds: number, dataBytes: number): number {
  out.writeUInt16BE(type, start);
  out.writeUInt16BE(1, start + 2);
  out.writeUInt32BE(ttlSeconds, start + 4);
  out.writeUInt16BE(dataBytes, start + 8);
  return start + 10;
}

function writeSoa(out: Buffer, start: number, ttlSeconds: number): number {
  out[start] = 0;
  let at = writeRecordHead(out, start + 1, TYPE.SOA, ttlSeconds, SOA_NAMES.length + SOA_TIMER_BYTES);
  at += SOA_NAMES.copy(out, at);
  // Serial, refresh, retry, expire, and the one that counts: minimum (RFC 2308 section 4).
  for (const value of [1, 3_600, 600, 86_400, ttlSeconds]) at = out.writeUInt32BE(value, at);
  return at;
}

function writeOpt(
  out: Buffer,
  start: number,
  dnssecOk: boolean,
  answer: DnsAnswer,
  errorText: Buffer | undefined,
): void {
  const { rcode, error } = answer;
  out[start] = 0;
  out.writeUInt16BE(TYPE.OPT, start + 1);
  out.writeUInt16BE(EDNS_UDP_BYTES, start + 3);
  out[start + 5] = rcode >> 4;
  out[start + 6] = 0;
  out.writeUInt16BE(dnssecOk ? 0x8000 : 0, start + 7);
  out.writeUInt16BE(errorText === undefined ? 0 : EDE_HEAD_BYTES + errorText.length, start + 9);
  if (error === undefined || errorText === undefined) return;
  const at = start + OPT_HEAD_BYTES;
  out.writeUInt16BE(EDE_OPTION, at);
  out.writeUInt16BE(2 + errorText.length, at + 2);
  out.writeUInt16BE(error.code, at + 4);
  errorText.copy(out, at + EDE_HEAD_BYTES);
}
