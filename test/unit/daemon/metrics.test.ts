import { readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { METRICS } from '../../../src/audit/metrics.ts';
import { startDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { Prometheus } from '../../kit/prometheus.ts';
import { rulesFile } from '../../kit/rules.ts';
import { hasProgram, run } from '../../kit/run.ts';
import { type CountingOrigin, countingOrigin, getThrough } from './through-proxy.ts';

const RULES = rulesFile(
  `{ id: api, condition: 'http.host == "127.0.0.1" && http.path == "/ok"', action: allow }`,
  `{ id: quiet, condition: 'http.host == "127.0.0.1" && http.path == "/quiet"', action: allow, log: false }`,
);
const DASHBOARD = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../compose/grafana/outcall.json'), 'utf8'),
) as { readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[] };
const PROMETHEUS = ['prometheus', 'promtool'];

describe('the metrics of a daemon that runs', () => {
  let daemon: TestDaemon;
  let origin: CountingOrigin;
  let target = '';

  beforeAll(async () => {
    origin = await countingOrigin();
    daemon = await startDaemon({ rules: RULES, ca: true, args: ['--metrics-listen', '127.0.0.1:0'] });
    target = (await daemon.status()).metrics_listen ?? '';
  });
  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
    await origin?.[Symbol.asyncDispose]();
  });

  const scrape = async () => (await get(`http://${target}/metrics`)).text;
  const ask = (path: string) => getThrough(daemon.port, `http://127.0.0.1:${origin.port}${path}`);

  it('count requests by rule and verdict, those that are not recorded too, and bytes', async () => {
    for (const path of ['/ok', '/ok', '/quiet', '/no']) await ask(path);
    await daemon.records.some(({ path }) => path === '/no');
    const text = await scrape();
    const verdict = (name: string, rule: string) =>
      value(text, `outcall_verdicts_total{event="request",verdict="${name}",agent="unknown",rule="${rule}"}`);
    expect([verdict('allow', 'api'), verdict('allow', 'quiet'), verdict('block', 'default')]).toEqual([2, 1, 1]);
    expect(daemon.records.all.map(({ rule }) => rule)).not.toContain('quiet');
    expect(value(text, 'outcall_requests_total{taken="forward",http_version="1.1"}')).toBe(4);
    expect(value(text, 'outcall_requests_inflight')).toBe(0);
    expect(value(text, 'outcall_bytes_total{direction="down",agent="unknown"}')).toBeGreaterThan(100);
    expect(value(text, 'outcall_flows_total')).toBe(4);
    expect(value(text, 'outcall_upstream_connect_seconds_count')).toBeGreaterThan(0);
  });

  it('tell how the daemon stands', async () => {
    const text = await scrape();
    expect(value(text, 'outcall_state{state="ready"}')).toBe(1);
    expect(value(text, 'outcall_state{state="starting"}')).toBe(0);
    expect(value(text, 'outcall_lock_state{state="off"}')).toBe(1);
    expect(value(text, 'outcall_enforcement_mode{mode="enforce"}')).toBe(1);
    expect(value(text, 'outcall_workers{state="listening"}')).toBe(1);
    expect(value(text, 'outcall_rules')).toBe(2);
    expect(value(text, 'outcall_process_resident_memory_bytes{process="worker-0"}')).toBeGreaterThan(10e6);
  });

  it('have each metric of the table', async () => {
    const text = await scrape();
    const strictlyLater = ['outcall_would_block_total', 'outcall_intercept_errors_total', 'outcall_dns_dropped_total'];
    const missing = Object.keys(METRICS).filter(
      (name) => !text.includes(`\n# TYPE ${name} `) && !text.startsWith(`# HELP ${name} `),
    );
    expect(missing.sort()).toEqual(strictlyLater.sort());
  });

  it('keep what a worker had counted that died', async () => {
    const key = 'outcall_verdicts_total{event="request",verdict="allow",agent="unknown",rule="api"}';
    const before = value(await scrape(), key);
    const worker = (await daemon.status()).workers[0]?.pid;
    if (worker === undefined || worker === null) throw new Error('there is a worker');
    process.kill(worker, 'SIGKILL');
    await daemon.log.some((line) => line['event'] === 'worker_replaced');
    const after = await scrape();
    expect(value(after, key)).toBe(before);
    expect(value(after, 'outcall_worker_restarts_total')).toBe(1);
    await ask('/ok');
    expect(value(await scrape(), key)).toBe(before + 1);
  });

  describe.skipIf(!PROMETHEUS.every(hasProgram))('with Prometheus', () => {
    it('pass promtool check metrics', async () => {
      const { code, stdout, stderr } = await run('promtool', ['check', 'metrics'], { input: await scrape() });
      expect([code, stdout + stderr]).toEqual([0, '']);
    });

    it('are scraped, and answer queries', async () => {
      await using prometheus = await Prometheus.start(target);
      expect(await prometheus.query('outcall_state{state="ready"}')).toEqual(['1']);
      expect(await prometheus.query('sum by (rule) (outcall_verdicts_total{verdict="block"})')).toEqual(['1']);
      for (const { expr } of DASHBOARD.panels.flatMap(({ targets }) => targets)) {
        await prometheus.query(expr.replaceAll('$__rate_interval', '1m'));
      }
      expect(await prometheus.query('up')).toEqual(['1']);
      expect(await prometheus.query('histogram_quantile(0.5, outcall_upstream_connect_seconds_bucket)')).toHaveLength(
        1,
      );
    });
  });
});

function get(url: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += String(chunk)));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on('error', reject);
  });
}

function value(text: string, key: string): number {
  const line = text.split('\n').find((each) => each.startsWith(`${key} `));
  return line === undefined ? Number.NaN : Number(line.slice(key.length + 1));
}
