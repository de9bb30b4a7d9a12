/**
 * The supervisor's side of the agents' networks: the lock in the kernel, the one that they share, those of one agent that
 * come and go, and the grants that join names and kernel. Imported only where there is a pool. Threats rows 14 to 16, 19,
 * 36, 40.
 *   1. lock: set and read back before anything listens
 *   2. openDns: from here on agents learn addresses, and each answer has its grants in the kernel first
 *   3. takeRules: grants that the new set does not give are taken away
 */
import { closeSync } from 'node:fs';
import type { FlowCounts } from '../audit/flow-counts.ts';
import type { Log } from '../audit/log.ts';
import { systemClock } from '../domain/clock.ts';
import type { AgentFacts } from '../domain/facts.ts';
import { canonicalHost, type Host } from '../domain/hostname.ts';
import { formatIpv4, type Ipv4, Ipv4Range, parseIpv4 } from '../domain/ipv4-range.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { GrantView } from '../netfilter/grants.ts';
import { namespaceKernel } from '../netfilter/kernel.ts';
import { NetworkLock } from '../netfilter/lock.ts';
import { findPlugged, type PluggedNetwork } from '../netfilter/plan.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { AgentDirectory } from './agents.ts';
import { type ListeningAddress, listeningAddress } from './inherited-socket.ts';
import { isLoopback } from './operator-options.ts';
import type { HostAndPort } from './option-checks.ts';
import type { DaemonOptions } from './options.ts';
import { ServedNetwork } from './served-network.ts';
import { StartRefused } from './start-checks.ts';

/** 0.0.0.0 */
const ANY_ADDRESS = 0;

export interface AgentsNetworkSetup {
  readonly options: DaemonOptions;
  readonly log: Log;
  readonly agents: AgentDirectory;
  readonly counts: FlowCounts;
  readonly audit: { write(record: AuditRecord): void; readonly blocked: boolean };
  rules(): RuleSet;
  /** A synthetic address stands for another name from now on. */
  onNameChanged(address: string): void;
  /** Our addresses on networks of one agent, where the proxy is to listen too. */
  onAddresses(addresses: readonly Host[]): void;
}

export class AgentsNetwork {
  readonly #setup: AgentsNetworkSetup;
  readonly #lock: NetworkLock | undefined;
  readonly #shared: ServedNetwork;
  /** By our address there, which the layout of such a network gives. */
  readonly #isolated = new Map<Host, ServedNetwork>();
  #plugged: readonly PluggedNetwork[] = [];
  #opened = false;
  #following: Promise<void> = Promise.resolve();

  /** Throws StartRefused where the inherited socket is none, or the pool has no fitting size. */
  constructor(setup: AgentsNetworkSetup) {
    const { options } = setup;
    this.#setup = setup;
    const subnet = rangeOf(options.agentsSubnet).cidr;
    this.#shared = this.#serve(subnet, rangeOf(options.pool).cidr, options.dnsListen, false);
    const door = options.transparentFd === undefined ? undefined : doorAt(options.transparentFd);
    this.#lock = options.lock ? this.#makeLock(door) : undefined;
  }

  get lockState(): 'off' | 'intact' | 'broken' {
    if (this.#lock === undefined) return 'off';
    return this.#lock.intact ? 'intact' : 'broken';
  }

  /** Networks of one agent that are served now, as CIDR. */
  get isolated(): readonly string[] {
    return [...this.#isolated.values()].map(({ subnet }) => subnet);
  }

  get isolatedAddresses(): readonly Host[] {
    return [...this.#isolated.keys()];
  }

  /** Sets the lock and watches it. Rejects with LockFailure. */
  async lock(): Promise<void> {
    await this.#lock?.set();
    this.#lock?.watch();
  }

  /** Rejects with StartRefused where the address cannot be listened on. */
  async openDns(): Promise<void> {
    await this.#shared.openDns();
    this.#opened = true;
    await this.#follow();
  }

  nameOf(address: string): Host | undefined {
    const holder = [this.#shared, ...this.#isolated.values()].find(({ pool }) => pool.holds(address));
    return holder?.pool.hostOf(address);
  }

  /** Resolves when the kernel lets through no port that this set does not grant. */
  async takeRules(rules: RuleSet): Promise<void> {
    await this.#lock?.grants.retain((host, port, ip) =>
      rules.namedPorts({ agent: this.#setup.agents.factsOf(ip), host }).includes(port),
    );
  }

  async grants(): Promise<readonly GrantView[]> {
    return (await this.#lock?.listGrants()) ?? [];
  }

  /** No more names, and nobody listens for connections to them. The lock stays. */
  async close(): Promise<void> {
    this.#lock?.close();
    this.#opened = false;
    await this.#following;
    for (const network of [this.#shared, ...this.#isolated.values()]) await network.close();
    // Until here it took connections for workers that were being replaced; now nobody would serve them.
    if (this.#setup.options.transparentFd !== undefined) closeSync(this.#setup.options.transparentFd);
  }

  #serve(subnet: string, pool: string, dnsListen: HostAndPort | undefined, ofOneAgent: boolean): ServedNetwork {
    const { options, log, agents, audit, counts } = this.#setup;
    const { upstreamDns, lock } = options;
    const grant = lock
      ? (host: Host, address: string, agent: AgentFacts) => this.#grant(host, address, agent)
      : undefined;
    const rules = () => this.#setup.rules();
    const onRenamed = (address: string) => this.#renamed(address);
    const common = { upstreamDns, log, agents, audit, counts, rules, grant, onRenamed };
    return new ServedNetwork({ subnet, pool, dnsListen, ofOneAgent, ...common });
  }

  #makeLock(transparent: ListeningAddress | undefined): NetworkLock {
    const { options, log } = this.#setup;
    const ranges = {
      agentsSubnet: rangeOf(options.agentsSubnet),
      pool: rangeOf(options.pool),
      isolated: options.isolated === undefined ? undefined : rangeOf(options.isolated),
    };
    return new NetworkLock({
      ...ranges,
      proxyPort: options.listen.port,
      dnsPort: options.dnsListen?.port,
      metrics: outsideMetrics(options),
      transparent,
      kernel: namespaceKernel(),
      findPlugged: () => findPlugged(ranges),
      onNetworks: (networks) => {
        this.#plugged = networks;
        void this.#follow();
      },
      clock: systemClock,
      log,
    });
  }

  /** Serves what is plugged in and locked, and nothing else; one change after the other. */
  #follow(): Promise<void> {
    this.#following = this.#following.then(async () => {
      if (!this.#opened) return;
      const wanted = new Map<Host, PluggedNetwork>();
      for (const network of this.#plugged) if (network.agent !== undefined) wanted.set(ownHost(network), network);
      for (const address of this.#isolated.keys()) if (!wanted.has(address)) await this.#drop(address);
      for (const [address, network] of wanted) if (!this.#isolated.has(address)) await this.#takeUp(address, network);
    });
    return this.#following;
  }

  async #takeUp(address: Host, { subnet, pool }: PluggedNetwork): Promise<void> {
    const { options, log } = this.#setup;
    const listen = options.dnsListen === undefined ? undefined : { host: address, port: options.dnsListen.port };
    const network = this.#serve(subnet.cidr, pool.cidr, listen, true);
    try {
      await network.openDns();
    } catch (error) {
      log.error({ event: 'network_failed', subnet: subnet.cidr }, String(error));
      return;
    }
    this.#isolated.set(address, network);
    this.#setup.onAddresses(this.isolatedAddresses);
    log.info({ event: 'network_served', subnet: subnet.cidr }, `the network of one agent ${subnet.cidr} is served`);
  }

  async #drop(address: Host): Promise<void> {
    const network = this.#isolated.get(address);
    if (network === undefined) return;
    this.#setup.onAddresses(this.isolatedAddresses.filter((each) => each !== address));
    // Whoever comes next has the same address, and must not be taken for who was there.
    const range = rangeOf(network.subnet);
    const gone = this.#setup.agents.entries.filter(({ ip }) => range.contains(parseIpv4(ip) ?? 0));
    for (const { id } of gone) this.#setup.agents.forget(id);
    await network.drop();
    this.#isolated.delete(address);
    this.#setup.log.info({ event: 'network_dropped', subnet: network.subnet }, `${network.subnet} is gone`);
  }

  #grant(host: Host, address: string, agent: AgentFacts): Promise<void> | undefined {
    const ports = this.#setup.rules().namedPorts({ agent, host });
    return ports.length === 0 ? undefined : this.#lock?.grants.grant({ host, address, ports, agentIp: agent.ip });
  }

  #renamed(address: string): void {
    this.#setup.onNameChanged(address);
    void this.#lock?.grants.forget(address);
  }
}

function ownHost({ ownAddress }: PluggedNetwork): Host {
  const host = canonicalHost(formatIpv4(ownAddress));
  if (host === undefined) throw new TypeError('an address is a host');
  return host;
}

/** What the lock opens for --metrics-listen: nothing for loopback, which it leaves alone. */
function outsideMetrics({ metricsListen }: DaemonOptions): { address: Ipv4 | undefined; port: number } | undefined {
  if (metricsListen === undefined || isLoopback(metricsListen)) return undefined;
  const address = parseIpv4(metricsListen.host);
  return { address: address === ANY_ADDRESS ? undefined : address, port: metricsListen.port };
}

function doorAt(fd: number): ListeningAddress {
  const door = listeningAddress(fd);
  if (door !== undefined) return door;
  throw new StartRefused([
    `--transparent-fd: descriptor ${fd} is not a listening TCP socket over IPv4; in the image, images/appliance/listen opens it`,
  ]);
}

function rangeOf(text: string | undefined): Ipv4Range {
  const range = text === undefined ? undefined : Ipv4Range.parse(text);
  if (range === undefined) throw new TypeError('the ranges were checked with the options');
  return range;
}
