// Where the CPU time of one request goes: Outcall under the load of h1-8, h2-8x8 or new-connections, sampled by perf with the stacks of
// JavaScript and native code, each sample put to the first part below that its stack, from the innermost frame on, speaks of. For
// docs/performance.md.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Generator, Job } from './jobs.ts';
import { processTree } from './machine.ts';
import { known, ORIGIN_HOST, warm } from './measurement.ts';
import { startOutcall } from './outcall.ts';
import type { RunningTarget, Site } from './target.ts';

const SAMPLES_PER_SECOND = 4_000;
const CONNECTIONS = 8;
const H2_STREAMS = 8;
/** Node writes down the names of what it compiles, for perf. */
const NODE_FLAGS = ['--perf-basic-prof', '--interpreted-frames-native-stack'];

/** Looked for in the whole stack: the kernel's work is put to the call that asked for it. */
const KERNEL: readonly (readonly [part: string, frame: RegExp])[] = [
  ['kernel: sending, and the receiving side of loopback', /ksys_write|writev|sendmsg/],
  ['kernel: receiving', /ksys_read|recvmsg/],
  ['kernel: waiting', /epoll/],
];
/** Looked for frame by frame. */
const PARTS: readonly (readonly [part: string, frame: RegExp])[] = [
  ['garbage collection', /CollectGarbage|Scaveng|MarkCompact|ArrayBufferSweeper/],
  ['audit record and metrics', /JS:.*(record|#write|_asJson|count) |JsonStringif|LineWriter/],
  ['decision by the rules', /JS:.*('?request|candidates) file/],
  [
    'reading heads, normalising the request',
    /parseRe|readFields|headText|readRequest|canonicalHost|normaliseTarget|forwardRe|readH2|JS:.*(decode|encode|headers) /,
  ],
  ['TLS in OpenSSL', /SSL_|ssl3_|tls_|tls13|ossl|BIO_|EVP_|aes_gcm|NodeBIO/],
  ['the rest of our JavaScript', /JS:.* file:/],
  ['streams, callbacks and buffers of node', /./],
];

/** Prints a Markdown table. `load`: the id of a measurement, h1-8 for any other. Needs perf(1), and root for it. */
export async function profile(site: Site, generator: Generator, seconds: number, load: string): Promise<void> {
  const target = await startOutcall(site, NODE_FLAGS);
  const pids = processTree(target.pid).map(({ pid }) => pid);
  const file = path.join(site.folder, 'perf.data');
  try {
    await warm(generator, target, seconds);
    const job = jobOf(load, target);
    // Code that only this load runs is compiled before it is sampled.
    await generator.run({ ...job, seconds });
    const sampling = [
      '-q',
      '-e',
      'cpu-clock',
      '-F',
      String(SAMPLES_PER_SECOND),
      '-g',
      '-o',
      file,
      '-p',
      pids.join(','),
    ];
    const perf = spawn('perf', ['record', ...sampling, '--', 'sleep', String(seconds)], { stdio: 'inherit' });
    await once(perf, 'spawn').catch(() => {
      throw new Error('perf is missing: install linux-perf');
    });
    const { requests } = await generator.run({ ...job, seconds: seconds + 1 });
    if (perf.exitCode === null) await once(perf, 'exit');
    const share = await shares(file, target.pid);
    process.stdout.write(table(share, requests));
  } finally {
    await target.stop();
    for (const pid of pids) rmSync(`/tmp/perf-${pid}.map`, { force: true });
  }
}

function jobOf(
  load: string,
  target: RunningTarget,
): Omit<Extract<Job, { kind: 'keep-alive' | 'new-connections' }>, 'seconds'> {
  const exchange = { host: ORIGIN_HOST, method: 'GET', path: '/v1/1k', requestBytes: 0 } as const;
  const h1 = { kind: 'keep-alive', route: known(target.intercepted), exchange, connections: CONNECTIONS } as const;
  if (load === 'new-connections') return { ...h1, kind: load };
  if (load === 'h2-8x8') return { ...h1, route: known(target.h2), exchange: { ...exchange, streams: H2_STREAMS } };
  return h1;
}

/** Samples by part. */
async function shares(file: string, supervisor: number): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const script = spawn('perf', ['script', '-i', file, '-F', 'comm,pid,tid,ip,sym'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let head = '';
  let stack: string[] = [];
  for await (const line of createInterface({ input: script.stdout })) {
    if (line.trim() !== '') {
      if (head === '') head = line.trim();
      else stack.push(line.trim().split(/\s+/).slice(1).join(' '));
      continue;
    }
    const part = partOf(head, stack, supervisor);
    counts.set(part, (counts.get(part) ?? 0) + 1);
    head = '';
    stack = [];
  }
  return counts;
}

function partOf(head: string, stack: readonly string[], supervisor: number): string {
  const [, pid, tid] = /(\d+)\/(\d+)\s*$/.exec(head) ?? [];
  if (pid === String(supervisor)) return 'supervisor: passing on audit records';
  if (pid !== tid) return 'helper threads: garbage collection, compiling, writing records';
  const kernel = KERNEL.find(([, frame]) => stack.some((name) => frame.test(name)));
  if (kernel !== undefined) return kernel[0];
  for (const name of stack) {
    const part = PARTS.slice(0, -1).find(([, frame]) => frame.test(name));
    if (part !== undefined) return part[0];
  }
  return (PARTS.at(-1) as (typeof PARTS)[number])[0];
}

function table(counts: ReadonlyMap<string, number>, requests: number): string {
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const rows = [...counts].sort(([, a], [, b]) => b - a);
  const lines = rows.map(([part, count]) => `| ${part} | ${((100 * count) / all).toFixed(1)} % |`);
  return `${all} samples, ${requests} requests\n\n| part | of the CPU time |\n| --- | ---: |\n${lines.join('\n')}\n`;
}
