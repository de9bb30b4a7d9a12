import { describe, expect, it } from 'vitest';
import type { Sample } from '../../../src/audit/metrics.ts';
import { WorkerFigures } from '../../../src/daemon/worker-figures.ts';

const FLOWS = 'outcall_flows_total';
const OPEN = 'outcall_flows_open';

function sums(figures: WorkerFigures): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [line, , value] of figures.all()) found[line] = (found[line] ?? 0) + value;
  return found;
}

describe('the figures of workers', () => {
  it('keep what a worker that died had counted, and nothing of what it had open', () => {
    const figures = new WorkerFigures();
    figures.take(0, [
      [FLOWS, '', 5],
      [OPEN, '', 2],
    ]);
    figures.take(1, [[FLOWS, '', 1]]);
    figures.keep(0);
    expect(sums(figures)).toEqual({ [FLOWS]: 6 });
    figures.take(0, [
      [FLOWS, '', 1],
      [OPEN, '', 1],
    ]);
    expect(sums(figures)).toEqual({ [FLOWS]: 7, [OPEN]: 1 });
    figures.keep(0);
    figures.keep(0);
    expect(sums(figures)).toEqual({ [FLOWS]: 7 });
  });

  it.each([
    ['no list', { length: 1 }],
    ['no number', [[FLOWS, '', '9']]],
    ['an endless number', [[FLOWS, '', Number.POSITIVE_INFINITY]]],
    ['a line within the labels', [[FLOWS, 'a="1"} 1\noutcall_flows_total{a="2"', 1]]],
    ['no labels', [[FLOWS, 1, 1]]],
    ['a part too many', [[FLOWS, '', 1, 1]]],
  ])('take %s from no worker, beside what is right', (_what, said) => {
    const figures = new WorkerFigures();
    figures.take(0, said);
    expect(sums(figures)).toEqual({});
    figures.take(0, [[FLOWS, '', 1], ...(Array.isArray(said) ? said : [])]);
    expect(sums(figures)).toEqual({ [FLOWS]: 1 });
  });

  it('stay bounded whatever a worker says', () => {
    const figures = new WorkerFigures();
    for (let life = 0; life < 3; life++) {
      const many = Array.from({ length: 30_000 }, (_, i): Sample => [FLOWS, `n="${life}-${i}"`, 1]);
      figures.take(0, many);
      figures.keep(0);
    }
    expect([...figures.all()].length).toBe(20_000);
  });
});
