/**
 * A connection that was opened for one host, from its first bytes to whoever serves it: the part that CONNECT and the
 * transparent door share (threats 1, 2, 11, 13).
 *   TLS: the SNI must be the host; then a tunnel, or interception
 *   plain HTTP: each request is decided by itself, as through every other door
 *   anything else is refused; only a direct_ip rule relays without looking, and then these bytes are never read
 */
import type { FailureReason } from '../domain/failure.ts';
import { canonicalHost, type Host, isAddress } from '../domain/hostname.ts';
import type { Allow, Verdict } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import { escapeForLog } from '../wire/escape.ts';
import type { Flow } from './flow.ts';
import { H1Connection } from './h1-connection.ts';
import { blockedFlow, failedFlow, type OutcomeFields } from './outcome.ts';
import { type Hello, type Peeked, peek } from './peek.ts';
import { closeWithAlert } from './refuse.ts';
import { plainSite } from './site.ts';
import { tunnel } from './tunnel.ts';

/** The longest name that is written to the audit record. */
const LOGGED_NAME_CHARS = 256;

/** From upstream.resolve; undefined where the name is yet to be resolved. */
type Addresses = readonly string[] | undefined;

export class HostDoor {
  readonly #flow: Flow;
  readonly #host: Host;
  readonly #port: number;
  /** `CONNECT` in the audit record where the agent said so. */
  readonly #method: string | null;
  /** Of the rule set that admitted this flow. */
  #generation = 0;

  constructor(flow: Flow, host: Host, port: number, method: 'CONNECT' | null) {
    this.#flow = flow;
    this.#host = host;
    this.#port = port;
    this.#method = method;
  }

  decide(): Verdict {
    const rules = this.#flow.deps.rules();
    this.#generation = rules.generation;
    return this.#decideBy(rules);
  }

  origin(verdict: Allow): OriginRequest {
    return { agentIp: this.#flow.agent.ip, host: this.#host, port: this.#port, grant: verdict.grant };
  }

  /** Relays whatever comes, under a direct_ip rule. */
  relay(verdict: Allow, addresses: Addresses, first: Buffer): void {
    this.#tunnel(verdict, addresses, first, 'direct');
  }

  /**
   * Reads the first bytes and serves what they are; a block is told in the form that fits them.
   * `first`: bytes that were read already.
   */
  read(verdict: Verdict, addresses: Addresses, first: Buffer): void {
    const { flow } = this.phase('client_hello_timeout', verdict);
    flow.expectWithin(flow.deps.options.helloTimeoutMs);
    peek(flow.raw, first, (peeked) => this.#route(peeked, verdict, addresses));
  }

  /** From here until the next phase, a deadline that passes is this failure. */
  phase(timeoutReason: FailureReason, verdict: Verdict): { readonly flow: Flow } {
    const flow = this.#flow;
    const end = (): void => {
      flow.handler = undefined;
      flow.raw.resetAndDestroy();
    };
    flow.handler = {
      onTimeout: () => {
        this.fail(timeoutReason, undefined, verdict);
        end();
      },
      onDrain: () => undefined,
      permittedBy: (rules) => this.#stillAdmitted(rules, verdict),
      abort: end,
    };
    return { flow };
  }

  fail(reason: FailureReason, detail: string | undefined, verdict: Verdict): void {
    const mode = verdict.action === 'allow' ? verdict.grant.mode : null;
    failedFlow(this.#flow, { reason, detail }, { ...this.fields(), rule: verdict.ruleId, mode });
  }

  /** What every audit record of this connection says. */
  fields(): OutcomeFields {
    return { host: this.#host, port: this.#port, method: this.#method, generation: this.#generation };
  }

  #route(peeked: Peeked, verdict: Verdict, addresses: Addresses): void {
    switch (peeked.kind) {
      case 'hello':
        this.#routeTls(peeked.hello, peeked.bytes, verdict, addresses);
        return;
      case 'http':
        this.#servePlain(peeked.bytes, verdict);
        return;
      case 'other':
        this.fail('not_tls', undefined, verdict);
        this.#flow.raw.resetAndDestroy();
        return;
      case 'malformed':
        this.fail('client_hello_malformed', peeked.detail, verdict);
        closeWithAlert(this.#flow, 'internal_error');
        return;
      case 'closed':
        // Without a handler the flow was ended, and recorded, from above.
        if (this.#flow.handler === undefined) return;
        this.fail('client_closed', 'before a TLS handshake', verdict);
        this.#flow.handler = undefined;
        this.#flow.raw.destroy();
        return;
    }
  }

  #routeTls(hello: Hello, bytes: Buffer, verdict: Verdict, addresses: Addresses): void {
    const flow = this.#flow;
    const wrong = sniProblem(hello.sni, this.#host);
    if (wrong !== undefined) {
      this.fail(wrong.reason, wrong.detail, verdict);
      closeWithAlert(flow, 'unrecognized_name');
      return;
    }
    if (verdict.action === 'block') {
      blockedFlow(flow, verdict, this.fields());
      closeWithAlert(flow, 'access_denied');
      return;
    }
    if (verdict.grant.mode !== 'intercept') {
      this.#tunnel(verdict, addresses, bytes, 'tunnel');
      return;
    }
    if (flow.deps.interception === undefined) {
      // Rules with mode intercept do not load without a CA; should one be here all the same, it never becomes a tunnel.
      this.fail('cert_gen_failed', 'no CA is loaded', verdict);
      closeWithAlert(flow, 'internal_error');
      return;
    }
    flow.raw.unshift(bytes);
    const request = { origin: this.origin(verdict), verdict, generation: this.#generation, offered: hello.alpn };
    void flow.deps.interception.serve(flow, request);
  }

  #tunnel(verdict: Allow, addresses: Addresses, first: Buffer, taken: 'tunnel' | 'direct'): void {
    const origin = this.origin(verdict);
    tunnel(this.#flow, {
      origin,
      verdict,
      generation: this.#generation,
      addresses,
      first,
      taken,
      method: this.#method,
    });
  }

  #servePlain(bytes: Buffer, verdict: Verdict): void {
    const flow = this.#flow;
    const site = plainSite(flow, this.#host, this.#port);
    new H1Connection(flow, flow.raw, site, (rules) => this.#stillAdmitted(rules, verdict)).start(bytes);
  }

  #decideBy(rules: RuleSet): Verdict {
    return rules.decideConnect({ agent: this.#flow.agent, host: this.#host, port: this.#port });
  }

  /** A connection that carries only refusals may go on doing so. */
  #stillAdmitted(rules: RuleSet, verdict: Verdict): boolean {
    if (verdict.action === 'block') return true;
    const now = this.#decideBy(rules);
    return now.action === 'allow' && now.grant.mode === verdict.grant.mode;
  }
}

/** SNI must be the host of the connection. RFC 6066 section 3 has none for addresses; Java sends none for names without a dot. */
function sniProblem(
  sni: string | undefined,
  host: Host,
): { readonly reason: 'sni_missing' | 'sni_mismatch'; readonly detail?: string } | undefined {
  if (sni === undefined) return isAddress(host) || !host.includes('.') ? undefined : { reason: 'sni_missing' };
  if (canonicalHost(sni) === host) return undefined;
  return {
    reason: 'sni_mismatch',
    detail: `SNI ${escapeForLog(sni, LOGGED_NAME_CHARS)} on a connection for ${host}`,
  };
}
