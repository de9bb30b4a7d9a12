/**
 * The schemas of the OpenAPI document by name, one per type of domain/admin-api.ts.
 */
import type {
  AgentEntry,
  AgentsAnswer,
  CaAnswer,
  CaSummary,
  CheckAnswer,
  FlowsAnswer,
  GrantSummary,
  GrantsAnswer,
  HealthAnswer,
  ProblemDocument,
  ProblemView,
  ReadyAnswer,
  ReloadAnswer,
  RuleSummary,
  RulesAnswer,
  StatusAnswer,
  WorkerStatus,
} from '../domain/admin-api.ts';
import { FAILURES } from '../domain/failure.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { Explanation, PhaseTrace, RuleTrace } from '../policy/explain.ts';
import type { PartTrace } from '../policy/explain-parts.ts';
import {
  BOOLEAN,
  COUNT,
  type JsonSchema,
  listOf,
  NUMBER,
  nullable,
  objectOf,
  oneOf,
  TEXT,
  TIME,
} from './json-schema.ts';

const STATE = oneOf('starting', 'ready', 'degraded', 'unlocked', 'draining');
const MODE = oneOf('proxy', 'direct_ip', 'intercept');

const RECORD = objectOf<AuditRecord>({
  subsystem: oneOf('proxy', 'proxy_intercept', 'dns'),
  event: oneOf('flow', 'request', 'query'),
  flow: TEXT,
  agent: TEXT,
  agent_ip: TEXT,
  verdict: oneOf('allow', 'block', 'failed'),
  would_block: nullable(TEXT),
  rule: nullable(TEXT),
  mode: nullable(MODE),
  taken: oneOf('tunnel', 'intercept', 'forward', 'direct', 'none'),
  reason: nullable(oneOf('rule', 'error', 'default', ...Object.keys(FAILURES))),
  detail: nullable(TEXT),
  host: nullable(TEXT),
  port: nullable(COUNT),
  scheme: nullable(oneOf('http', 'https')),
  method: nullable(TEXT),
  path: nullable(TEXT),
  http_version: nullable(oneOf('1.0', '1.1', '2')),
  status: nullable(COUNT),
  body_size: COUNT,
  bytes_up: COUNT,
  bytes_down: COUNT,
  upstream: nullable(TEXT),
  started_at: TIME,
  duration_ms: NUMBER,
  generation: COUNT,
});

const STATUS = objectOf<StatusAnswer>({
  version: TEXT,
  pid: COUNT,
  state: STATE,
  started_at: TIME,
  uptime_secs: COUNT,
  listen: TEXT,
  admin_listen: nullable(TEXT),
  metrics_listen: nullable(TEXT),
  rules_path: TEXT,
  generation: COUNT,
  rules: COUNT,
  loaded_at: TIME,
  reload_problems: listOf(ref('RuleProblem')),
  workers: listOf(ref('Worker')),
  open_flows: COUNT,
  ca_loaded: BOOLEAN,
  enforcement: oneOf('enforce', 'audit'),
  rules_in_audit: COUNT,
  lock: oneOf('off', 'intact', 'broken'),
  isolated: nullable(objectOf<NonNullable<StatusAnswer['isolated']>>({ range: TEXT, served: listOf(TEXT) })),
  audit_blocked: BOOLEAN,
});

const RULE_PROBLEM = objectOf<ProblemView>(
  {
    severity: oneOf('error', 'warning'),
    file: TEXT,
    line: COUNT,
    column: COUNT,
    message: TEXT,
    value: TEXT,
    fix: TEXT,
    rule: TEXT,
  },
  ['value', 'fix', 'rule'],
);

const RULE = objectOf<RuleSummary>({
  id: TEXT,
  file: TEXT,
  line: COUNT,
  priority: NUMBER,
  description: nullable(TEXT),
  condition: TEXT,
  action: oneOf('allow', 'block'),
  mode: nullable(MODE),
});

const CA_SUMMARY = objectOf<CaSummary>({
  subject: TEXT,
  fingerprint_sha256: TEXT,
  not_before: TIME,
  not_after: TIME,
  permit_domains: nullable(listOf(TEXT)),
});

const CA = objectOf<CaAnswer>({
  loaded: BOOLEAN,
  managed: BOOLEAN,
  subject: nullable(TEXT),
  fingerprint_sha256: nullable(TEXT),
  not_before: nullable(TIME),
  not_after: nullable(TIME),
  permit_domains: nullable(listOf(TEXT)),
  next: nullable(CA_SUMMARY),
  previous: nullable(CA_SUMMARY),
  leaf_cache_size: nullable(COUNT),
  leaf_cache_max: COUNT,
});

const PART = objectOf<PartTrace>({
  source: TEXT,
  value: TEXT,
  depth: COUNT,
  operands: listOf(objectOf<PartTrace['operands'][number]>({ source: TEXT, value: TEXT })),
});

const CONSIDERED = objectOf<RuleTrace>({
  id: TEXT,
  file: TEXT,
  line: COUNT,
  action: oneOf('allow', 'block'),
  mode: nullable(MODE),
  outcome: oneOf('true', 'false', 'unknown', 'error', 'skipped'),
  error: nullable(TEXT),
  decides: BOOLEAN,
  parts: listOf(PART),
});

const PHASE = objectOf<PhaseTrace>({
  phase: oneOf('dns', 'connect', 'hello', 'certificate', 'request', 'response'),
  verdict: oneOf('allow', 'block', 'unknown'),
  rule: TEXT,
  mode: nullable(MODE),
  reason: nullable(TEXT),
  wouldBlock: nullable(TEXT),
  rules: listOf(CONSIDERED),
  elsewhere: COUNT,
});

const WORKER = objectOf<WorkerStatus>({
  id: COUNT,
  pid: nullable(COUNT),
  listening: BOOLEAN,
  open_flows: nullable(COUNT),
  generation: COUNT,
  restarts: COUNT,
});

export const SCHEMAS = {
  Health: objectOf<HealthAnswer>({ state: STATE }),
  Ready: objectOf<ReadyAnswer>({
    ready: BOOLEAN,
    waiting_for: listOf(oneOf('starting', 'draining', 'unlocked', 'no_worker', 'audit_blocked')),
  }),
  Status: STATUS,
  Worker: WORKER,
  Rules: objectOf<RulesAnswer>({ generation: COUNT, rules: listOf(ref('Rule')) }),
  Rule: RULE,
  Reloaded: objectOf<ReloadAnswer>({ generation: COUNT, rules: COUNT, warnings: listOf(ref('RuleProblem')) }),
  Checked: objectOf<CheckAnswer>({ ok: BOOLEAN, rules: COUNT, problems: listOf(ref('RuleProblem')) }),
  Explanation: objectOf<Explanation>({ phases: listOf(PHASE), targets: listOf(TEXT) }),
  RuleProblem: RULE_PROBLEM,
  Grants: objectOf<GrantsAnswer>({ grants: listOf(ref('Grant')) }),
  Grant: objectOf<GrantSummary>({
    host: TEXT,
    address: TEXT,
    port: COUNT,
    expires_secs: nullable(COUNT),
    agents: listOf(TEXT),
  }),
  Agents: objectOf<AgentsAnswer>({ agents: listOf(ref('Agent')) }),
  Agent: objectOf<AgentEntry>(
    {
      id: { type: 'string', pattern: '^[0-9a-f]{64}$' },
      name: TEXT,
      image: TEXT,
      labels: { type: 'object', additionalProperties: TEXT },
      ip: TEXT,
      fixed: { const: true },
      trusts: listOf(TEXT),
    },
    ['fixed', 'trusts'],
  ),
  Ca: CA,
  Flows: objectOf<FlowsAnswer>({ flows: listOf(ref('Flow')) }),
  Flow: RECORD,
  Problem: objectOf<ProblemDocument>(
    {
      type: { const: 'about:blank' },
      title: TEXT,
      status: COUNT,
      detail: TEXT,
      problems: listOf(ref('RuleProblem')),
    },
    ['problems'],
  ),
} as const satisfies Readonly<Record<string, JsonSchema>>;

export type SchemaName = keyof typeof SCHEMAS;

/** A reference within the OpenAPI document; the names are those of SCHEMAS, which a test holds. */
export function ref(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}
