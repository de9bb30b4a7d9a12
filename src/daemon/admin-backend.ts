/**
 * The admin API's view of the running daemon: what it is, what is in force, who works. Changes nothing but by reload.
 * Imports nothing that reads rules: the supervisor starts its children before it loads that.
 */
import type { AdminBackend, CaOutcome, ExplainResult, ReloadResult } from '../admin/backend.ts';
import type { FlowCounts } from '../audit/flow-counts.ts';
import type { ProcessFigures } from '../audit/process-figures.ts';
import type { RecordFeed } from '../audit/record-feed.ts';
import type {
  CaAnswer,
  CheckAnswer,
  DaemonState,
  GrantsAnswer,
  NotReady,
  RuleSummary,
  StatusAnswer,
} from '../domain/admin-api.ts';
import { hostInUrl } from '../domain/hostname.ts';
import type { RuleView } from '../policy/rule.ts';
import { normaliseTarget } from '../wire/target.ts';
import type { AgentsNetwork } from './agents-network.ts';
import type { CaKeeper } from './ca-keeper.ts';
import { metricsText } from './metrics.ts';
import type { OperatorPorts } from './operator-ports.ts';
import type { DaemonOptions } from './options.ts';
import type { RulesKeeper } from './rules-keeper.ts';
import type { WorkerPool } from './worker-pool.ts';

/** S011: INTERCEPT_LEAF_CACHE_MAX. */
const LEAF_CACHE_MAX = 1024;
/** What problems say for the name of a file that was only sent. */
const POSTED = 'posted.yaml';
const POSTED_QUESTION = 'posted.json';

const NO_CA: CaAnswer = {
  ...{ loaded: false, managed: false, subject: null, fingerprint_sha256: null, not_before: null, not_after: null },
  ...{ permit_domains: null, next: null, previous: null, leaf_cache_size: null, leaf_cache_max: LEAF_CACHE_MAX },
};
const UNCHANGEABLE: CaOutcome = {
  ok: false,
  status: 409,
  detail: 'outcalld has no folder for a CA; start it with --ca-dir',
};

export interface DaemonParts {
  readonly version: string;
  readonly options: DaemonOptions;
  readonly pool: WorkerPool;
  readonly feed: RecordFeed;
  readonly startedAt: Date;
  readonly agents: AdminBackend['agents'];
  /** Of this process. */
  readonly counts: FlowCounts;
  readonly process: ProcessFigures;
  /** Undefined while the daemon starts. */
  keeper(): RulesKeeper | undefined;
  /** Undefined where no CA can come to be. */
  ca(): CaKeeper | undefined;
  /** Undefined where there is no agents' network of ours. */
  network(): AgentsNetwork | undefined;
  operator(): OperatorPorts | undefined;
  /** 0 before the first worker listens. */
  port(): number;
  state(): DaemonState;
  /** Standard output does not take records. */
  outputFails(): boolean;
}

export function adminBackend(parts: DaemonParts): AdminBackend {
  return {
    health: () => ({ state: parts.state() }),
    ready: () => {
      const waiting_for = waitingFor(parts);
      return { ready: waiting_for.length === 0, waiting_for };
    },
    status: () => statusOf(parts),
    rules: () => {
      const inForce = parts.keeper()?.inForce;
      return { generation: inForce?.payload.generation ?? 0, rules: inForce?.rules.rules.map(summaryOf) ?? [] };
    },
    reload: () => reload(parts.keeper()),
    check: (text) => check(parts, text),
    explain: (text) => explain(parts, text),
    grants: () => grantsOf(parts.network()),
    agents: parts.agents,
    ca: async () => (await parts.ca()?.answer()) ?? NO_CA,
    caCertificates: () => {
      const { current, next, previous } = parts.ca()?.cas ?? {};
      return [current, next, previous].flatMap((ca) => (ca === undefined ? [] : [ca.certPem]));
    },
    changeCa: async (change) => (await parts.ca()?.change(change)) ?? UNCHANGEABLE,
    uploadCa: () => {
      const ca = parts.ca();
      return ca === undefined ? undefined : (socket, text) => ca.upload(socket, text);
    },
    metrics: () => metricsOf(parts),
    records: parts.feed,
  };
}

/** Why a flow that starts now would not be served; empty where it would. */
function waitingFor(parts: DaemonParts): readonly NotReady[] {
  const state = parts.state();
  const found: (NotReady | false)[] = [
    (state === 'starting' || state === 'draining' || state === 'unlocked') && state,
    !parts.pool.anyListening && 'no_worker',
    parts.outputFails() && 'audit_blocked',
  ];
  return found.filter((each) => each !== false);
}

async function statusOf(parts: DaemonParts): Promise<StatusAnswer> {
  const { options, pool, startedAt } = parts;
  const keeper = parts.keeper();
  const workers = await pool.status();
  return {
    version: parts.version,
    pid: process.pid,
    state: parts.state(),
    started_at: startedAt.toISOString(),
    uptime_secs: Math.floor((Date.now() - startedAt.getTime()) / 1000),
    listen: `${hostInUrl(options.listen.host)}:${parts.port()}`,
    admin_listen: parts.operator()?.admin ?? null,
    metrics_listen: parts.operator()?.metrics ?? null,
    rules_path: options.rules,
    generation: keeper?.inForce?.payload.generation ?? 0,
    rules: keeper?.inForce?.rules.rules.length ?? 0,
    loaded_at: (keeper?.inForce?.loadedAt ?? startedAt).toISOString(),
    reload_problems: keeper?.problems ?? [],
    workers,
    open_flows: workers.reduce((sum, { open_flows }) => sum + (open_flows ?? 0), 0),
    ca_loaded: parts.ca()?.cas.current !== undefined,
    enforcement: keeper?.inForce?.rules.enforcement ?? 'enforce',
    rules_in_audit: keeper?.inForce?.rules.rules.filter((rule) => rule.enforcement === 'audit').length ?? 0,
    lock: parts.network()?.lockState ?? 'off',
    isolated:
      options.isolated === undefined ? null : { range: options.isolated, served: parts.network()?.isolated ?? [] },
    audit_blocked: pool.auditBlocked,
  };
}

async function metricsOf(parts: DaemonParts): Promise<string> {
  const { pool, counts, process, agents } = parts;
  const ca = parts.ca();
  const [status, grants, known] = await Promise.all([statusOf(parts), parts.network()?.grants(), ca?.answer()]);
  return metricsText({
    status,
    pool,
    counts,
    process,
    agents: agents.entries.length,
    grants: grants?.length ?? 0,
    signer: ca?.cas.current && { mints: ca.mints, leaves: known?.leaf_cache_size ?? 0 },
  });
}

async function reload(keeper: RulesKeeper | undefined): Promise<ReloadResult> {
  if (keeper === undefined) return { ok: false, generation: 0, problems: [] };
  const outcome = await keeper.reload(true);
  if (!outcome.ok) {
    return { ok: false, generation: keeper.inForce?.payload.generation ?? 0, problems: outcome.problems };
  }
  const { payload, rules, warnings } = outcome.inForce;
  return { ok: true, answer: { generation: payload.generation, rules: rules.rules.length, warnings } };
}

async function check(parts: DaemonParts, text: string): Promise<CheckAnswer> {
  const anchors = parts.keeper()?.inForce?.payload.anchors ?? new Map<string, string>();
  const current = parts.ca()?.cas.current;
  const { enforcement } = parts.options;
  const ca = { caLoaded: current !== undefined, constraints: current?.constraints };
  const context = { ...ca, enforcement, generation: 0, anchors };
  const { loadRules } = await import('../policy/load.ts');
  const loaded = loadRules([{ file: POSTED, text }], context);
  return loaded.ok
    ? { ok: true, rules: loaded.rules.rules.length, problems: loaded.warnings }
    : { ok: false, rules: 0, problems: loaded.problems };
}

async function explain(parts: DaemonParts, text: string): Promise<ExplainResult> {
  const { readQuestion } = await import('../policy/cases.ts');
  const inForce = parts.keeper()?.inForce;
  if (inForce === undefined) return undefined;
  const { asked, problems } = readQuestion({ file: POSTED_QUESTION, text }, normaliseTarget);
  return asked === undefined ? { ok: false, problems } : { ok: true, explanation: inForce.rules.explain(asked) };
}

async function grantsOf(network: AgentsNetwork | undefined): Promise<GrantsAnswer> {
  const grants = (await network?.grants()) ?? [];
  return {
    grants: grants.map(({ host, address, port, expiresSecs, agents }) => {
      return { host, address, port, expires_secs: expiresSecs ?? null, agents };
    }),
  };
}

function summaryOf({ id, file, line, priority, description, condition, action, mode }: RuleView): RuleSummary {
  return { id, file, line, priority, description, condition, action, mode };
}
