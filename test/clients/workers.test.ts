/**
 * Four workers and one signer as agents meet them: connections spread, a leaf is signed once for all of them, a reload
 * reaches each, and one that is killed takes down its own connections and no other's (threats 33, 36, 37).
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/domain/record.ts';
import { openHttps } from '../kit/agent.ts';
import type { AgentSocket } from '../kit/agent-socket.ts';
import { rulesFile } from '../kit/rules.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const WORKERS = 4;
/** The kernel spreads by a hash of the ports: that one of four is left out of so many has a chance of 10^-11. */
const CONNECTIONS = 96;

const allowPath = (path: string) =>
  rulesFile(
    `{ id: api, condition: 'http.host == "api.test" && http.path.startsWith("${path}")', action: allow, egress: { mode: intercept } }`,
  );

let scene: ClientScene;
beforeAll(async () => {
  const origin = { alpn: ['http/1.1'] as const };
  scene = await startClientScene({ rules: allowPath('/old'), args: ['--workers', String(WORKERS)], tls: origin });
});
afterAll(() => scene[Symbol.asyncDispose]());

function open(): Promise<AgentSocket> {
  const ca = readFileSync(scene.outcallCaFile, 'utf8');
  return openHttps(scene.daemon, `api.test:${scene.origin.port}`, { ca });
}

async function ask(agent: AgentSocket, target: string): Promise<number> {
  return (await agent.request({ target, headers: [`Host: api.test:${scene.origin.port}`] })).status;
}

/** Statuses of one request on each of many connections at once, and the processes that served them. */
async function askMany(path: string): Promise<{ statuses: Set<number>; workers: Set<number> }> {
  const target = `${path}/${scene.daemon.records.count}`;
  const statuses = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      await using agent = await open();
      return await ask(agent, target);
    }),
  );
  const records = await Promise.all(statuses.map(() => scene.daemon.records.next((record) => record.path === target)));
  return { statuses: new Set(statuses), workers: new Set(records.map(workerOf)) };
}

/** The process id that a flow's id carries, in base 36. */
function workerOf({ flow }: Pick<AuditRecord, 'flow'>): number {
  return Number.parseInt(flow.split('-')[1] ?? '', 36);
}

/** Two connections that two workers serve, each with a request behind it, and those workers' process ids. */
async function onTwoWorkers(stack: AsyncDisposableStack, path: string): Promise<[Served, Served]> {
  const first = await served(path);
  stack.use(first.agent);
  for (;;) {
    const second = await served(path);
    stack.use(second.agent);
    if (second.worker !== first.worker) return [first, second];
  }
}

interface Served {
  readonly agent: AgentSocket;
  readonly worker: number;
}

async function served(path: string): Promise<Served> {
  const agent = await open();
  const own = `${path}/of-${agent.socket.localPort}`;
  expect(await ask(agent, own)).toBe(200);
  return { agent, worker: workerOf(await scene.daemon.records.some((record) => record.path === own)) };
}

const requestsFor = (path: string) => scene.origin.heads.all.filter(({ url }) => url.startsWith(path)).length;

const pidsOfWorkers = async () => new Set((await scene.daemon.status()).workers.map(({ pid }) => pid));

describe('four workers', () => {
  it('S011-AS-006, SC-003: share the connections, and one leaf that was signed once', async () => {
    const { statuses, workers } = await askMany('/old');
    expect([...statuses]).toEqual([200]);
    expect(workers).toEqual(await pidsOfWorkers());
    expect(workers.size).toBe(WORKERS);
    const signed = scene.daemon.log.all.filter(({ event }) => event === 'leaf_generated');
    expect(signed.map(({ host }) => host)).toEqual(['api.test']);
  });

  it('all take a reload, for new connections and for the next request of an open one', async () => {
    await using kept = await open();
    expect(await ask(kept, '/old')).toBe(200);
    scene.daemon.folder.write('rules/rules.yaml', allowPath('/new'));
    expect((await scene.daemon.cli('rules', 'reload')).code).toBe(0);
    const requests = requestsFor('/old');
    expect(await ask(kept, '/old')).toBe(403);
    const [old, allowed] = [await askMany('/old'), await askMany('/new')];
    expect([[...old.statuses], [...allowed.statuses]]).toEqual([[403], [200]]);
    expect([old.workers.size, allowed.workers.size]).toEqual([WORKERS, WORKERS]);
    expect(requestsFor('/old')).toBe(requests);
  });

  it('one killed ends its own connections; those of another go on, new ones are served, and it is replaced', async () => {
    await using stack = new AsyncDisposableStack();
    const [doomed, spared] = await onTwoWorkers(stack, '/new');
    process.kill(doomed.worker, 'SIGKILL');
    expect(await doomed.agent.untilEnded()).toMatch(/^(FIN|ECONNRESET)$/);
    expect(await ask(spared.agent, '/new')).toBe(200);
    await scene.daemon.log.some(({ event, pid }) => event === 'worker_died' && pid === doomed.worker);
    await scene.daemon.log.some(({ event }) => event === 'worker_replaced');
    const { statuses, workers } = await askMany('/new');
    expect([...statuses]).toEqual([200]);
    expect(workers).toEqual(await pidsOfWorkers());
    expect(workers).not.toContain(doomed.worker);
    // The new one has the rules in force, and a leaf that the signer had kept.
    expect((await askMany('/old')).statuses).toEqual(new Set([403]));
    expect(scene.daemon.log.all.filter(({ event }) => event === 'leaf_generated')).toHaveLength(1);
    expect(await ask(spared.agent, '/new')).toBe(200);
  });
});
