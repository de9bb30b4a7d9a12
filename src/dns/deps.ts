/**
 * What the DNS filter is given by the daemon. Everything that a test wants to watch or replace comes in here.
 */
import type { FlowCounts } from '../audit/flow-counts.ts';
import type { Clock } from '../domain/clock.ts';
import type { AgentFacts } from '../domain/facts.ts';
import type { Host } from '../domain/hostname.ts';
import type { CidrSet } from '../domain/ip.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { RelayedSection } from '../wire/dns-answer.ts';
import type { DnsLimits } from './limits.ts';
import type { SyntheticPool } from './pool.ts';

/** What our own resolver found for a record type that a rule names. */
export interface RelayedAnswer extends RelayedSection {
  readonly rcode: number;
}

export interface DnsFilterDeps {
  /** The rule set in force now. */
  rules(): RuleSet;
  readonly pool: SyntheticPool;
  /** Whoever asks from elsewhere is a stranger. */
  readonly agentsSubnet: CidrSet;
  /** Gives the same object until the facts change: verdicts are kept by it. */
  readonly agents: { factsOf(ip: string): AgentFacts };
  readonly audit: { write(record: AuditRecord): void; readonly blocked: boolean };
  readonly counts: FlowCounts;
  readonly log: { error(fields: object, message: string): void; info(fields: object, message: string): void };
  readonly clock: Clock;
  /** An IP address; port 0 for one that is free for UDP and TCP. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly limits?: Partial<DnsLimits>;
  /** Looks outside for a record type that a rule names; without it such types are refused. */
  readonly relay?: (host: Host, type: number) => Promise<RelayedAnswer>;
  /** An allowed name is about to be answered with `address`. The answer waits for a promise (a grant in the kernel). */
  readonly onName?: (host: Host, address: string, agent: AgentFacts) => void | Promise<void>;
}
