/**
 * One of the agents' networks as the supervisor serves it: its synthetic addresses and its DNS filter. Names of one network
 * mean nothing on another. Sets no lock. Threats rows 15, 16, 19.
 */
import type { FlowCounts } from '../audit/flow-counts.ts';
import type { Log } from '../audit/log.ts';
import { SyntheticPool } from '../dns/pool.ts';
import { DnsFilter } from '../dns/server.ts';
import { systemClock } from '../domain/clock.ts';
import type { AgentFacts } from '../domain/facts.ts';
import { type Host, hostInUrl } from '../domain/hostname.ts';
import { CidrSet } from '../domain/ip.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { AgentDirectory } from './agents.ts';
import { dnsRelay } from './dns-relay.ts';
import type { HostAndPort } from './option-checks.ts';
import { listenText, StartRefused } from './start-checks.ts';

export interface ServedNetworkSetup {
  /** IPv4, as CIDR. */
  readonly subnet: string;
  readonly pool: string;
  /** Undefined where agents are given no DNS. */
  readonly dnsListen: HostAndPort | undefined;
  readonly upstreamDns: readonly string[];
  /** True where one agent has it alone, and the pool with it. */
  readonly ofOneAgent: boolean;
  readonly log: Log;
  readonly agents: AgentDirectory;
  readonly counts: FlowCounts;
  readonly audit: { write(record: AuditRecord): void; readonly blocked: boolean };
  readonly rules: () => RuleSet;
  /** A synthetic address stands for another name from now on, or for none. */
  readonly onRenamed: (address: string) => void;
  /** Undefined where nothing is granted. */
  readonly grant: ((host: Host, address: string, agent: AgentFacts) => Promise<void> | undefined) | undefined;
}

export class ServedNetwork {
  readonly pool: SyntheticPool;
  readonly #setup: ServedNetworkSetup;
  #dns: DnsFilter | undefined;

  /** Throws StartRefused where the pool has no fitting size. */
  constructor(setup: ServedNetworkSetup) {
    this.#setup = setup;
    try {
      const share = setup.ofOneAgent ? { agentShare: 1 } : {};
      this.pool = new SyntheticPool({ cidr: setup.pool, clock: systemClock, onReassign: setup.onRenamed, ...share });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new StartRefused([`--pool: ${error.message}`]);
    }
  }

  get subnet(): string {
    return this.#setup.subnet;
  }

  /** Rejects with StartRefused where the address cannot be listened on. */
  async openDns(): Promise<void> {
    const { rules, audit, counts, log, dnsListen: listen, agents, upstreamDns, grant } = this.#setup;
    if (listen === undefined || this.#dns !== undefined) return;
    const dns = new DnsFilter({
      rules,
      audit,
      counts,
      log,
      listen,
      pool: this.pool,
      agents,
      agentsSubnet: rangesOf(this.#setup.subnet),
      clock: systemClock,
      relay: dnsRelay(upstreamDns),
      ...(grant === undefined ? {} : { onName: grant }),
    });
    await dns.start().catch((error: NodeJS.ErrnoException) => {
      const where = `${hostInUrl(listen.host)}:${listen.port}`;
      throw new StartRefused([`--dns-listen: cannot listen on ${where}: ${listenText(error.code ?? error.message)}`]);
    });
    this.#dns = dns;
    log.info({ event: 'dns_ready', listen: `${hostInUrl(listen.host)}:${dns.port}` }, 'the DNS filter answers');
  }

  /** No more names. */
  async close(): Promise<void> {
    await this.#dns?.stop();
    this.#dns = undefined;
  }

  /** No more names, and what its addresses stood for is forgotten everywhere. */
  async drop(): Promise<void> {
    await this.close();
    this.pool.clear();
  }
}

function rangesOf(cidr: string): CidrSet {
  const parsed = CidrSet.parse([cidr]);
  if (!parsed.ok) throw new TypeError('the ranges were checked with the options');
  return parsed.value;
}
