/**
 * A DNS filter on loopback for which every address of 127.0.0.0/16 is an agent and every other one a stranger, with
 * witnesses: its audit records, the names it grants, and a DNS server outside that it may only ask where a rule says so.
 */
import { FlowCounts } from '../../src/audit/flow-counts.ts';
import type { DnsFilterDeps } from '../../src/dns/deps.ts';
import { SyntheticPool } from '../../src/dns/pool.ts';
import { DnsFilter } from '../../src/dns/server.ts';
import type { AgentFacts } from '../../src/domain/facts.ts';
import { CidrSet } from '../../src/domain/ip.ts';
import type { AuditRecord } from '../../src/domain/record.ts';
import type { RuleSet } from '../../src/policy/rule-set.ts';
import { StubResolver } from '../../src/upstream/resolver.ts';
import { RecordResolver } from '../../src/upstream/resolver-records.ts';
import { TestClock } from './clock.ts';
import { type DnsClient, dnsClient } from './dns-client.ts';
import { answerTo, pointerTo, record } from './dns-message.ts';
import { type RawResolver, startRawResolver } from './raw-resolver.ts';
import { Seen } from './seen.ts';

const LOOKUP_TIMEOUT_MS = 5_000;

export class FilterScene implements AsyncDisposable {
  readonly filter: DnsFilter;
  readonly pool: SyntheticPool;
  readonly outside: RawResolver;
  readonly records = new Seen<AuditRecord>('audit record');
  readonly faults: unknown[] = [];
  rules: RuleSet;
  /** As the audit log says it. */
  auditBlocked = false;
  readonly #clients: DnsClient[] = [];

  constructor(rules: RuleSet, outside: RawResolver, overrides: Partial<DnsFilterDeps>) {
    const clock = overrides.clock ?? new TestClock();
    const pool = new SyntheticPool({ cidr: '10.203.128.0/17', clock });
    const resolver = new StubResolver({ servers: [outside.address], timeoutMs: LOOKUP_TIMEOUT_MS, clock });
    const outsideRecords = new RecordResolver(resolver, clock);
    const agents = new Map<string, AgentFacts>();
    const { records, faults } = this;
    const isBlocked = () => this.auditBlocked;
    this.rules = rules;
    this.outside = outside;
    this.pool = overrides.pool ?? pool;
    this.filter = new DnsFilter({
      rules: () => this.rules,
      pool,
      agentsSubnet: subnet('127.0.0.0/16'),
      agents: { factsOf: (ip) => agents.get(ip) ?? remember(agents, ip) },
      counts: new FlowCounts(),
      audit: {
        write: (written) => records.push(written),
        get blocked() {
          return isBlocked();
        },
      },
      log: { error: (fields) => faults.push(fields), info: () => undefined },
      clock,
      listen: { host: '127.0.0.1', port: 0 },
      relay: (host, type) => outsideRecords.records(host, type),
      ...overrides,
    });
  }

  /** A client at 127.0.0.1, or at another address of loopback: from 127.1.0.1 on, a stranger. */
  async client(address?: string): Promise<DnsClient> {
    const client = await dnsClient(this.filter.port, address);
    this.#clients.push(client);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client[Symbol.asyncDispose]();
    await this.filter.stop();
    await this.outside[Symbol.asyncDispose]();
  }
}

export async function startFilter(rules: RuleSet, overrides: Partial<DnsFilterDeps> = {}): Promise<FilterScene> {
  const outside = await startRawResolver((query) => {
    query.reply(answerTo(query.message, [record(pointerTo(12), 'TXT', 60, Buffer.from('\x07outside'))]));
  });
  const scene = new FilterScene(rules, outside, overrides);
  await scene.filter.start();
  return scene;
}

/** `agent-5` at 127.0.0.5; the same object each time. */
function remember(agents: Map<string, AgentFacts>, ip: string): AgentFacts {
  const facts = { name: `agent-${ip.slice(ip.lastIndexOf('.') + 1)}`, image: '', labels: {}, ip };
  agents.set(ip, facts);
  return facts;
}

function subnet(cidr: string): CidrSet {
  const parsed = CidrSet.parse([cidr]);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}
