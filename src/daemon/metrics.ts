/**
 * The metrics of the whole daemon: what its workers counted, what DNS came to, and what the supervisor knows itself.
 */
import type { FlowCounts } from '../audit/flow-counts.ts';
import { exposition, Samples } from '../audit/metrics.ts';
import type { ProcessFigures } from '../audit/process-figures.ts';
import type { DaemonState, StatusAnswer } from '../domain/admin-api.ts';
import type { Histogram } from '../domain/histogram.ts';
import type { WorkerPool } from './worker-pool.ts';

const STATES = ['starting', 'ready', 'degraded', 'unlocked', 'draining'] as const satisfies readonly DaemonState[];
const LOCK_STATES = ['off', 'intact', 'broken'] as const;
const MODES = ['enforce', 'audit'] as const;
const MS_PER_SECOND = 1_000;

export interface MetricsParts {
  readonly status: StatusAnswer;
  readonly pool: WorkerPool;
  /** Of this process: DNS. */
  readonly counts: FlowCounts;
  readonly process: ProcessFigures;
  readonly agents: number;
  readonly grants: number;
  /** Undefined without a CA. */
  readonly signer: { readonly mints: Histogram; readonly leaves: number } | undefined;
}

/** `status` must be of this moment: asking for it is what brings the workers' figures. */
export function metricsText(parts: MetricsParts): string {
  const samples = new Samples();
  addDaemon(samples, parts);
  addRules(samples, parts.status);
  parts.counts.collect(samples);
  parts.process.collect(samples);
  if (parts.signer !== undefined) {
    samples.histogram('outcall_mint_seconds', parts.signer.mints);
    samples.add('outcall_leaf_cache_entries', parts.signer.leaves);
  }
  return exposition([...samples.all, ...parts.pool.samples]);
}

function addDaemon(samples: Samples, { status, agents, grants }: MetricsParts): void {
  const { workers } = status;
  const listening = workers.filter((worker) => worker.listening).length;
  samples.add('outcall_build_info', 1, { version: status.version });
  samples.add('outcall_start_time_seconds', Date.parse(status.started_at) / MS_PER_SECOND);
  samples.oneOf('outcall_state', 'state', STATES, status.state);
  samples.oneOf('outcall_lock_state', 'state', LOCK_STATES, status.lock);
  samples.oneOf('outcall_enforcement_mode', 'mode', MODES, status.enforcement);
  samples.add('outcall_workers', listening, { state: 'listening' });
  samples.add('outcall_workers', workers.length - listening, { state: 'replaced' });
  samples.add(
    'outcall_worker_restarts_total',
    workers.reduce((sum, { restarts }) => sum + restarts, 0),
  );
  samples.add('outcall_audit_blocked', Number(status.audit_blocked));
  samples.add('outcall_agents', agents);
  samples.add('outcall_grants', grants);
}

function addRules(samples: Samples, status: StatusAnswer): void {
  samples.add('outcall_rules_generation', status.generation);
  samples.add('outcall_rules', status.rules);
  samples.add('outcall_rules_in_audit', status.rules_in_audit);
  samples.add('outcall_rules_loaded_time_seconds', Date.parse(status.loaded_at) / MS_PER_SECOND);
  samples.add('outcall_rules_refused', Number(status.reload_problems.length > 0));
}
