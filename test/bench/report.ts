// From samples to medians, ratios held against goals, and Markdown. Ratios are taken within a round, where both sides ran seconds
// apart, and the median of the rounds' ratios is what counts.
import type { CeilingLine } from './ceiling.ts';
import type { Goal, Measurement, Metric, Sample } from './measurement.ts';
import { outcall } from './outcall.ts';
import type { Target } from './target.ts';

/** Samples of one measurement by target, one for each round. */
export interface Row {
  readonly measurement: Measurement;
  readonly samples: ReadonlyMap<Target, readonly Sample[]>;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low = Number.NaN, high = Number.NaN] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return (low + high) / 2;
}

/** Median over the rounds; NaN when the target gave no such figure. */
function medianOf(row: Row, target: Target, metric: Metric): number {
  return median((row.samples.get(target) ?? []).map((sample) => sample[metric] ?? Number.NaN));
}

/** Median over the rounds of `of` over `against`, round by round. */
export function ratioOf(row: Row, of: Target, against: Target, metric: Metric): number {
  return pairwise(row, of, against, metric, (a, b) => a / b);
}

function pairwise(
  row: Row,
  of: Target,
  against: Target,
  metric: Metric,
  how: (a: number, b: number) => number,
): number {
  const [ours = [], theirs = []] = [row.samples.get(of), row.samples.get(against)];
  const pairs = ours.slice(0, theirs.length);
  return median(pairs.map((sample, round) => how(sample[metric] ?? Number.NaN, theirs[round]?.[metric] ?? Number.NaN)));
}

interface Held {
  readonly measurement: string;
  readonly goal: string;
  readonly measured: number;
  readonly met: boolean;
}

/** Every goal for which both sides were measured. */
export function holdGoals(rows: readonly Row[]): Held[] {
  return rows.flatMap((row) => row.measurement.goals.flatMap((goal) => holdGoal(row, goal)));
}

function holdGoal(row: Row, goal: Goal): Held[] {
  const of = goal.of ?? outcall;
  const measured = measuredFor(row, goal, of);
  if (Number.isNaN(measured)) return [];
  const met = goal.bound === '>=' ? measured >= goal.limit : measured <= goal.limit;
  return [{ measurement: row.measurement.title, goal: goalText(row, goal, of), measured, met }];
}

function measuredFor(row: Row, goal: Goal, of: Target): number {
  if (goal.against === undefined) return medianOf(row, of, goal.metric);
  const difference = goal.how === 'difference';
  return pairwise(row, of, goal.against, goal.metric, (a, b) => (difference ? a - b : a / b));
}

const METRIC_NAMES: Record<Metric, string> = {
  value: '',
  p50Us: 'p50, us, ',
  p99Us: 'p99, us, ',
  p999Us: 'p99.9, us, ',
  cpuUs: 'CPU each, ',
};

function goalText(row: Row, goal: Goal, of: Target): string {
  const metric = METRIC_NAMES[goal.metric];
  const bound = `${goal.bound === '>=' ? '≥' : '≤'} ${Number(goal.limit.toFixed(2))}`;
  const { name = '' } = goal.against ?? {};
  if (goal.how === 'value') return `${metric}${of.name} ${bound} ${row.measurement.unit}`;
  return `${metric}${of.name} ${goal.how === 'ratio' ? '/' : '−'} ${name} ${bound}`;
}

/** As Markdown: figures, goals, latency and CPU, and what the generator could have done. */
export function markdown(rows: readonly Row[], ceiling: readonly CeilingLine[]): string {
  return [figuresTable(rows), goalsTable(rows), detailTable(rows), ceilingTable(ceiling)].join('\n\n');
}

function figuresTable(rows: readonly Row[]): string {
  const targets = [...new Set(rows.flatMap((row) => [...row.samples.keys()]))];
  const lines = rows.map(({ measurement, ...row }) => [
    `${measurement.title} (${measurement.unit})`,
    ...targets.map((target) => figure(medianOf({ measurement, ...row }, target, 'value'))),
  ]);
  return table(['work', ...targets.map(({ name }) => name)], lines);
}

function goalsTable(rows: readonly Row[]): string {
  const held = holdGoals(rows);
  if (held.length === 0) return 'No goal could be held against these targets.';
  const lines = held.map(({ measurement, goal, measured, met }) => [
    measurement,
    goal,
    figure(measured),
    met ? 'yes' : '**no**',
  ]);
  return table(['work', 'goal', 'measured', 'met'], lines);
}

function detailTable(rows: readonly Row[]): string {
  const lines = rows.flatMap((row) =>
    [...row.samples.keys()].flatMap((target) => {
      const figures = (['p50Us', 'p99Us', 'p999Us', 'cpuUs'] as const).map((metric) => medianOf(row, target, metric));
      return figures.every(Number.isNaN) ? [] : [[row.measurement.title, target.name, ...figures.map(figure)]];
    }),
  );
  return table(['work', 'target', 'p50 us', 'p99 us', 'p99.9 us', 'CPU us each'], lines);
}

function ceilingTable(ceiling: readonly CeilingLine[]): string {
  const lines = ceiling.map(({ what, value, unit }) => [what, `${figure(value)} ${unit}`]);
  return table(['the generator alone, against an origin on another core', 'reached'], lines);
}

function figure(value: number): string {
  if (Number.isNaN(value)) return '';
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3);
}

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const align = head.map((_, index) => (index === 0 ? '---' : '---:'));
  return [head, align, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
