/**
 * The supervisor's side of the agents' network: the lock in the kernel, the synthetic addresses and what they stand for,
 * the DNS filter, and the grants that join them. Imported only where there is a pool. Threats rows 14 to 16, 19, 36, 40.
 *   1. lock: set and read back before anything listens
 *   2. openDns: from here on agents learn addresses, and each answer has its grants in the kernel first
 *   3. takeRules: grants that the new set does not give are taken away
 */
import { closeSync } from 'node:fs';
import type { Log } from '../audit/log.ts';
import { SyntheticPool } from '../dns/pool.ts';
import { DnsFilter } from '../dns/server.ts';
import { systemClock } from '../domain/clock.ts';
import type { AgentFacts } from '../domain/facts.ts';
import { type Host, hostInUrl } from '../domain/hostname.ts';
import { CidrSet } from '../domain/ip.ts';
import { Ipv4Range } from '../domain/ipv4-range.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { GrantView } from '../netfilter/grants.ts';
import { namespaceKernel } from '../netfilter/kernel.ts';
import { NetworkLock } from '../netfilter/lock.ts';
import { findAgentsInterface } from '../netfilter/plan.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { AgentDirectory } from './agents.ts';
import { dnsRelay } from './dns-relay.ts';
import { type ListeningAddress, listeningAddress } from './inherited-socket.ts';
import type { DaemonOptions } from './options.ts';
import { listenText, StartRefused } from './start-checks.ts';

export interface AgentsNetworkSetup {
  readonly options: DaemonOptions;
  readonly log: Log;
  readonly agents: AgentDirectory;
  readonly audit: { write(record: AuditRecord): void; readonly blocked: boolean };
  rules(): RuleSet;
  /** A synthetic address stands for another name from now on. */
  onNameChanged(address: string): void;
}

export class AgentsNetwork {
  readonly #setup: AgentsNetworkSetup;
  readonly #pool: SyntheticPool;
  readonly #lock: NetworkLock | undefined;
  #dns: DnsFilter | undefined;

  /** Throws StartRefused where the inherited socket is none, or the pool has no fitting size. */
  constructor(setup: AgentsNetworkSetup) {
    const { options } = setup;
    this.#setup = setup;
    this.#pool = this.#makePool();
    const door = options.transparentFd === undefined ? undefined : doorAt(options.transparentFd);
    this.#lock = options.lock ? this.#makeLock(door) : undefined;
  }

  get lockState(): 'off' | 'intact' | 'broken' {
    if (this.#lock === undefined) return 'off';
    return this.#lock.intact ? 'intact' : 'broken';
  }

  /** Sets the lock and watches it. Rejects with LockFailure. */
  async lock(): Promise<void> {
    await this.#lock?.set();
    this.#lock?.watch();
  }

  /** Rejects with StartRefused where the address cannot be listened on. */
  async openDns(): Promise<void> {
    const { options, audit, log } = this.#setup;
    const listen = options.dnsListen;
    if (listen === undefined) return;
    this.#dns = new DnsFilter({
      rules: () => this.#setup.rules(),
      audit,
      log,
      listen,
      pool: this.#pool,
      agents: this.#setup.agents,
      agentsSubnet: subnetOf(options),
      clock: systemClock,
      relay: dnsRelay(options.upstreamDns),
      ...(this.#lock === undefined ? {} : { onName: (host, address, agent) => this.#grant(host, address, agent) }),
    });
    await this.#dns.start().catch((error: NodeJS.ErrnoException) => {
      const where = `${hostInUrl(listen.host)}:${listen.port}`;
      throw new StartRefused([`--dns-listen: cannot listen on ${where}: ${listenText(error.code ?? error.message)}`]);
    });
    log.info({ event: 'dns_ready', listen: `${hostInUrl(listen.host)}:${this.#dns.port}` }, 'the DNS filter answers');
  }

  nameOf(address: string): Host | undefined {
    return this.#pool.hostOf(address);
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
    await this.#dns?.stop();
    // Until here it took connections for workers that were being replaced; now nobody would serve them.
    if (this.#setup.options.transparentFd !== undefined) closeSync(this.#setup.options.transparentFd);
  }

  #makePool(): SyntheticPool {
    const cidr = rangeOf(this.#setup.options.pool).cidr;
    try {
      return new SyntheticPool({ cidr, clock: systemClock, onReassign: (address) => this.#renamed(address) });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new StartRefused([`--pool: ${error.message}`]);
    }
  }

  #makeLock(transparent: ListeningAddress | undefined): NetworkLock {
    const { options, log } = this.#setup;
    const agentsSubnet = rangeOf(options.agentsSubnet);
    return new NetworkLock({
      agentsSubnet,
      pool: rangeOf(options.pool),
      proxyPort: options.listen.port,
      dnsPort: options.dnsListen?.port,
      transparent,
      kernel: namespaceKernel(),
      findAgents: () => findAgentsInterface(agentsSubnet),
      clock: systemClock,
      log,
    });
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

function subnetOf({ agentsSubnet }: DaemonOptions): CidrSet {
  const parsed = CidrSet.parse(agentsSubnet === undefined ? [] : [agentsSubnet]);
  if (!parsed.ok) throw new TypeError('the ranges were checked with the options');
  return parsed.value;
}
