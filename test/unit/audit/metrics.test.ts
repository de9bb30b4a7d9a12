import { describe, expect, it } from 'vitest';
import { exposition, isCumulative, type Sample, Samples } from '../../../src/audit/metrics.ts';
import { Histogram } from '../../../src/domain/histogram.ts';

describe('the text for Prometheus', () => {
  it('adds up what processes say of the same series, and names each metric once', () => {
    const [one, two] = [new Samples(), new Samples()];
    one.add('outcall_flows_total', 2);
    one.add('outcall_workers', 1, { state: 'listening' });
    two.add('outcall_flows_total', 3);
    expect(exposition([...one.all, ...two.all])).toBe(
      [
        '# HELP outcall_workers Worker processes, by whether they listen.',
        '# TYPE outcall_workers gauge',
        'outcall_workers{state="listening"} 1',
        '# HELP outcall_flows_total Connections of agents that were accepted.',
        '# TYPE outcall_flows_total counter',
        'outcall_flows_total 5',
        '',
      ].join('\n'),
    );
  });

  it('writes a histogram with what was at most each bound, in seconds', () => {
    const histogram = new Histogram();
    for (const ms of [0.5, 1, 3, 60_000]) histogram.observe(ms);
    const samples = new Samples();
    samples.histogram('outcall_mint_seconds', histogram);
    const text = exposition(samples.all);
    expect(text).toContain('outcall_mint_seconds_bucket{le="0.001"} 2\n');
    expect(text).toContain('outcall_mint_seconds_bucket{le="0.005"} 3\n');
    expect(text).toContain('outcall_mint_seconds_bucket{le="10"} 3\n');
    expect(text).toContain('outcall_mint_seconds_bucket{le="+Inf"} 4\n');
    expect(text).toContain('outcall_mint_seconds_sum 60.0045\n');
    expect(text).toContain('outcall_mint_seconds_count 4\n');
    expect(text.match(/# TYPE/g)).toEqual(['# TYPE']);
  });

  it('lets no name of a container or rule end a label, and cuts what is too long', () => {
    const samples = new Samples();
    samples.add('outcall_would_block_total', 1, { agent: 'a"b\\c\nd', rule: 'x'.repeat(1_000) });
    expect(exposition(samples.all)).toContain(`{agent="a\\"b\\\\c\\nd",rule="${'x'.repeat(128)}"} 1\n`);
  });

  it('leaves out what is no metric of ours', () => {
    const strange: Sample[] = [
      ['node_cpu', '', 1],
      ['constructor', '', 1],
      ['outcall_flows_open', '', 1],
    ];
    expect(exposition(strange).trim().split('\n').slice(2)).toEqual(['outcall_flows_open 1']);
  });

  it('knows what outlives the process that counted it', () => {
    const lines = [
      'outcall_flows_total',
      'outcall_mint_seconds_bucket',
      'outcall_mint_seconds_sum',
      'outcall_flows_open',
    ];
    expect(lines.map(isCumulative)).toEqual([true, true, true, false]);
  });
});
