/**
 * Which pairs of synthetic address and port are open beyond 80 and 443, as elements of a set in the kernel that end by
 * themselves. Given when DNS answers a name for which rules name ports; renewed by the kernel with each connection, and
 * here when the name is asked for again. Whether a connection may go on is still for the door to decide.
 */
import type { Clock } from '../domain/clock.ts';
import type { Host } from '../domain/hostname.ts';
import { formatIpv4, parseIpv4 } from '../domain/ipv4-range.ts';
import type { FoundGrant } from './inspect.ts';
import { GRANT_SECONDS, type GrantElement, grantText, MAX_GRANTS, revokeText, WEB_PORTS } from './ruleset.ts';

/** A name that is asked for again gets its whole time again once half of it is over. */
const RENEW_AFTER_MS = (GRANT_SECONDS * 1_000) / 2;

export interface GrantsDeps {
  /** Runs nft commands; see kernel.ts. */
  apply(text: string): Promise<void>;
  readonly clock: Clock;
  readonly log: { error(fields: object, message: string): void };
}

/** A name as DNS answers it to an agent. */
export interface GrantRequest {
  readonly host: Host;
  /** Of the pool. */
  readonly address: string;
  readonly ports: readonly number[];
  readonly agentIp: string;
}

export interface GrantView {
  readonly host: Host;
  readonly address: string;
  readonly port: number;
  /** Undefined until the kernel was asked. */
  readonly expiresSecs: number | undefined;
  readonly agents: readonly string[];
}

interface Held extends GrantElement {
  readonly host: Host;
  readonly agents: Set<string>;
  grantedAt: number;
}

interface Batch {
  readonly grants: Held[];
  readonly written: Promise<void>;
}

export class Grants {
  readonly #deps: GrantsDeps;
  readonly #held = new Map<string, Held>();
  #batch: Batch | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: GrantsDeps) {
    this.#deps = deps;
  }

  /** What the kernel should hold. */
  get elements(): readonly GrantElement[] {
    return [...this.#held.values()];
  }

  /** Resolves when the kernel lets connections to these ports through; what fails is in the log. Never rejects. */
  async grant({ host, address, ports, agentIp }: GrantRequest): Promise<void> {
    const number = parseIpv4(address);
    if (number === undefined) return;
    const now = this.#deps.clock.now();
    const wanted = ports.filter((port) => !WEB_PORTS.includes(port)).map((port) => ({ address: number, port }));
    const due = wanted.filter((element) => {
      const held = this.#held.get(keyOf(element));
      held?.agents.add(agentIp);
      return held === undefined || now - held.grantedAt >= RENEW_AFTER_MS;
    });
    if (due.length > 0) await this.#write(due.map((element) => this.#entry(element, host, agentIp, now)));
  }

  /** Takes away what `isGranted` no longer says yes to for any agent that holds it. */
  async retain(isGranted: (host: Host, port: number, agentIp: string) => boolean): Promise<void> {
    const lost: Held[] = [];
    for (const held of this.#held.values()) {
      for (const ip of held.agents) if (!isGranted(held.host, held.port, ip)) held.agents.delete(ip);
      if (held.agents.size === 0) lost.push(held);
    }
    await this.#revoke(lost);
  }

  /** The address stands for another name from now on. */
  async forget(address: string): Promise<void> {
    const number = parseIpv4(address);
    await this.#revoke([...this.#held.values()].filter((held) => held.address === number));
  }

  /** Lets go of what ended in the kernel, and gives back what the kernel holds and nobody here granted. */
  settle(found: readonly FoundGrant[]): readonly GrantElement[] {
    const keys = new Set(found.map(keyOf));
    for (const key of this.#held.keys()) if (!keys.has(key)) this.#held.delete(key);
    return found.filter((element) => !this.#held.has(keyOf(element)));
  }

  /** What is granted now, given what the kernel holds. */
  list(found: readonly FoundGrant[]): readonly GrantView[] {
    const expires = new Map(found.map((grant) => [keyOf(grant), grant.expiresSecs]));
    return [...this.#held.values()].map((held) => ({
      host: held.host,
      address: formatIpv4(held.address),
      port: held.port,
      expiresSecs: expires.get(keyOf(held)),
      agents: [...held.agents],
    }));
  }

  #entry(element: GrantElement, host: Host, agentIp: string, now: number): Held {
    const agents = this.#held.get(keyOf(element))?.agents ?? new Set([agentIp]);
    return { ...element, host, agents, grantedAt: now };
  }

  /** What is asked for while nft runs goes into the next run together. */
  async #write(grants: readonly Held[]): Promise<void> {
    this.#batch ??= this.#openBatch();
    this.#batch.grants.push(...grants);
    await this.#batch.written;
  }

  #openBatch(): Batch {
    const grants: Held[] = [];
    const written = this.#last.then(async () => {
      this.#batch = undefined;
      await this.#grantAll(grants);
    });
    this.#last = written;
    return { grants, written };
  }

  async #grantAll(grants: readonly Held[]): Promise<void> {
    const room = MAX_GRANTS - this.#held.size;
    const fitting = grants.filter((grant, i) => i < room || this.#held.has(keyOf(grant)));
    if (fitting.length < grants.length) {
      this.#deps.log.error({ event: 'grants_full', limit: MAX_GRANTS }, 'no more ports can be granted to names');
    }
    if (fitting.length === 0) return;
    try {
      await this.#deps.apply(grantText(fitting));
      for (const grant of fitting) this.#held.set(keyOf(grant), grant);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** What could not be taken away is no longer ours either way: the next look at the kernel finds it and sets it right. */
  async #revoke(lost: readonly Held[]): Promise<void> {
    if (lost.length === 0) return;
    const revoked = this.#last.then(async () => {
      await this.#deps.apply(revokeText(lost)).catch((error: unknown) => this.#failed(error));
      for (const held of lost) this.#held.delete(keyOf(held));
    });
    this.#last = revoked;
    await revoked;
  }

  #failed(error: unknown): void {
    this.#deps.log.error({ event: 'grants_failed' }, error instanceof Error ? error.message : String(error));
  }
}

function keyOf({ address, port }: GrantElement): string {
  return `${address}:${port}`;
}
