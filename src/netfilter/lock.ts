/**
 * The network lock of this namespace: set before anything listens, read back, and looked at for as long as we run
 * (threats rows 14, 21, 23, 36, 40). What is not as it should be is told and set again; networks of one agent that are
 * plugged in or out are taken up or dropped. Never taken away: closed stays closed until the namespace is gone.
 */
import type { Clock } from '../domain/clock.ts';
import { formatIpv4, type Ipv4Range } from '../domain/ipv4-range.ts';
import { Grants, type GrantView } from './grants.ts';
import { differences, type FoundTable, readTable } from './inspect.ts';
import type { Kernel } from './kernel.ts';
import { LockFailure } from './lock-failure.ts';
import type { AgentsRanges, Plugged, PluggedNetwork } from './plan.ts';
import { type LockPlan, lockLines, lockText } from './ruleset.ts';

/** One look costs two short programs, some 10 ms together. */
const WATCH_INTERVAL_MS = 2_000;
/** How soon a network of one agent is served after it was plugged in; a look at the interfaces costs some 50 us. */
const PLUGGED_INTERVAL_MS = 250;
/** Of a table that somebody else wrote, the first lines say enough. */
const MAX_LOGGED_DIFFERENCES = 10;

export interface LockOptions extends Pick<LockPlan, 'proxyPort' | 'dnsPort' | 'transparent' | 'metrics'>, AgentsRanges {
  readonly kernel: Kernel;
  /** Where the agents' networks are plugged in now; throws LockFailure. See plan.ts. */
  findPlugged(): Plugged;
  /** From now on the lock is set for these. */
  onNetworks?(networks: readonly PluggedNetwork[]): void;
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
  #timers: NodeJS.Timeout[] = [];
  #checking: Promise<void> | undefined;
  /** What the lock was last set for, and what was last seen; both are compared as text. */
  #setFor: LockPlan | undefined;
  #seen = '';
  #routed: readonly Ipv4Range[] = [];
  #strange: readonly string[] = [];

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
    const plan = this.#plan();
    await this.#apply(plan);
    const problems = await this.#problems(plan);
    if (problems.length > 0) throw new LockFailure(`the network lock does not read back as it was set: ${problems[0]}`);
    this.#intact = true;
    const interfaces = plan.networks.map((network) => network.interface);
    this.#options.log.info({ event: 'lock_set', interfaces }, `agents on ${interfaces.join(', ')} are locked`);
    this.#options.onNetworks?.(plan.networks);
  }

  /** Looks at the lock from now on. */
  watch(intervalMs = WATCH_INTERVAL_MS): void {
    this.#timers.push(setInterval(() => void this.check(), intervalMs));
    if (this.#options.isolated !== undefined) {
      this.#timers.push(setInterval(() => this.#look(), PLUGGED_INTERVAL_MS));
    }
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
    for (const timer of this.#timers) clearInterval(timer);
  }

  async #check(): Promise<void> {
    const { log } = this.#options;
    try {
      const plan = this.#plan();
      if (isOther(plan, this.#setFor)) {
        await this.set();
        return;
      }
      const problems = await this.#problems(plan);
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

  /** Are other networks plugged in than those that were seen last? */
  #look(): void {
    const seen = this.#glance();
    if (seen === this.#seen) return;
    this.#seen = seen;
    void (this.#checking ?? Promise.resolve()).then(() => this.check());
  }

  #glance(): string {
    try {
      return JSON.stringify(this.#options.findPlugged());
    } catch (error) {
      return String(error); // told by the look that follows
    }
  }

  #plan(): LockPlan {
    const { agentsSubnet, pool, isolated, proxyPort, dnsPort, transparent, metrics } = this.#options;
    const { networks, outside, strange } = this.#options.findPlugged();
    const holder = networks.find(({ ownAddress }) => pool.contains(ownAddress));
    if (holder !== undefined) {
      throw new LockFailure(`--pool: ${pool.cidr} holds the appliance's own address ${formatIpv4(holder.ownAddress)}`);
    }
    this.#tellStrange(strange);
    const agentsRanges = isolated === undefined ? [agentsSubnet] : [agentsSubnet, isolated];
    return { networks, outside, agentsRanges, proxyPort, dnsPort, transparent, metrics };
  }

  async #apply(plan: LockPlan): Promise<void> {
    const { kernel } = this.#options;
    this.#setFor = plan;
    const pools = plan.networks.map(({ pool }) => pool);
    await kernel.apply(lockText(plan, this.grants.elements));
    for (const pool of pools) await kernel.routePool(pool);
    const gone = this.#routed.filter(({ cidr }) => !pools.some((pool) => pool.cidr === cidr));
    for (const pool of gone) await kernel.unroutePool(pool);
    this.#routed = pools;
  }

  /** Once each, as long as it is there. */
  #tellStrange(strange: readonly string[]): void {
    for (const what of strange) {
      if (this.#strange.includes(what)) continue;
      this.#options.log.error({ event: 'network_refused' }, `an agents' network stays closed: ${what}`);
    }
    this.#strange = strange;
  }

  async #problems(plan: LockPlan): Promise<readonly string[]> {
    const { kernel } = this.#options;
    const table = await this.#read();
    if (table === undefined) return ['the table is gone'];
    const changed = differences(lockLines(plan), table.lines);
    // Of a table that is not ours, nothing is believed about the grants.
    const foreign = changed.length > 0 ? [] : this.grants.settle(table.grants);
    const routes = await kernel.localRoutes();
    const unrouted = plan.networks.filter(({ pool }) => !routes.includes(pool.cidr));
    return [
      ...changed,
      ...foreign.map(({ address, port }) => `granted by nobody: ${formatIpv4(address)} port ${port}`),
      ...unrouted.map(({ pool }) => `no local route for ${pool.cidr}`),
    ];
  }

  async #read(): Promise<FoundTable | undefined> {
    const listing = await this.#options.kernel.listTable();
    return listing === undefined ? undefined : readTable(listing);
  }
}

function isOther(plan: LockPlan, set: LockPlan | undefined): boolean {
  return JSON.stringify(plan) !== JSON.stringify(set);
}
