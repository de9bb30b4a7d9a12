/**
 * How a flow or exchange that relayed nothing is recorded: blocked by policy, or failed.
 */
import type { FailureReason } from '../domain/failure.ts';
import type { AuditRecord } from '../domain/record.ts';
import type { Block, Verdict } from '../domain/verdict.ts';
import type { Flow } from './flow.ts';

/** What is known of the target when the outcome is decided; all optional. */
export type OutcomeFields = Partial<
  Pick<
    AuditRecord,
    | 'event'
    | 'host'
    | 'port'
    | 'scheme'
    | 'method'
    | 'path'
    | 'http_version'
    | 'mode'
    | 'taken'
    | 'rule'
    | 'would_block'
    | 'status'
    | 'upstream'
    | 'generation'
  >
> & { readonly startedAt?: number };

/** What the record of a failure says of the verdict that was there before it. */
export function verdictFields(verdict: Verdict): Pick<AuditRecord, 'rule' | 'mode' | 'would_block'> {
  const { ruleId: rule } = verdict;
  if (verdict.action === 'block') return { rule, mode: null, would_block: null };
  return { rule, mode: verdict.grant.mode, would_block: verdict.wouldBlock?.ruleId ?? null };
}

export function blockedFlow(flow: Flow, block: Block, fields: OutcomeFields): void {
  const record = {
    ...blank(flow),
    ...fields,
    verdict: 'block',
    rule: block.ruleId,
    reason: block.cause,
    detail: block.reason,
  } as const;
  if (block.log) flow.record(record);
  else flow.leaveOut(record);
}

export function failedFlow(
  flow: Flow,
  failure: { readonly reason: FailureReason; readonly detail?: string | undefined },
  fields: OutcomeFields = {},
): void {
  flow.record({ ...blank(flow), ...fields, verdict: 'failed', reason: failure.reason, detail: failure.detail ?? null });
}

function blank(flow: Flow): Parameters<Flow['record']>[0] {
  return {
    event: 'flow',
    startedAt: flow.startedAt,
    verdict: 'failed',
    rule: null,
    mode: null,
    would_block: null,
    taken: 'none',
    reason: null,
    detail: null,
    host: null,
    port: null,
    scheme: null,
    method: null,
    path: null,
    http_version: null,
    status: null,
    body_size: 0,
    bytes_up: 0,
    bytes_down: 0,
    upstream: null,
    generation: flow.deps.rules().generation,
  };
}
