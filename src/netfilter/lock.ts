/**
 * The network lock of this namespace: set before anything listens, read back, and looked at for as long as we run
 * (threats rows 14, 21, 23, 36, 40). What is not as it should be is told and set again. Never taken away: closed stays
 * closed until the namespace is gone.
 */
import type { Clock } from '../domain/clock.ts';
import { formatIpv4 } from '../domain/ipv4-range.ts';
import { Grants, type GrantView } from './grants.ts';
import { differences, type FoundTable, readTable } from './inspect.ts';
import type { Kernel } from './kernel.ts';
import { LockFailure } from './lock-failure.ts';
import type { Plugged } from './plan.ts';
import { type LockPlan, lockLines, lockText } from './ruleset.ts';

/** One look costs two short programs, some 10 ms together. */
const WATCH_INTERVAL_MS = 2_000;
/** Of a table that somebody else wrote, the first lines say enough. */
const MAX_LOGGED_DIFFERENCES = 10;

export interface LockOptions extends Omit<LockPlan, keyof Plugged> {
  readonly kernel: Kernel;
  /** Where the agents' network is plugged in now; throws LockFailure. See plan.ts. */
  findAgents(): Plugged;
  readonly clock: Clock;
  readonly log: {
    error(fields: object, message: string): void;
    info(fields: object, message: string): void;
  };
}

export class NetworkLock {
  readonly grants: Grants;
  readonly #options: LockOptions;
  #intact = false;
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;

  constructor(options: LockOptions) {
    const { kernel, clock, log } = options;
    this.#options = options;
    this.grants = new Grants({ apply: (text) => kernel.apply(text), clock, log });
  }

  /** False from the moment that the lock was found other than it should be until a later look finds it right. */
  get intact(): boolean {
    return this.#intact;
  }

  /** Sets the lock and reads it back. Rejects with LockFailure when the kernel does not hold it as it was meant. */
  async set(): Promise<void> {
    const { kernel, log, pool } = this.#options;
    const plan = this.#plan();
    await kernel.apply(lockText(plan, this.grants.elements));
    await kernel.routePool(pool);
    const problems = await this.#problems(plan);
    if (problems.length > 0) throw new LockFailure(`the network lock does not read back as it was set: ${problems[0]}`);
    this.#intact = true;
    log.info({ event: 'lock_set', interface: plan.agentsInterface }, `agents on ${plan.agentsInterface} are locked`);
  }

  /** Looks at the lock from now on. */
  watch(intervalMs = WATCH_INTERVAL_MS): void {
    this.#timer = setInterval(() => void this.check(), intervalMs);
  }

  /** One look, and what follows from it. Never rejects. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  async listGrants(): Promise<readonly GrantView[]> {
    const table = await this.#read();
    return this.grants.list(table?.grants ?? []);
  }

  /** Stops looking. The lock stays as it is. */
  close(): void {
    clearInterval(this.#timer);
  }

  async #check(): Promise<void> {
    const { log } = this.#options;
    try {
      const problems = await this.#problems(this.#plan());
      if (problems.length > 0) {
        await this.#setAgain(problems);
        return;
      }
      if (!this.#intact) log.info({ event: 'lock_restored' }, 'the network lock is whole again');
      this.#intact = true;
    } catch (error) {
      this.#intact = false;
      log.error({ event: 'lock_unreadable' }, error instanceof Error ? error.message : String(error));
    }
  }

  async #setAgain(problems: readonly string[]): Promise<void> {
    const { log } = this.#options;
    this.#intact = false;
    const shown = problems.slice(0, MAX_LOGGED_DIFFERENCES);
    log.error(
      { event: 'lock_broken', problems: shown },
      'the network lock was changed by somebody else; it is set again',
    );
    await this.set();
    // What was broken is told for at least one interval, or nobody who asks now and then would ever see it.
    this.#intact = false;
  }

  #plan(): LockPlan {
    const { agentsSubnet, pool, proxyPort, dnsPort, transparent } = this.#options;
    const plugged = this.#options.findAgents();
    if (pool.contains(plugged.ownAddress)) {
      throw new LockFailure(`--pool: ${pool.cidr} holds the appliance's own address ${formatIpv4(plugged.ownAddress)}`);
    }
    return { ...plugged, agentsSubnet, pool, proxyPort, dnsPort, transparent };
  }

  async #problems(plan: LockPlan): Promise<readonly string[]> {
    const { kernel, pool } = this.#options;
    const table = await this.#read();
    if (table === undefined) return ['the table is gone'];
    const changed = differences(lockLines(plan), table.lines);
    // Of a table that is not ours, nothing is believed about the grants.
    const foreign = changed.length > 0 ? [] : this.grants.settle(table.grants);
    const routed = await kernel.hasPoolRoute(pool);
    return [
      ...changed,
      ...foreign.map(({ address, port }) => `granted by nobody: ${formatIpv4(address)} port ${port}`),
      ...(routed ? [] : [`no local route for ${pool.cidr}`]),
    ];
  }

  async #read(): Promise<FoundTable | undefined> {
    const listing = await this.#options.kernel.listTable();
    return listing === undefined ? undefined : readTable(listing);
  }
}
