/**
 * Reads what an agent asks the DNS filter: one question, at most an OPT record beside it, nothing else. Stricter than
 * RFC 1035 where a second reader could see something else (compressed questions, trailing bytes, several questions).
 * Never throws. Leaves the name as bytes: the filter reads it once per name, not once per query. Threats 5, 16.
 */
import { HEADER_BYTES, RCODE, TYPE } from './dns-codes.ts';
import { skipPlainName } from './dns-name.ts';

export interface DnsQuery {
  readonly type: number;
  readonly class: number;
  /** Index just after the question, which begins after the header. */
  readonly questionEnd: number;
  /** Undefined where the client does not speak EDNS. */
  readonly edns: Edns | undefined;
}

export interface Edns {
  /** Largest answer over UDP that the client takes. */
  readonly udpBytes: number;
  /** DNSSEC OK, which is echoed (RFC 3225 section 3). */
  readonly dnssecOk: boolean;
  /** 0 is the only one there is. */
  readonly version: number;
}

export type QueryResult =
  /** Not a question at all: an answer, or shorter than a header. Nothing may be said to it. */
  | { readonly kind: 'silence' }
  | { readonly kind: 'refuse'; readonly rcode: number; readonly detail: string }
  | { readonly kind: 'query'; readonly query: DnsQuery };

/** RFC 1035 section 4.1.2: type and class after the name. */
const QUESTION_TAIL_BYTES = 4;
/** Root name, type, class, TTL and length of an OPT record (RFC 6891 section 6.1.2). */
const OPT_HEAD_BYTES = 11;
const OPTION_HEAD_BYTES = 4;
const SILENCE: QueryResult = { kind: 'silence' };

/** Reads a whole message. */
export function parseQuery(message: Buffer): QueryResult {
  if (message.length < HEADER_BYTES || (message[2] as number) & 0x80) return SILENCE;
  if ((message[2] as number) & 0x78) return refuse(RCODE.NOTIMP, 'opcode other than QUERY');
  if (message.readUInt16BE(4) !== 1) return refuse(RCODE.FORMERR, 'not exactly one question');
  if (message.readUInt32BE(6) !== 0) return refuse(RCODE.FORMERR, 'records in a question');
  const nameEnd = skipPlainName(message, HEADER_BYTES);
  const questionEnd = nameEnd + QUESTION_TAIL_BYTES;
  if (nameEnd === -1 || questionEnd > message.length) return refuse(RCODE.FORMERR, 'the question cannot be read');
  const additional = message.readUInt16BE(10);
  const edns = additional === 0 ? undefined : readOpt(message, questionEnd);
  const isWhole = additional === 0 ? questionEnd === message.length : edns !== undefined && additional === 1;
  if (!isWhole) return refuse(RCODE.FORMERR, 'something other than one OPT record after the question');
  const query = { type: message.readUInt16BE(nameEnd), class: message.readUInt16BE(nameEnd + 2), questionEnd, edns };
  return { kind: 'query', query };
}

/** The one OPT record from `start` to the end of the message, its options whole; undefined for anything else. */
function readOpt(message: Buffer, start: number): Edns | undefined {
  const head = start + OPT_HEAD_BYTES;
  if (head > message.length || message[start] !== 0) return undefined;
  if (message.readUInt16BE(start + 1) !== TYPE.OPT) return undefined;
  if (head + message.readUInt16BE(start + 9) !== message.length) return undefined;
  let at = head;
  while (at + OPTION_HEAD_BYTES <= message.length) at += OPTION_HEAD_BYTES + message.readUInt16BE(at + 2);
  if (at !== message.length) return undefined;
  return {
    udpBytes: message.readUInt16BE(start + 3),
    version: message[start + 6] as number,
    dnssecOk: ((message[start + 7] as number) & 0x80) !== 0,
  };
}

function refuse(rcode: number, detail: string): QueryResult {
  return { kind: 'refuse', rcode, detail };
}
