/**
 * A connection that was opened for one host, from its first bytes to whoever serves it: the part that CONNECT and the
 * transparent door share (threats 1, 2, 11, 13).
 *   TLS: the SNI must be the host; then a tunnel, or interception
 *   plain HTTP: each request is decided by itself, as through every other door
 *   anything else is refused; only a direct_ip rule relays without looking, and then these bytes are never read
 */
import { asFailure, type FailureReason } from '../domain/failure.ts';
import { canonicalHost, type Host } from '../domain/hostname.ts';
import type { Allow, NeedCertificate, Verdict } from '../domain/verdict.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { OriginRequest } from '../upstream/origin.ts';
import { newestVersion } from '../wire/client-hello.ts';
import type { Flow } from './flow.ts';
import { H1Connection } from './h1-connection.ts';
import { type Known, stillAllowed } from './known.ts';
import { decideByCertificate } from './metadata.ts';
import { blockedFlow, failedFlow, type OutcomeFields, verdictFields } from './outcome.ts';
import { type Hello, type Peeked, peek } from './peek.ts';
import { closeWithAlert } from './refuse.ts';
import { sniProblem } from './server-name.ts';
import { plainSite } from './site.ts';
import { type Opened, tunnel } from './tunnel.ts';

/** From upstream.resolve; undefined where the name is yet to be resolved. */
type Addresses = readonly string[] | undefined;

type WithHello = Known & Required<Pick<Known, 'tls'>>;

export class HostDoor {
  readonly #flow: Flow;
  readonly #host: Host;
  readonly #port: number;
  /** `CONNECT` in the audit record where the agent said so. */
  readonly #method: string | null;
  #known: Known;
  #hello: Hello | undefined;
  /** Of the rule set that admitted this flow. */
  #generation = 0;

  constructor(flow: Flow, host: Host, port: number, method: 'CONNECT' | null) {
    this.#flow = flow;
    this.#host = host;
    this.#port = port;
    this.#method = method;
    this.#known = { agent: flow.agent, host, port };
  }

  decide(): Verdict {
    const rules = this.#flow.deps.rules();
    this.#generation = rules.generation;
    return rules.decideConnect(this.#known);
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
    failedFlow(this.#flow, { reason, detail }, { ...this.fields(), ...verdictFields(verdict) });
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
    const sni = hello.sni === undefined ? '' : canonicalHost(hello.sni);
    // A name without a canonical form is refused below, whatever the rules say.
    const known = { ...this.#known, tls: { sni: sni ?? '', version: newestVersion(hello.versions), alpn: hello.alpn } };
    this.#known = known;
    this.#hello = hello;
    const waits = verdict.action === 'allow' && verdict.provisional && sni !== undefined;
    const rules = this.#flow.deps.rules();
    const decision = waits ? rules.decideHello(known) : verdict;
    if (waits) this.#generation = rules.generation;
    const exceptions = decision.action === 'block' ? undefined : decision.grant.tls;
    const wrong = sniProblem(hello, sni, this.#host, exceptions);
    if (wrong !== undefined) {
      this.fail(wrong.reason, wrong.detail, decision.action === 'need_certificate' ? verdict : decision);
      closeWithAlert(this.#flow, 'unrecognized_name');
    } else if (decision.action === 'need_certificate') {
      void this.#decideByCertificate(hello, bytes, decision, addresses);
    } else {
      this.#serveTls(decision, addresses, bytes, undefined);
    }
  }

  async #decideByCertificate(hello: Hello, bytes: Buffer, need: NeedCertificate, addresses: Addresses): Promise<void> {
    const flow = this.#flow;
    const known = this.#known as WithHello;
    try {
      const decided = await decideByCertificate(flow, { known, need, addresses, hello, bytes });
      this.#known = decided.known;
      this.#generation = flow.deps.rules().generation;
      this.#serveTls(decided.verdict, addresses, bytes, decided.opened);
    } catch (error) {
      const failure = asFailure(error);
      if (failure.reason === 'internal_error')
        flow.deps.log.error({ err: error, flow: flow.id }, 'certificate check failed');
      failedFlow(flow, failure, { ...this.fields(), rule: need.ruleId, mode: need.grant.mode });
      closeWithAlert(flow, 'internal_error');
    }
  }

  #serveTls(verdict: Verdict, addresses: Addresses, bytes: Buffer, opened: Opened | undefined): void {
    const flow = this.#flow;
    if (verdict.action === 'block') {
      blockedFlow(flow, verdict, this.fields());
      closeWithAlert(flow, 'access_denied');
      return;
    }
    if (verdict.grant.mode !== 'intercept') {
      this.#tunnel(verdict, addresses, bytes, 'tunnel', opened);
      return;
    }
    if (flow.deps.interception === undefined) {
      // Rules with mode intercept do not load without a CA; should one be here all the same, it never becomes a tunnel.
      this.fail('cert_gen_failed', 'no CA is loaded', verdict);
      closeWithAlert(flow, 'internal_error');
      return;
    }
    flow.raw.unshift(bytes);
    const known = this.#known as WithHello;
    const request = { origin: this.origin(verdict), verdict, generation: this.#generation, known };
    void flow.deps.interception.serve(flow, request);
  }

  #tunnel(verdict: Allow, addresses: Addresses, first: Buffer, taken: 'tunnel' | 'direct', opened?: Opened): void {
    const origin = this.origin(verdict);
    tunnel(this.#flow, {
      origin,
      verdict,
      generation: this.#generation,
      known: this.#known,
      opened,
      addresses,
      first,
      hello: opened === undefined ? this.#hello : undefined,
      taken,
      method: this.#method,
    });
  }

  #servePlain(bytes: Buffer, verdict: Verdict): void {
    const flow = this.#flow;
    const site = plainSite(flow, this.#host, this.#port);
    new H1Connection(flow, flow.raw, site, (rules) => this.#stillAdmitted(rules, verdict)).start(bytes);
  }

  #stillAdmitted(rules: RuleSet, verdict: Verdict): boolean {
    return stillAllowed(this.#known, verdict, rules);
  }
}
