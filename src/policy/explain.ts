/**
 * Why a question to the rules is answered as it is: which rules were considered in each phase, what each part of their
 * conditions came to, and which decided. The answers are the decider's own; only the parts are evaluated again here.
 * Facts may be left out: what hangs on one is "unknown", never guessed. Plain data in and out. Decides nothing.
 */
import type {
  AgentFacts,
  CertificateFacts,
  ConnectFacts,
  HeaderList,
  RequestFacts,
  ResponseFacts,
  Scheme,
  TlsFacts,
} from '../domain/facts.ts';
import { type Host, isAddress } from '../domain/hostname.ts';
import type { Decision, HelloDecision, Mode } from '../domain/verdict.ts';
import type { Condition } from './cel-check.ts';
import { CelError } from './cel-value.ts';
import type { ConnectionDecider } from './connection.ts';
import type { Decider } from './decide.ts';
import { type PartTrace, partsOf } from './explain-parts.ts';
import { queryReadings } from './explain-query.ts';
import { Frame } from './frame.ts';
import type { RuleFinder } from './host-index.ts';
import { evaluate, type Outcome, outcomeOf, servesPort } from './outcome.ts';
import type { Rule } from './rule.ts';

/** What to explain. undefined in a field: not known. */
export interface Asked {
  readonly agent: Pick<AgentFacts, 'name' | 'ip'> & Partial<Pick<AgentFacts, 'image' | 'labels'>>;
  readonly host: Host;
  /** Where the DNS filter is asked too: `A`, `TXT`, ... */
  readonly recordType?: string;
  /** Without it, only the DNS filter is asked. */
  readonly port?: number;
  /** What the ClientHello says, where a decision hangs on it. */
  readonly tls?: TlsFacts;
  /** null: it cannot be seen. */
  readonly certificate?: CertificateFacts | null;
  readonly request?: AskedRequest;
  readonly response?: ResponseFacts;
}

export interface AskedRequest {
  readonly scheme: Scheme;
  readonly method: string;
  /** Path and query as forwarded; `[redacted]` in it may be any value. */
  readonly target: string;
  readonly headers?: HeaderList;
  readonly bodySize?: number;
  /** null: could not be read. */
  readonly body?: string | null;
}

export type Phase = 'dns' | 'connect' | 'hello' | 'certificate' | 'request' | 'response';

export interface Explanation {
  /** In their order; the last is the one that settles it. */
  readonly phases: readonly PhaseTrace[];
  /** The targets that were tried where the query's values are not known; else the one target, or none. */
  readonly targets: readonly string[];
}

export interface PhaseTrace {
  readonly phase: Phase;
  readonly verdict: 'allow' | 'block' | 'unknown';
  /** The decider, `default`, or the rule on which it hangs. */
  readonly rule: string;
  /** null unless allowed. */
  readonly mode: Mode | null;
  /** One line; null where it is allowed. */
  readonly reason: string | null;
  /** In audit: the rule, or `default`, that would have blocked it; null where none would. */
  readonly wouldBlock: string | null;
  /** Up to the decider. */
  readonly rules: readonly RuleTrace[];
  /** How many rules are about other hosts. */
  readonly elsewhere: number;
}

export interface RuleTrace {
  readonly id: string;
  readonly file: string;
  readonly line: number;
  readonly action: 'allow' | 'block';
  readonly mode: Mode | null;
  /** skipped: it is for other ports, or has no say in this phase. */
  readonly outcome: 'true' | 'false' | 'unknown' | 'error' | 'skipped';
  /** null unless the outcome is error. */
  readonly error: string | null;
  readonly decides: boolean;
  readonly parts: readonly PartTrace[];
}

const HANGS = 'it hangs on what is not known here';

export class Explainer {
  readonly #count: number;
  readonly #finder: RuleFinder;
  readonly #connections: ConnectionDecider;
  readonly #decider: Decider;
  readonly #frame = new Frame();

  /** `count`: of all rules. */
  constructor(count: number, finder: RuleFinder, connections: ConnectionDecider, decider: Decider) {
    this.#count = count;
    this.#finder = finder;
    this.#connections = connections;
    this.#decider = decider;
  }

  explain(asked: Asked): Explanation {
    const phases: PhaseTrace[] = [];
    if (asked.recordType !== undefined && !isAddress(asked.host)) phases.push(this.#name(asked, asked.recordType));
    if (asked.port === undefined) return { phases, targets: [] };
    const { request } = asked;
    if (request?.scheme !== 'http') {
      phases.push(...this.#connection(asked, asked.port));
      const last = phases.at(-1);
      if (last?.verdict !== 'allow' || last.mode !== 'intercept') return { phases, targets: [] };
    }
    if (request === undefined) return { phases, targets: [] };
    const conditions = this.#finder.candidates(asked.host).map((rule) => rule.ast.input);
    const targets = queryReadings(request.target, conditions);
    phases.push(this.#request(asked, asked.port, request, targets));
    const response = this.#response(asked, asked.port, { ...request, target: targets[0] ?? request.target });
    return { phases: response === undefined ? phases : [...phases, response], targets };
  }

  #name(asked: Asked, recordType: string): PhaseTrace {
    const facts = { agent: agentOf(asked), host: asked.host, recordType };
    const verdict = this.#decider.name(facts);
    this.#frame.setName(facts, 'https');
    return this.#phase('dns', verdict, asked.host, (rule) => this.#trace(rule));
  }

  /** As many steps as it takes and as there are facts for. */
  #connection(asked: Asked, port: number): readonly PhaseTrace[] {
    const facts = { agent: agentOf(asked), host: asked.host, port };
    const { tls, certificate } = asked;
    const first = this.#connections.connect(facts);
    const connect = this.#connect('connect', first, facts, undefined, undefined);
    if (first.action === 'block' || !first.provisional || tls === undefined) return [connect];
    const second = this.#connections.hello({ ...facts, tls });
    const hello = this.#connect('hello', second, facts, tls, undefined);
    if (second.action !== 'need_certificate' || certificate === undefined) return [connect, hello];
    const third = this.#connections.certificate({ ...facts, tls }, certificate ?? undefined);
    return [connect, hello, this.#connect('certificate', third, facts, tls, certificate)];
  }

  #connect(
    phase: Phase,
    decision: HelloDecision,
    facts: ConnectFacts,
    tls: TlsFacts | undefined,
    certificate: CertificateFacts | null | undefined,
  ): PhaseTrace {
    const traced = this.#phase(phase, decision, facts.host, (rule) => {
      if (!servesPort(rule, facts.port)) return skipped(rule);
      if (rule.view.mode === 'intercept') this.#frame.setLate(facts.host, facts);
      else this.#frame.setConnect(facts);
      this.#frame.setTls(tls, certificate);
      return this.#trace(rule);
    });
    // What is not known of the agent, or not seen yet, may settle it otherwise.
    const hanging = traced.rules.find(({ mode, outcome }) => mode !== 'intercept' && outcome === 'unknown');
    return hanging === undefined
      ? traced
      : { ...traced, verdict: 'unknown', rule: hanging.id, mode: null, reason: HANGS };
  }

  /** Of the rule that allowed the request, where it has a say. */
  #response(asked: Asked, port: number, request: AskedRequest): PhaseTrace | undefined {
    const { response } = asked;
    const facts = requestFacts(asked, port, request);
    const allow = this.#decider.request(facts);
    if (response === undefined || allow.action !== 'allow' || !allow.checksResponse) return undefined;
    const rule = this.#finder.candidates(asked.host).find(({ view }) => view.id === allow.ruleId) as Rule;
    const traced = this.#phase('response', this.#decider.response(rule, allow, facts, response), asked.host, skipped);
    this.#frame.setRequest(facts);
    this.#frame.showBody({ ...facts, body: facts.body ?? null }, rule.readsBody);
    this.#frame.setResponse(response);
    return { ...traced, rules: [{ ...this.#traceOf(rule, rule.response as Condition), decides: true }] };
  }

  /** Every reading is decided; of those that are decided alike, two are looked at, since they show what differs. */
  #request(asked: Asked, port: number, request: AskedRequest, targets: readonly string[]): PhaseTrace {
    const read = targets.map((target) => {
      const facts = requestFacts(asked, port, { ...request, target });
      return { facts, decision: this.#decider.request(facts) };
    });
    const alike = Map.groupBy(read, ({ decision }) => `${decision.action} ${decision.ruleId}`);
    const telling = [...alike.values()].flatMap((group) => group.slice(0, 2));
    return telling.map(({ facts, decision }) => this.#oneRequest(facts, decision)).reduce(inCommon);
  }

  #oneRequest(facts: RequestFacts, decision: Decision): PhaseTrace {
    return this.#phase('request', decision, facts.host, (rule) => {
      if (!servesPort(rule, facts.port) || rule.tls !== undefined) return skipped(rule);
      this.#frame.setRequest(facts);
      this.#frame.showBody(facts, rule.readsBody);
      return this.#trace(rule);
    });
  }

  #phase(phase: Phase, decision: Decision | HelloDecision, host: Host, trace: (rule: Rule) => RuleTrace): PhaseTrace {
    const candidates = this.#finder.candidates(host);
    const decider = candidates.findIndex((rule) => rule.view.id === decision.ruleId);
    const considered = decider === -1 ? candidates : candidates.slice(0, decider + 1);
    return {
      phase,
      verdict: decision.action === 'allow' || decision.action === 'block' ? decision.action : 'unknown',
      rule: decision.ruleId,
      mode: decision.action === 'allow' ? decision.grant.mode : null,
      reason: decision.action === 'allow' ? null : decision.action === 'block' ? decision.reason : HANGS,
      wouldBlock: decision.action === 'allow' ? (decision.wouldBlock?.ruleId ?? null) : null,
      rules: considered.map((rule, i) => ({ ...trace(rule), decides: i === decider })),
      elsewhere: this.#count - candidates.length,
    };
  }

  #trace(rule: Rule): RuleTrace {
    const traced = this.#traceOf(rule, { ast: rule.ast, read: rule.read });
    if (rule.tls === undefined) return traced;
    const outcome = outcomeOf(rule, this.#frame);
    const matchers = rule.tls.outcomes(this.#frame).map(([source, value]) => matcherPart(source, value));
    return { ...traced, ...told(outcome), parts: [...traced.parts, ...matchers] };
  }

  #traceOf(rule: Rule, { ast, read }: Pick<Condition, 'ast' | 'read'>): RuleTrace {
    return { ...skipped(rule), ...told(evaluate(read, this.#frame)), parts: partsOf(ast, this.#frame) };
  }
}

function told(outcome: Outcome): Pick<RuleTrace, 'outcome' | 'error'> {
  return { outcome: outcomeName(outcome), error: outcome instanceof CelError ? outcome.message : null };
}

function matcherPart(source: string, outcome: Outcome): PartTrace {
  const value = outcome instanceof CelError ? `error: ${outcome.message}` : outcomeName(outcome);
  return { source, value, depth: 0, operands: [] };
}

/** Fields that are undefined are unknown to the engine, as they are to us. */
function requestFacts(asked: Asked, port: number, request: AskedRequest): RequestFacts {
  const { host, tls } = asked;
  return { ...request, agent: agentOf(asked), host, port, body: request.body, ...(tls && { tls }) } as RequestFacts;
}

function agentOf({ agent }: Asked): AgentFacts {
  return agent as AgentFacts;
}

function skipped({ view }: Rule): RuleTrace {
  const { id, file, line, action, mode } = view;
  return { id, file, line, action, mode, outcome: 'skipped', error: null, decides: false, parts: [] };
}

function outcomeName(outcome: Outcome): RuleTrace['outcome'] {
  if (outcome === undefined) return 'unknown';
  if (outcome instanceof CelError) return 'error';
  return outcome ? 'true' : 'false';
}

/** What holds under either reading of the query; the rest is unknown. */
function inCommon(a: PhaseTrace, b: PhaseTrace): PhaseTrace {
  const [long, short] = a.rules.length >= b.rules.length ? [a.rules, b.rules] : [b.rules, a.rules];
  const rules = long.map((rule, i) => sameRule(rule, short[i]));
  if (a.verdict === b.verdict && a.rule === b.rule) return { ...a, rules };
  const hanging = rules.find(({ outcome }) => outcome === 'unknown')?.id ?? a.rule;
  return {
    ...{ phase: a.phase, verdict: 'unknown', rule: hanging, mode: null, reason: HANGS, elsewhere: a.elsewhere },
    wouldBlock: null,
    rules: rules.map((rule) => ({ ...rule, decides: false })),
  };
}

function sameRule(a: RuleTrace, b: RuleTrace | undefined): RuleTrace {
  if (b === undefined) return a;
  const parts = a.parts.map((part, i) => samePart(part, b.parts[i] as PartTrace));
  return a.outcome === b.outcome ? { ...a, parts } : { ...a, outcome: 'unknown', error: null, parts };
}

function samePart(a: PartTrace, b: PartTrace): PartTrace {
  const operands = a.operands.map((operand, i) =>
    operand.value === b.operands[i]?.value ? operand : { ...operand, value: 'unknown' },
  );
  return a.value === b.value ? { ...a, operands } : { ...a, value: 'unknown', operands };
}
