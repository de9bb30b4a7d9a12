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
  /** Under whatever id was asked first. */
  readonly bytes: Buffer;
  readonly ended: Ended;
}

interface Entry {
  readonly source: Source;
  readonly message: Buffer;
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

  /** Two messages of one slot take turns; `message` is copied. */
  set(source: Source, message: Buffer, agent: AgentFacts, generation: number, known: Known): void {
    if (message.length > MAX_MESSAGE_BYTES || message.length < HEADER_BYTES) return;
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.clear();
    const copy = Buffer.from(message);
    this.#entries.set(slotOf(source, message), { source, message: copy, agent, generation, known });
  }
}

/** The answer under the id of `message`. */
export function answerTo(message: Buffer, { bytes }: Answered): Buffer {
  const out = Buffer.allocUnsafe(bytes.length);
  bytes.copy(out);
  for (let i = 0; i < ID_BYTES; i++) out[i] = message[i] as number;
  return out;
}

function slotOf(source: Source, message: Buffer): number {
  let hash = Math.imul(source.number, GOLDEN_RATIO) ^ FNV_START;
  for (let i = ID_BYTES; i < message.length; i++) hash = Math.imul(hash ^ (message[i] as number), FNV_PRIME);
  return hash & SMALL_INTEGER;
}

function isSameQuery(known: Buffer, message: Buffer): boolean {
  if (known.length !== message.length) return false;
  for (let i = ID_BYTES; i < message.length; i++) if (known[i] !== message[i]) return false;
  return true;
}
