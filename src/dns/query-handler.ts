/**
 * One message in, one answer out, one audit record:
 *   1. the rate: what is over it gets no answer (threats 16, 37)
 *   2. parse: what is no question gets none either, what is malformed gets FORMERR
 *   3. who asks: strangers are refused
 *   4. decide, once per agent, message and rule set
 *   5. answer: a synthetic address, nothing, a denial, or what our own resolver found where a rule asked for that
 */
import type { AgentFacts } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import type { Host } from '../domain/hostname.ts';
import type { Allow } from '../domain/verdict.ts';
import {
  addressData,
  type DnsAnswer,
  encodeAnswer,
  encodeRefusal,
  MAX_TCP_BYTES,
  udpLimit,
} from '../wire/dns-answer.ts';
import { EDE, HEADER_BYTES, RCODE, rcodeName, TYPE, typeName } from '../wire/dns-codes.ts';
import { encodeName, readName } from '../wire/dns-name.ts';
import { type DnsQuery, parseQuery } from '../wire/dns-query.ts';
import { blockText, failureText } from '../wire/refusal.ts';
import { AnswerCache, type Answered, answerTo, type Known } from './answer-cache.ts';
import type { DnsFilterDeps } from './deps.ts';
import { type Decision, decideQuestion } from './filter.ts';
import { type Asked, type Ended, QueryLog } from './query-log.ts';
import type { Source } from './sources.ts';

/** What goes back: a message, or nothing; at once, or when it is known. */
export type Reply = Buffer | undefined | Promise<Buffer | undefined>;

/** A minute, of the five that are the most for any answer: keeps clients from asking each time and the pool's order true. */
const ADDRESS_TTL_SECONDS = 60;
/** A denial must not outlive the rule that made it by much. */
const NEGATIVE_TTL_SECONDS = 5;
/** Queries over the rate are told together, so often per agent. */
const DROPPED_RECORD_MS = 1_000;
const NO_SUCH_RECORD: DnsAnswer = { rcode: RCODE.NOERROR, negativeTtlSeconds: ADDRESS_TTL_SECONDS };
const UNKNOWN_NAME = { name: null, type: null };

/** One query under way. */
interface Exchange {
  readonly message: Buffer;
  readonly known: Known;
  readonly source: Source;
  readonly transport: 'udp' | 'tcp';
  readonly asked: Asked;
}

interface Unreadable {
  readonly refuse: { readonly rcode: number; readonly detail: string };
}

type Settled = Exclude<Decision, { kind: 'address' | 'relay' | 'reverse' }>;

export class QueryHandler {
  readonly #deps: DnsFilterDeps;
  readonly #answers = new AnswerCache();
  readonly #log: QueryLog;

  constructor(deps: DnsFilterDeps) {
    this.#deps = deps;
    this.#log = new QueryLog(deps.audit, deps.counts, deps.clock);
  }

  /** Never throws and never rejects: a fault of ours is SERVFAIL and stands in the log. */
  handle(message: Buffer, source: Source, transport: 'udp' | 'tcp'): Reply {
    try {
      const reply = this.#handle(message, source, transport);
      return reply instanceof Promise ? reply.catch((error: unknown) => this.#fault(error, message)) : reply;
    } catch (error) {
      return this.#fault(error, message);
    }
  }

  #handle(message: Buffer, source: Source, transport: 'udp' | 'tcp'): Reply {
    const now = this.#deps.clock.now();
    if (!source.share.queries.take(now)) return this.#overRate(source, now);
    const { generation } = this.#deps.rules();
    const agent = this.#factsOf(source);
    const known = this.#answers.get(source, message, agent, generation) ?? this.#read(message, source, agent);
    if (known === undefined) return undefined;
    if ('refuse' in known) {
      const { rcode, detail } = known.refuse;
      const failure = rcode === RCODE.NOTIMP ? 'method_refused' : 'bad_request';
      const asked = this.#asked(agent, message, now, UNKNOWN_NAME);
      this.#log.write(asked, { failure, rule: null, detail }, HEADER_BYTES);
      return encodeRefusal(message, rcode);
    }
    return this.#answer({ message, known, source, transport, asked: this.#asked(agent, message, now, known) });
  }

  /** Undefined for what is no question. */
  #read(message: Buffer, source: Source, agent: AgentFacts): Known | Unreadable | undefined {
    const parsed = parseQuery(message);
    if (parsed.kind === 'silence') return undefined;
    if (parsed.kind === 'refuse') return { refuse: parsed };
    const { query } = parsed;
    // parseQuery saw its end, so it can be read.
    const name = readName(message, HEADER_BYTES) ?? { text: '', plain: false, end: 0 };
    const type = typeName(query.type);
    if (!source.isAgent) {
      const decision = { kind: 'refused', why: "the source is outside the agents' subnet" } as const;
      return { query, decision, name: name.text, type, answered: undefined };
    }
    const rules = this.#deps.rules();
    const decision = decideQuestion({ name, type: query.type, class: query.class }, agent, rules);
    const known = { query, decision, name: name.text, type, answered: undefined };
    this.#answers.set(source, message, agent, rules.generation, known);
    return known;
  }

  #answer(exchange: Exchange): Reply {
    const { decision, query } = exchange.known;
    if (query.edns !== undefined && query.edns.version !== 0) {
      return this.#end(exchange, { rcode: RCODE.BADVERS }, { refusal: 'EDNS version other than 0' });
    }
    switch (decision.kind) {
      case 'address':
        return this.#address(decision.host, decision.allow, exchange);
      case 'relay':
        return this.#relay(decision.host, decision.allow, exchange);
      case 'reverse':
        return this.#reverse(decision.address, exchange);
      default:
        return this.#tell(
          exchange,
          kept(exchange, undefined) ?? keep(exchange, undefined, ...settled(decision, query)),
        );
    }
  }

  #address(host: Host, allow: Allow, exchange: Exchange): Reply {
    if (this.#deps.audit.blocked) return this.#fail(exchange, allow, 'audit_unavailable', 'records cannot be written');
    const address = this.#deps.pool.addressFor(host, exchange.source.ip);
    if (address === undefined) return this.#fail(exchange, allow, 'dns_failed', 'no synthetic address is free');
    const answered = kept(exchange, address) ?? keepAddress(exchange, address, allow);
    const granted = this.#deps.onName?.(host, address, exchange.asked.agent);
    return granted instanceof Promise
      ? granted.then(() => this.#tell(exchange, answered))
      : this.#tell(exchange, answered);
  }

  async #relay(host: Host, allow: Allow, exchange: Exchange): Promise<Buffer> {
    const { audit, relay, clock } = this.#deps;
    if (audit.blocked) return this.#fail(exchange, allow, 'audit_unavailable', 'records cannot be written');
    if (relay === undefined) return this.#fail(exchange, allow, 'dns_failed', 'no resolver is set for it');
    if (!exchange.source.share.relays.take(clock.now())) {
      return this.#fail(exchange, allow, 'agent_limit', 'over the rate of relayed queries');
    }
    try {
      const { rcode, ...relayed } = await relay(host, exchange.known.query.type);
      const answer = relayed.count === 0 ? negative(rcode) : { rcode, relayed };
      return this.#end(exchange, answer, { verdict: allow, detail: `relayed, ${rcodeName(rcode)}` });
    } catch (error) {
      if (!(error instanceof FlowFailure)) throw error;
      return this.#fail(exchange, allow, error.reason, error.detail ?? error.reason);
    }
  }

  /** Only names that this agent may have: what others asked for is not its business. */
  #reverse(address: string, exchange: Exchange): Buffer {
    const { pool } = this.#deps;
    if (!pool.holds(address)) {
      const why = 'PTR is served for synthetic addresses only';
      return this.#end(exchange, refused(why), { refusal: why });
    }
    const host = pool.nameAt(address);
    const verdict = host && this.#deps.rules().decideName({ agent: exchange.asked.agent, host, recordType: 'A' });
    if (host === undefined || verdict?.action !== 'allow') {
      return this.#end(exchange, negative(RCODE.NXDOMAIN), { refusal: 'no name of this agent has this address' });
    }
    const records = [{ type: TYPE.PTR, ttlSeconds: ADDRESS_TTL_SECONDS, data: encodeName(host) }];
    return this.#end(exchange, { rcode: RCODE.NOERROR, records }, { verdict, detail: host });
  }

  #fail(exchange: Exchange, allow: Allow, failure: FlowFailure['reason'], detail: string): Buffer {
    const answer = { rcode: RCODE.SERVFAIL, error: { code: EDE.OTHER, text: failureText(failure) } };
    return this.#end(exchange, answer, { failure, rule: allow.ruleId, detail });
  }

  #end(exchange: Exchange, answer: DnsAnswer, ended: Ended): Buffer {
    const bytes = encoded(exchange, answer);
    this.#log.write(exchange.asked, ended, bytes.length);
    return bytes;
  }

  #tell({ message, asked }: Exchange, answered: Answered): Buffer {
    this.#log.write(asked, answered.ended, answered.bytes.length);
    return answerTo(message, answered);
  }

  #overRate(source: Source, now: number): undefined {
    const { share } = source;
    share.dropped++;
    const agent = this.#factsOf(source);
    this.#deps.counts.dropQuery(agent.name);
    if (now - share.droppedRecordedAt < DROPPED_RECORD_MS) return;
    const detail = `over the rate: ${share.dropped} queries got no answer`;
    share.dropped = 0;
    share.droppedRecordedAt = now;
    const asked = this.#asked(agent, undefined, now, UNKNOWN_NAME);
    this.#log.write(asked, { failure: 'agent_limit', rule: null, detail }, 0);
  }

  #factsOf(source: Source): AgentFacts {
    return source.isAgent ? this.#deps.agents.factsOf(source.ip) : { name: '', image: '', labels: {}, ip: source.ip };
  }

  #asked(
    agent: AgentFacts,
    message: Buffer | undefined,
    startedAt: number,
    named: Pick<Asked, 'name' | 'type'>,
  ): Asked {
    const { generation } = this.#deps.rules();
    const { name, type } = named;
    return { agent, name, type, bytes: message?.length ?? 0, startedAt, generation };
  }

  #fault(error: unknown, message: Buffer): Buffer | undefined {
    this.#deps.log.error({ event: 'dns_fault', err: error }, 'a query could not be answered');
    return message.length < HEADER_BYTES ? undefined : encodeRefusal(message, RCODE.SERVFAIL);
  }
}

/** What was answered to the same message, with the same address. What fits over UDP says nothing of TCP. */
function kept({ known, transport }: Exchange, address: string | undefined): Answered | undefined {
  const { answered } = known;
  return transport === 'udp' && answered?.address === address ? answered : undefined;
}

function keep(exchange: Exchange, address: string | undefined, answer: DnsAnswer, ended: Ended): Answered {
  const answered = { address, bytes: encoded(exchange, answer).toString('latin1'), ended };
  if (exchange.transport === 'udp') exchange.known.answered = answered;
  return answered;
}

function keepAddress(exchange: Exchange, address: string, allow: Allow): Answered {
  const records = [{ type: TYPE.A, ttlSeconds: ADDRESS_TTL_SECONDS, data: addressData(address) }];
  return keep(exchange, address, { rcode: RCODE.NOERROR, records }, { verdict: allow, detail: address });
}

function encoded({ message, known: { query }, transport }: Exchange, answer: DnsAnswer): Buffer {
  return encodeAnswer(message, query, answer, transport === 'tcp' ? MAX_TCP_BYTES : udpLimit(query));
}

/** What follows from the decision alone. */
function settled(decision: Settled, query: DnsQuery): [DnsAnswer, Ended] {
  switch (decision.kind) {
    case 'empty':
      return [NO_SUCH_RECORD, { verdict: decision.allow, detail: 'answered empty' }];
    case 'blocked': {
      const answer = negative(RCODE.NXDOMAIN, blockText(decision.block.reason));
      return [answer, { verdict: decision.block, detail: null }];
    }
    case 'type_refused': {
      const why = `record type ${typeName(query.type)}: ${decision.block.reason}`;
      return [refused(why), { verdict: decision.block, detail: why }];
    }
    case 'no_host': {
      const answer = negative(RCODE.NXDOMAIN, failureText('invalid_host'));
      return [answer, { failure: 'invalid_host', rule: null, detail: 'not a host name' }];
    }
    case 'refused':
      return [refused(decision.why), { refusal: decision.why }];
  }
}

function negative(rcode: number, text?: string): DnsAnswer {
  const answer = { rcode, negativeTtlSeconds: NEGATIVE_TTL_SECONDS };
  return text === undefined ? answer : { ...answer, error: { code: EDE.BLOCKED, text } };
}

function refused(why: string): DnsAnswer {
  return { rcode: RCODE.REFUSED, error: { code: EDE.PROHIBITED, text: blockText(why) } };
}
