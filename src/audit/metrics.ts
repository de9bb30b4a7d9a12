/**
 * Every metric by name: what Prometheus is told of it, and docs/metrics.md. A process gives its figures as samples, which
 * are summed over processes by name and labels; the labels of a sample are text already, so that summing makes none.
 */
import { HISTOGRAM_BOUNDS_MS, type Histogram } from '../domain/histogram.ts';

interface Metric {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels?: readonly string[];
}

export const METRICS = {
  outcall_build_info: { type: 'gauge', help: 'Always 1; which version runs.', labels: ['version'] },
  outcall_start_time_seconds: { type: 'gauge', help: 'When outcalld was started, in seconds since the epoch.' },
  outcall_state: { type: 'gauge', help: '1 for the state that the daemon is in, 0 for the others.', labels: ['state'] },
  outcall_lock_state: {
    type: 'gauge',
    help: '1 for how the network lock stands, 0 for the others.',
    labels: ['state'],
  },
  outcall_enforcement_mode: {
    type: 'gauge',
    help: '1 for the mode of the whole daemon, 0 for the other; single rules may be in audit under enforce.',
    labels: ['mode'],
  },
  outcall_workers: { type: 'gauge', help: 'Worker processes, by whether they listen.', labels: ['state'] },
  outcall_worker_restarts_total: { type: 'counter', help: 'Workers that died and were replaced.' },
  outcall_audit_blocked: { type: 'gauge', help: '1 while records cannot be written, and so new flows are refused.' },
  outcall_rules_generation: { type: 'gauge', help: 'The rule set in force; 1 is that of the start.' },
  outcall_rules: { type: 'gauge', help: 'Rules in force.' },
  outcall_rules_in_audit: { type: 'gauge', help: 'Rules in force whose blocks are recorded and not enforced.' },
  outcall_rules_loaded_time_seconds: { type: 'gauge', help: 'When the rule set in force was taken.' },
  outcall_rules_refused: { type: 'gauge', help: '1 while the rules on disk have errors, and so are not in force.' },
  outcall_agents: { type: 'gauge', help: 'Containers that were told of.' },
  outcall_grants: { type: 'gauge', help: 'Ports of names that are open beside 80 and 443.' },
  outcall_flows_total: { type: 'counter', help: 'Connections of agents that were accepted.' },
  outcall_flows_open: { type: 'gauge', help: 'Connections of agents that are open.' },
  outcall_requests_total: {
    type: 'counter',
    help: 'Exchanges inside intercepted and forwarded connections, when they ended.',
    labels: ['taken', 'http_version'],
  },
  outcall_requests_inflight: { type: 'gauge', help: 'Exchanges that have begun and not ended.' },
  outcall_verdicts_total: {
    type: 'counter',
    help: 'Flows, requests and DNS queries by how they ended; rule is empty where a fault came before any rule.',
    labels: ['event', 'verdict', 'agent', 'rule'],
  },
  outcall_would_block_total: {
    type: 'counter',
    help: 'What audit mode let through, by the rule that would have blocked it.',
    labels: ['agent', 'rule'],
  },
  outcall_fail_closed_total: {
    type: 'counter',
    help: 'What was not let through, or was cut off, by a fault and not by policy; reasons are those of docs/failures.md.',
    labels: ['reason', 'blame'],
  },
  outcall_intercept_errors_total: {
    type: 'counter',
    help: 'Faults of flows under mode intercept, by how far they had come.',
    labels: ['stage', 'reason'],
  },
  outcall_dns_dropped_total: {
    type: 'counter',
    help: 'DNS queries over the rate of an agent, which got no answer; their records are one a second.',
    labels: ['agent'],
  },
  outcall_bytes_total: {
    type: 'counter',
    help: 'Bytes to origins (up) and from them (down), when the flow or exchange ended.',
    labels: ['direction', 'agent'],
  },
  outcall_client_handshake_seconds: { type: 'histogram', help: 'TLS handshakes with intercepted clients.' },
  outcall_upstream_resolve_seconds: { type: 'histogram', help: 'Looking up hosts that are to be dialled.' },
  outcall_upstream_connect_seconds: { type: 'histogram', help: 'TCP connections to origins.' },
  outcall_upstream_handshake_seconds: { type: 'histogram', help: 'TLS handshakes with origins, verified.' },
  outcall_leaf_seconds: { type: 'histogram', help: 'How long a worker waited for a leaf that it did not have.' },
  outcall_mint_seconds: { type: 'histogram', help: 'Making and signing a leaf, in the signer.' },
  outcall_leaf_cache_lookups_total: { type: 'counter', help: 'Leaves that workers looked for.', labels: ['result'] },
  outcall_leaf_cache_entries: { type: 'gauge', help: 'Leaves that the signer holds.' },
  outcall_upstream_pool_lookups_total: {
    type: 'counter',
    help: 'Connections to origins that were looked for before an exchange.',
    labels: ['result'],
  },
  outcall_upstream_pool_idle: { type: 'gauge', help: 'Connections to origins that rest.' },
  outcall_process_cpu_seconds_total: { type: 'counter', help: 'CPU time.', labels: ['process'] },
  outcall_process_resident_memory_bytes: { type: 'gauge', help: 'Memory.', labels: ['process'] },
  outcall_event_loop_lag_seconds: {
    type: 'gauge',
    help: 'How late timers were since the last look: the mean, and the worst.',
    labels: ['process', 'of'],
  },
} as const satisfies Readonly<Record<`outcall_${string}`, Metric>>;

export type MetricName = keyof typeof METRICS;

/** Name of the line (for a histogram with its ending), labels as they are written, value. */
export type Sample = readonly [line: string, labels: string, value: number];

type Labels<N extends MetricName> = (typeof METRICS)[N] extends { readonly labels: readonly (infer L extends string)[] }
  ? Readonly<Record<L, string>>
  : Record<string, never>;

/** Longest value of a label; a rule's id is shorter, and a container's name nearly always. */
const MAX_LABEL_CHARS = 128;

/** Figures of one process at one moment. */
export class Samples {
  readonly all: Sample[] = [];

  add<N extends MetricName>(name: N, value: number, labels?: Labels<N>): void {
    this.all.push([name, labels === undefined ? '' : labelText(labels), value]);
  }

  /** 1 for `now`, 0 for the others. */
  oneOf<N extends MetricName>(name: N, label: string, values: readonly string[], now: string): void {
    for (const value of values) this.all.push([name, labelText({ [label]: value }), value === now ? 1 : 0]);
  }

  histogram(name: MetricName, { counts, sumMs }: Histogram): void {
    let total = 0;
    for (const [i, count] of counts.entries()) {
      total += count;
      const bound = HISTOGRAM_BOUNDS_MS[i];
      const le = bound === undefined ? '+Inf' : String(bound / 1_000);
      this.all.push([`${name}_bucket`, labelText({ le }), total]);
    }
    this.all.push([`${name}_sum`, '', sumMs / 1_000], [`${name}_count`, '', total]);
  }
}

/** Whether it only ever grows, and so outlives the process that counted. */
export function isCumulative(line: string): boolean {
  return typeOf(line) !== 'gauge';
}

/** Samples of the same name and labels are added up. Text format 0.0.4 of Prometheus. */
export function exposition(samples: Iterable<Sample>): string {
  const byMetric = new Map<MetricName, Map<string, number>>();
  for (const [line, labels, value] of samples) {
    const name = metricOf(line);
    if (name === undefined) continue;
    const series = byMetric.get(name) ?? new Map<string, number>();
    byMetric.set(name, series);
    const key = labels === '' ? line : `${line}{${labels}}`;
    series.set(key, (series.get(key) ?? 0) + value);
  }
  let text = '';
  for (const name of METRIC_NAMES) {
    const series = byMetric.get(name);
    if (series === undefined) continue;
    text += `# HELP ${name} ${METRICS[name].help}\n# TYPE ${name} ${METRICS[name].type}\n`;
    for (const [key, value] of series) text += `${key} ${value}\n`;
  }
  return text;
}

export const METRIC_NAMES = Object.keys(METRICS) as readonly MetricName[];

/** Undefined for what is in no table: a worker is a process that agents can reach, and what it says may be anything. */
function metricOf(line: string): MetricName | undefined {
  const name = line.replace(/_(?:bucket|sum|count)$/, '');
  const found = Object.hasOwn(METRICS, line) ? line : name;
  return Object.hasOwn(METRICS, found) ? (found as MetricName) : undefined;
}

function typeOf(line: string): Metric['type'] | undefined {
  const name = metricOf(line);
  return name === undefined ? undefined : METRICS[name].type;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${labelValue(value)}"`)
    .join(',');
}

/** Without what would end the value or the line; the rest may be any UTF-8. */
function labelValue(text: string): string {
  return text
    .slice(0, MAX_LABEL_CHARS)
    .toWellFormed()
    .replace(/\\/g, '\\\\')
    .replace(/"/g, '\\"')
    .replace(/\n/g, '\\n');
}
