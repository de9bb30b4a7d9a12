/**
 * Accepts client connections, holds the caps per agent, sweeps deadlines, and drains (threats 33, 37).
 *   1. accept: who is it, may it have one more connection
 *   2. the explicit door reads its first request
 *   3. sweep: deadlines of all flows, four times a second
 *   4. reload: flows that the new rule set would refuse are closed
 *   5. drain: idle flows at once, busy ones when they are done, the rest by reset
 */
import type { Socket } from 'node:net';
import { canonicalHost } from '../domain/hostname.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { failureRefusal, refusalBytes } from '../wire/refusal.ts';
import type { ProxyDeps } from './deps.ts';
import { serveExplicit } from './explicit.ts';
import { Flow } from './flow.ts';
import { failedFlow } from './outcome.ts';
import { type SyntheticNames, serveTransparent } from './transparent.ts';

/** Deadlines are kept to this precision. */
const SWEEP_INTERVAL_MS = 250;

export class ProxyServer {
  readonly #deps: ProxyDeps;
  readonly #flows = new Set<Flow>();
  readonly #perAgent = new Map<string, number>();
  readonly #idPrefix: string;
  readonly #sweep: NodeJS.Timeout;
  #nextId = 0;
  #now: number;
  #draining = false;
  #onEmpty: (() => void) | undefined;

  constructor(deps: ProxyDeps) {
    this.#deps = deps;
    this.#now = deps.clock.now();
    // Unique among workers and restarts, and short: time and pid in base 36.
    this.#idPrefix = `${this.#now.toString(36)}-${process.pid.toString(36)}-`;
    this.#sweep = setInterval(() => this.#sweepDeadlines(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  get openFlows(): number {
    return this.#flows.size;
  }

  /** Connections that were accepted, those refused at once included. */
  get accepted(): number {
    return this.#nextId;
  }

  /** Takes over one accepted connection. The listening server must have `allowHalfOpen` set. */
  accept(socket: Socket): void {
    const flow = this.#admit(socket);
    if (flow !== undefined) serveExplicit(flow);
  }

  /** Takes over one connection to a synthetic address; else as accept. */
  acceptTransparent(socket: Socket, names: SyntheticNames): void {
    const flow = this.#admit(socket);
    if (flow !== undefined) void serveTransparent(flow, names);
  }

  /** A new rule set is in force. Flows that it would not admit are closed by reset. */
  reload(rules: RuleSet): void {
    for (const flow of this.#flows) {
      if (flow.handler !== undefined && !flow.handler.permittedBy(rules)) flow.handler.abort('rules_changed');
    }
  }

  /** Resolves when all flows are gone: by themselves within `graceMs`, by reset after it. */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    for (const flow of this.#flows) {
      flow.draining = true;
      flow.handler?.onDrain();
    }
    await this.#emptyWithin(graceMs);
    for (const flow of this.#flows) {
      if (flow.handler === undefined) flow.raw.resetAndDestroy();
      else flow.handler.abort('draining');
    }
    await this.#emptyWithin(SWEEP_INTERVAL_MS);
    clearInterval(this.#sweep);
  }

  #admit(socket: Socket): Flow | undefined {
    socket.on('error', () => socket.destroy());
    const ip = agentAddress(socket);
    if (ip === undefined) {
      socket.destroy();
      return undefined;
    }
    socket.setNoDelay(true);
    const flow = new Flow(
      this.#deps,
      this.#idPrefix + (this.#nextId++).toString(36),
      socket,
      this.#deps.agents.factsOf(ip),
      () => this.#now,
    );
    const open = this.#perAgent.get(ip) ?? 0;
    if (this.#draining || open >= this.#deps.options.maxConnectionsPerAgent) {
      refuseAtOnce(flow, this.#draining ? 'draining' : 'agent_limit');
      return undefined;
    }
    this.#perAgent.set(ip, open + 1);
    this.#flows.add(flow);
    socket.once('close', () => void this.#release(flow, ip));
    return flow;
  }

  async #emptyWithin(ms: number): Promise<void> {
    if (this.#flows.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }

  async #release(flow: Flow, ip: string): Promise<void> {
    await flow.recorded;
    this.#flows.delete(flow);
    const open = (this.#perAgent.get(ip) ?? 1) - 1;
    if (open === 0) this.#perAgent.delete(ip);
    else this.#perAgent.set(ip, open);
    if (this.#flows.size === 0) this.#onEmpty?.();
  }

  #sweepDeadlines(): void {
    this.#now = this.#deps.clock.now();
    for (const flow of this.#flows) {
      if (flow.expired(this.#now)) flow.timeOut();
      else flow.noticeRest(this.#now);
    }
  }
}

function agentAddress(socket: Socket): string | undefined {
  const address = socket.remoteAddress;
  if (address === undefined) return undefined;
  return canonicalHost(address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address);
}

function refuseAtOnce(flow: Flow, reason: 'draining' | 'agent_limit'): void {
  failedFlow(flow, { reason });
  flow.raw.end(refusalBytes(failureRefusal(reason, undefined), { head: false, close: true }));
  flow.raw.resume();
}
