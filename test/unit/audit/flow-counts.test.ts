import { describe, expect, it } from 'vitest';
import { type Counted, FlowCounts } from '../../../src/audit/flow-counts.ts';
import { exposition, Samples } from '../../../src/audit/metrics.ts';
import { aRecord } from './a-record.ts';

function linesOf(counts: FlowCounts, name: string): string[] {
  const samples = new Samples();
  counts.collect(samples);
  const lines = exposition(samples.all).split('\n');
  return lines.filter((line) => line.startsWith(`${name}{`) && !line.endsWith(' 0'));
}

function counted(...done: readonly (readonly [agent: string, fields: Partial<Counted>])[]): FlowCounts {
  const counts = new FlowCounts();
  for (const [agent, fields] of done) counts.count(agent, aRecord(fields));
  return counts;
}

describe('the counts of flows', () => {
  it('tell verdicts by event, agent and rule', () => {
    const counts = counted(
      ['web', { event: 'request', verdict: 'allow', rule: 'api' }],
      ['web', { event: 'request', verdict: 'allow', rule: 'api' }],
      ['web', { event: 'flow', verdict: 'block', rule: 'default', reason: 'default' }],
      ['', { event: 'query', verdict: 'failed', rule: null, reason: 'dns_failed' }],
    );
    expect(linesOf(counts, 'outcall_verdicts_total')).toEqual([
      'outcall_verdicts_total{event="request",verdict="allow",agent="web",rule="api"} 2',
      'outcall_verdicts_total{event="flow",verdict="block",agent="web",rule="default"} 1',
      'outcall_verdicts_total{event="query",verdict="failed",agent="unknown",rule=""} 1',
    ]);
  });

  it('tell each DNS query that was dropped, whatever its records say', () => {
    const counts = counted(['web', { event: 'query', verdict: 'allow', rule: 'api' }]);
    expect(linesOf(counts, 'outcall_dns_dropped_total')).toEqual([]);
    for (const agent of ['web', 'web', '']) counts.dropQuery(agent);
    expect(linesOf(counts, 'outcall_dns_dropped_total')).toEqual([
      'outcall_dns_dropped_total{agent="web"} 2',
      'outcall_dns_dropped_total{agent="unknown"} 1',
    ]);
  });

  it('keep faults apart from what policy blocks, with an error in a rule among the faults', () => {
    const counts = counted(
      ['web', { verdict: 'block', reason: 'rule', rule: 'no' }],
      ['web', { verdict: 'block', reason: 'default', rule: 'default' }],
      ['web', { verdict: 'block', reason: 'error', rule: 'broken' }],
      ['web', { verdict: 'failed', reason: 'cert_gen_failed', mode: 'intercept', taken: 'none' }],
      ['web', { verdict: 'failed', reason: 'connect_failed', mode: 'proxy', taken: 'none' }],
    );
    expect(linesOf(counts, 'outcall_fail_closed_total')).toEqual([
      'outcall_fail_closed_total{reason="connect_failed",blame="origin"} 1',
      'outcall_fail_closed_total{reason="cert_gen_failed",blame="appliance"} 1',
      'outcall_fail_closed_total{reason="rule_error",blame="operator"} 1',
    ]);
    expect(linesOf(counts, 'outcall_intercept_errors_total')).toEqual([
      'outcall_intercept_errors_total{stage="leaf",reason="cert_gen_failed"} 1',
    ]);
  });

  it('have each reason from the start, so that an alert sees the first fault as a step', () => {
    const samples = new Samples();
    new FlowCounts().collect(samples);
    expect(exposition(samples.all)).toContain(
      'outcall_fail_closed_total{reason="audit_unavailable",blame="operator"} 0',
    );
  });

  it('tell what audit mode let through by the rule that would have blocked it', () => {
    const counts = counted(['web', { would_block: 'strict' }], ['web', { would_block: null }]);
    expect(linesOf(counts, 'outcall_would_block_total')).toEqual([
      'outcall_would_block_total{agent="web",rule="strict"} 1',
    ]);
  });

  it('tell requests by version and how they were taken, and bytes of flows and not of DNS', () => {
    const counts = counted(
      ['web', { taken: 'intercept', http_version: '2', bytes_up: 10, bytes_down: 100 }],
      ['web', { taken: 'forward', http_version: '1.1', bytes_up: 1, bytes_down: 2 }],
      ['web', { event: 'query', taken: 'none', bytes_up: 1_000, bytes_down: 1_000 }],
    );
    expect(linesOf(counts, 'outcall_requests_total')).toEqual([
      'outcall_requests_total{taken="intercept",http_version="2"} 1',
      'outcall_requests_total{taken="forward",http_version="1.1"} 1',
    ]);
    expect(linesOf(counts, 'outcall_bytes_total')).toEqual([
      'outcall_bytes_total{direction="up",agent="web"} 11',
      'outcall_bytes_total{direction="down",agent="web"} 102',
    ]);
  });

  it('stay bounded however many agents and rules there are: the first keep their series, the rest is other', () => {
    const counts = new FlowCounts();
    for (let i = 0; i < 5_000; i++) counts.count(`agent-${i}`, aRecord({ rule: `rule-${i}` }));
    const first = linesOf(counts, 'outcall_verdicts_total');
    expect(first.length).toBeLessThanOrEqual(1_200);
    expect(first[0]).toContain('agent="agent-0",rule="rule-0"} 1');
    for (let i = 0; i < 5_000; i++) counts.count(`agent-${i}`, aRecord({ rule: `rule-${i}` }));
    const second = linesOf(counts, 'outcall_verdicts_total');
    const total = (lines: readonly string[]) =>
      lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    expect([first.length, total(first), total(second)]).toEqual([second.length, 5_000, 10_000]);
    const before = new Map(first.map((line) => [line.slice(0, line.lastIndexOf(' ')), total([line])]));
    for (const line of second) {
      expect(total([line])).toBeGreaterThanOrEqual(before.get(line.slice(0, line.lastIndexOf(' '))) ?? 0);
    }
  });
});
