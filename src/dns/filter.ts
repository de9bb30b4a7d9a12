/**
 * What becomes of a question, decided without I/O. Nothing here is looked up outside: allowed names get an address of
 * ours, so neither the asking nor the answer carries anything out (threats 15, 16, 18); HTTPS and SVCB are answered
 * empty, so no ECH keys pass (threat 20).
 */
import type { AgentFacts } from '../domain/facts.ts';
import { canonicalHost, type Host, isAddress } from '../domain/hostname.ts';
import type { Allow, Block } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { CLASS_IN, isMetaType, TYPE, typeName } from '../wire/dns-codes.ts';
import type { WireName } from '../wire/dns-name.ts';

export interface Question {
  readonly name: WireName;
  readonly type: number;
  readonly class: number;
}

export type Decision =
  /** A: a synthetic address. */
  | { readonly kind: 'address'; readonly host: Host; readonly allow: Allow }
  /** The name is allowed and has no such record: AAAA, HTTPS, SVCB. */
  | { readonly kind: 'empty'; readonly host: Host; readonly allow: Allow }
  /** A rule names this record type: our own resolver is asked. */
  | { readonly kind: 'relay'; readonly host: Host; readonly allow: Allow }
  /** PTR of this address. */
  | { readonly kind: 'reverse'; readonly address: string }
  /** No such name, as far as the agent is concerned. */
  | { readonly kind: 'blocked'; readonly host: Host; readonly block: Block }
  /** The name may be allowed, the record type is not. */
  | { readonly kind: 'type_refused'; readonly host: Host; readonly block: Block }
  | { readonly kind: 'no_host' }
  | { readonly kind: 'refused'; readonly why: string };

/** Answered without records, whoever asks for them beside A. */
const EMPTY_TYPES: ReadonlySet<number> = new Set([TYPE.AAAA, TYPE.HTTPS, TYPE.SVCB]);
const REVERSE = /^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.in-addr\.arpa$/;

/** Decides one question of an agent; strangers are not asked for their question. */
export function decideQuestion(question: Question, agent: AgentFacts, rules: RuleSet): Decision {
  const { name, type } = question;
  if (question.class !== CLASS_IN) return { kind: 'refused', why: 'only class IN is served' };
  if (isMetaType(type)) return { kind: 'refused', why: `${typeName(type)} is never served` };
  if (type === TYPE.PTR) return reverse(name);
  const host = name.plain ? canonicalHost(name.text) : undefined;
  if (host === undefined || isAddress(host)) return { kind: 'no_host' };
  const verdict = rules.decideName({ agent, host, recordType: typeName(type) });
  if (type === TYPE.A)
    return verdict.action === 'allow' ? kept('address', host, verdict) : { kind: 'blocked', host, block: verdict };
  if (EMPTY_TYPES.has(type)) return empty(host, verdict, agent, rules);
  return verdict.action === 'allow' ? kept('relay', host, verdict) : { kind: 'type_refused', host, block: verdict };
}

/** "No such name" holds for every type (RFC 8020), so a name with an address is never denied for another type. */
function empty(host: Host, verdict: Allow | Block, agent: AgentFacts, rules: RuleSet): Decision {
  const byAddress = verdict.action === 'allow' ? verdict : rules.decideName({ agent, host, recordType: 'A' });
  return byAddress.action === 'allow' ? kept('empty', host, byAddress) : { kind: 'blocked', host, block: byAddress };
}

function kept(kind: 'address' | 'empty' | 'relay', host: Host, allow: Allow): Decision {
  return { kind, host, allow };
}

function reverse(name: WireName): Decision {
  const octets = REVERSE.exec(name.text)?.slice(1).reverse();
  const address = octets === undefined ? undefined : canonicalHost(octets.join('.'));
  return address === undefined
    ? { kind: 'refused', why: 'PTR is served for synthetic addresses only' }
    : { kind: 'reverse', address };
}
