// Where a run's report goes: Markdown to standard output, JSON to test/bench/results, and on demand docs/performance.md (between its
// two markers) and docs/performance.svg.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { CeilingLine } from './ceiling.ts';
import type { Cores } from './machine.ts';
import type { Extent } from './measurement.ts';
import { peerVersions } from './peers.ts';
import { plot } from './plot.ts';
import { holdGoals, markdown, type Row } from './report.ts';

const RESULTS = path.join(import.meta.dirname, 'results');
const DOCS = path.join(import.meta.dirname, '../../docs');
const [BEGIN, END] = ['<!-- bench: begin -->', '<!-- bench: end -->'];

interface Conditions extends ReturnType<typeof peerVersions> {
  readonly when: string;
  readonly processor: string;
  readonly node: string;
}

export interface Report {
  readonly rows: readonly Row[];
  readonly ceiling: readonly CeilingLine[];
  readonly failures: readonly string[];
  readonly extent: Extent;
  readonly cores: Cores;
}

export function writeReport(report: Report, intoDocs: boolean): void {
  const { rows, ceiling, failures, extent, cores } = report;
  const conditions: Conditions = {
    when: new Date().toISOString(),
    processor: os.cpus()[0]?.model ?? 'unknown',
    node: process.version,
    ...peerVersions(),
  };
  const text = `${conditionsText(report, conditions)}\n\n${markdown(rows, ceiling)}\n${failures.map((line) => `\nFailed: ${line}\n`).join('')}`;
  process.stdout.write(text);
  mkdirSync(RESULTS, { recursive: true });
  const figures = rows.map(({ measurement: { id, title, unit }, samples }) => {
    return { id, title, unit, samples: Object.fromEntries([...samples].map(([{ name }, taken]) => [name, taken])) };
  });
  const file = path.join(RESULTS, `${conditions.when.replaceAll(':', '-')}.json`);
  writeFileSync(
    file,
    `${JSON.stringify({ conditions, cores, extent, figures, goals: holdGoals(rows), ceiling, failures }, null, 1)}\n`,
  );
  if (intoDocs) writeDocs(text, plot(rows));
}

function conditionsText({ cores, extent }: Report, conditions: Conditions): string {
  const { when, processor, node, ...peers } = conditions;
  const place = cores.pinned
    ? `proxy on core ${cores.proxy}, generator on ${cores.generator}, origin on ${cores.origin}`
    : 'processes not pinned';
  const size = `${extent.rounds} rounds of ${extent.seconds} s, targets interleaved, ${extent.manyTunnels} idle tunnels where there are many`;
  return `${when}. ${cores.count} cores of ${processor}: ${place}. ${size}. Node ${node}; ${Object.values(peers).join('; ')}.`;
}

function writeDocs(text: string, svg: string): void {
  const file = path.join(DOCS, 'performance.md');
  const page = readFileSync(file, 'utf8');
  const [head, rest = ''] = page.split(BEGIN);
  const tail = rest.split(END)[1] ?? '';
  writeFileSync(file, `${head}${BEGIN}\n${text}\n${END}${tail}`);
  writeFileSync(path.join(DOCS, 'performance.svg'), svg);
}
