import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { adminApiPage, metricsPage } from '../../../scripts/docs.ts';
import { METRICS } from '../../../src/audit/metrics.ts';
import { ROOT } from './test-titles.ts';

/** Of a histogram, as it is written. */
const LINE_ENDING = /_(?:bucket|sum|count)$/;
const BY_PROMETHEUS = ['le'];

interface Metric {
  readonly type: string;
  readonly labels?: readonly string[];
}

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
}

function read(name: string): string {
  return readFileSync(path.join(ROOT, name), 'utf8');
}

/** Metrics of an expression that do not exist, and labels that no metric of it has. */
function unknownIn(expression: string): string[] {
  const lines = expression.match(/\boutcall_[a-z_]+/g) ?? [];
  const metrics = lines.map((line): Metric | undefined => {
    const name = Object.hasOwn(METRICS, line) ? line : line.replace(LINE_ENDING, '');
    const metric: Metric | undefined = METRICS[name as keyof typeof METRICS];
    return (metric?.type === 'histogram') === LINE_ENDING.test(line) ? metric : undefined;
  });
  const known = [...BY_PROMETHEUS, ...metrics.flatMap((metric) => metric?.labels ?? [])];
  const grouped = [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names = '']) => names.split(/,\s*/));
  const selected = [...expression.matchAll(/([a-z_]+)(?:=~|!~|!=|=)"/g)].map(([, name = '']) => name);
  return [
    ...lines.filter((_, i) => metrics[i] === undefined),
    ...[...grouped, ...selected].filter((label) => !known.includes(label)),
  ];
}

describe('the pages of the operator', () => {
  it.each([
    ['docs/admin-api.md', adminApiPage],
    ['docs/metrics.md', metricsPage],
  ] as const)('%s is what npm run docs writes', (name, page) => {
    expect(read(name)).toBe(page());
  });

  it('speak of metrics and labels that exist', () => {
    const queries = [...read('docs/metrics.md').matchAll(/`([^`]*outcall_[^`]*)`/g)].map(([, query = '']) => query);
    const alerts = queries.filter((query) => /[{=>]/.test(query));
    expect(alerts.length).toBeGreaterThan(3);
    expect(alerts.flatMap(unknownIn)).toEqual([]);
  });
});

describe('the dashboard for Grafana', () => {
  const { panels } = JSON.parse(read('compose/grafana/outcall.json')) as Dashboard;

  it('asks in each panel for metrics and labels that exist', () => {
    expect(panels.length).toBeGreaterThan(10);
    for (const { title, targets } of panels) {
      expect([title, targets.length > 0, targets.flatMap(({ expr }) => unknownIn(expr))]).toEqual([title, true, []]);
    }
  });

  it('is found out when one does not exist', () => {
    expect(unknownIn('sum by (rules) (rate(outcall_verdict_total{agents="x"}[1m]))')).toEqual([
      'outcall_verdict_total',
      'rules',
      'agents',
    ]);
    expect(unknownIn('outcall_mint_seconds')).toEqual(['outcall_mint_seconds']);
    expect(unknownIn('outcall_flows_total_sum')).toEqual(['outcall_flows_total_sum']);
  });
});
