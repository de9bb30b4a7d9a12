/**
 * What was read, decided and answered of a message, kept for as long as the same agent sends the same bytes (but for the id)
 * under the same rule set: all three follow from those alone. Rates, the pool, grants and records are not kept; they are asked
 * each time. Bounded; the agents choose the messages, so it is emptied when full, and long ones are not kept (threats 16, 37).
 */
import type { AgentFacts } from '../domain/facts.ts';
import { HEADER_BYTES } from '../wire/dns-codes.ts';
import type { DnsQuery } from '../wire/dns-query.ts';
import type { Decision } from './filter.ts';
import type { Ended } from './query-log.ts';
import type { Source } from './sources.ts';

export interface Known {
  readonly query: DnsQuery;
  readonly decision: Decision;
  /** As WireName.text. */
  readonly name: string;
  readonly type: string;
  /** Over UDP, by the last decision that allowed no other: see Answered. */
  answered: Answered | undefined;
}

export interface Answered {
  /** Undefined where it gives none. */
  readonly address: string | undefined;
  /** In latin1, under whatever id was asked first: a short Buffer would keep the whole slab that it is a piece of. */
  readonly bytes: string;
  readonly ended: Ended;
}

interface Entry {
  readonly source: Source;
  /** In latin1. */
  readonly message: string;
  /** By identity. */
  readonly agent: AgentFacts;
  readonly generation: number;
  readonly known: Known;
}

const MAX_ENTRIES = 16_384;
/** A name of 255 octets with an OPT record; who pads beyond that is answered without the cache. */
const MAX_MESSAGE_BYTES = 320;
/** RFC 1035 section 4.1.1: the id, which an answer repeats. */
const ID_BYTES = 2;
/** FNV-1a, and its prime: the golden ratio keeps sources apart. */
const FNV_START = 0x811c_9dc5;
const FNV_PRIME = 0x0100_0193;
const GOLDEN_RATIO = 0x9e37_79b1;
/** V8 keeps integers of 31 bits as they are. */
const SMALL_INTEGER = 0x3fff_ffff;

export class AnswerCache {
  readonly #entries = new Map<number, Entry>();

  get(source: Source, message: Buffer, agent: AgentFacts, generation: number): Known | undefined {
    if (message.length > MAX_MESSAGE_BYTES) return undefined;
    const entry = this.#entries.get(slotOf(source, message));
    if (entry?.source !== source || entry.generation !== generation || entry.agent !== agent) return undefined;
    return isSameQuery(entry.message, message) ? entry.known : undefined;
  }

  /** Two messages of one slot take turns. */
  set(source: Source, message: Buffer, agent: AgentFacts, generation: number, known: Known): void {
    if (message.length > MAX_MESSAGE_BYTES || message.length < HEADER_BYTES) return;
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear();
    const entry = { source, message: message.toString('latin1'), agent, generation, known };
    this.#entries.set(slotOf(source, message), entry);
  }
}

/** The answer under the id of `message`. */
export function answerTo(message: Buffer, { bytes }: Answered): Buffer {
  const out = Buffer.from(bytes, 'latin1');
  for (let i = 0; i < ID_BYTES; i++) out[i] = message[i] as number;
  return out;
}

function slotOf(source: Source, message: Buffer): number {
  let hash = Math.imul(source.number, GOLDEN_RATIO) ^ FNV_START;
  for (let i = ID_BYTES; i < message.length; i++) hash = Math.imul(hash ^ (message[i] as number), FNV_PRIME);
  return hash & SMALL_INTEGER;
}

function isSameQuery(known: string, message: Buffer): boolean {
  if (known.length !== message.length) return false;
  for (let i = ID_BYTES; i < message.length; i++) if (known.charCodeAt(i) !== message[i]) return false;
  return true;
}
