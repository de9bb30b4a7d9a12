/**
 * One message in, one answer out, one audit record:
 *   1. the rate: what is over it gets no answer (threats 16, 37)
 *   2. parse: what is no question gets none either, what is malformed gets FORMERR
 *   3. who asks: strangers are refused
 *   4. decide, once per agent, question and rule set
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
import type { DnsFilterDeps } from './deps.ts';
import { type Decision, decideQuestion } from './filter.ts';
import { type Asked, type Ended, QueryLog } from './query-log.ts';
import type { Source } from './sources.ts';
import { VerdictCache } from './verdict-cache.ts';

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
  readonly query: DnsQuery;
  readonly source: Source;
  readonly maxBytes: number;
  readonly asked: Asked;
}

export class QueryHandler {
  readonly #deps: DnsFilterDeps;
  readonly #verdicts = new VerdictCache();
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
    const parsed = parseQuery(message);
    if (parsed.kind === 'silence') return undefined;
    const agent = this.#factsOf(source);
    if (parsed.kind === 'refuse') {
      const failure = parsed.rcode === RCODE.NOTIMP ? 'method_refused' : 'bad_request';
      const asked = this.#asked(agent, message, now, UNKNOWN_NAME);
      this.#log.write(asked, { failure, rule: null, detail: parsed.detail }, HEADER_BYTES);
      return encodeRefusal(message, parsed.rcode);
    }
    const { query } = parsed;
    const maxBytes = transport === 'tcp' ? MAX_TCP_BYTES : udpLimit(query);
    const { decision, name } = this.#decide(message, query, source, agent);
    const asked = this.#asked(agent, message, now, { name, type: typeName(query.type) });
    return this.#answer(decision, { message, query, source, maxBytes, asked });
  }

  #decide(message: Buffer, query: DnsQuery, source: Source, agent: AgentFacts): { decision: Decision; name: string } {
    const rules = this.#deps.rules();
    const question = message.toString('latin1', HEADER_BYTES, query.questionEnd);
    const known = this.#verdicts.get(source.ip, question, agent, rules.generation);
    if (known !== undefined) return known;
    // parseQuery saw its end, so it can be read.
    const name = readName(message, HEADER_BYTES) ?? { text: '', plain: false, end: 0 };
    const decision: Decision = source.isAgent
      ? decideQuestion({ name, type: query.type, class: query.class }, agent, rules)
      : { kind: 'refused', why: "the source is outside the agents' subnet" };
    const made = { decision, name: name.text };
    if (source.isAgent) this.#verdicts.set(source.ip, question, agent, rules.generation, made);
    return made;
  }

  #answer(decision: Decision, exchange: Exchange): Reply {
    if (exchange.query.edns !== undefined && exchange.query.edns.version !== 0) {
      return this.#end(exchange, { rcode: RCODE.BADVERS }, { refusal: 'EDNS version other than 0' });
    }
    switch (decision.kind) {
      case 'address':
        return this.#address(decision.host, decision.allow, exchange);
      case 'empty':
        return this.#end(exchange, NO_SUCH_RECORD, { verdict: decision.allow, detail: 'answered empty' });
      case 'relay':
        return this.#relay(decision.host, decision.allow, exchange);
      case 'reverse':
        return this.#reverse(decision.address, exchange);
      case 'blocked': {
        const answer = negative(RCODE.NXDOMAIN, blockText(decision.block.reason));
        return this.#end(exchange, answer, { verdict: decision.block, detail: null });
      }
      case 'type_refused': {
        const why = `record type ${typeName(exchange.query.type)}: ${decision.block.reason}`;
        return this.#end(exchange, refused(why), { verdict: decision.block, detail: why });
      }
      case 'no_host':
        return this.#end(exchange, negative(RCODE.NXDOMAIN, failureText('invalid_host')), {
          failure: 'invalid_host',
          rule: null,
          detail: 'not a host name',
        });
      case 'refused':
        return this.#end(exchange, refused(decision.why), { refusal: decision.why });
    }
  }

  #address(host: Host, allow: Allow, exchange: Exchange): Reply {
    if (this.#deps.audit.blocked) return this.#fail(exchange, allow, 'audit_unavailable', 'records cannot be written');
    const address = this.#deps.pool.addressFor(host, exchange.source.ip);
    if (address === undefined) return this.#fail(exchange, allow, 'dns_failed', 'no synthetic address is free');
    const records = [{ type: TYPE.A, ttlSeconds: ADDRESS_TTL_SECONDS, data: addressData(address) }];
    const end = () => this.#end(exchange, { rcode: RCODE.NOERROR, records }, { verdict: allow, detail: address });
    const granted = this.#deps.onName?.(host, address, exchange.asked.agent);
    return granted instanceof Promise ? granted.then(end) : end();
  }

  async #relay(host: Host, allow: Allow, exchange: Exchange): Promise<Buffer> {
    const { audit, relay, clock } = this.#deps;
    if (audit.blocked) return this.#fail(exchange, allow, 'audit_unavailable', 'records cannot be written');
    if (relay === undefined) return this.#fail(exchange, allow, 'dns_failed', 'no resolver is set for it');
    if (!exchange.source.share.relays.take(clock.now())) {
      return this.#fail(exchange, allow, 'agent_limit', 'over the rate of relayed queries');
    }
    try {
      const { rcode, ...relayed } = await relay(host, exchange.query.type);
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

  #end({ message, query, maxBytes, asked }: Exchange, answer: DnsAnswer, ended: Ended): Buffer {
    const bytes = encodeAnswer(message, query, answer, maxBytes);
    this.#log.write(asked, ended, bytes.length);
    return bytes;
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
    return { agent, ...named, bytes: message?.length ?? 0, startedAt, generation };
  }

  #fault(error: unknown, message: Buffer): Buffer | undefined {
    this.#deps.log.error({ event: 'dns_fault', err: error }, 'a query could not be answered');
    return message.length < HEADER_BYTES ? undefined : encodeRefusal(message, RCODE.SERVFAIL);
  }
}

function negative(rcode: number, text?: string): DnsAnswer {
  const answer = { rcode, negativeTtlSeconds: NEGATIVE_TTL_SECONDS };
  return text === undefined ? answer : { ...answer, error: { code: EDE.BLOCKED, text } };
}

function refused(why: string): DnsAnswer {
  return { rcode: RCODE.REFUSED, error: { code: EDE.PROHIBITED, text: blockText(why) } };
}
