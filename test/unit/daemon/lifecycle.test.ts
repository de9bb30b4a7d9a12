import { rmSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from '../../kit/daemon.ts';
import { childNamed, isAlive } from './processes.ts';
import { allowPath, type CountingOrigin, countingOrigin, getThrough } from './through-proxy.ts';

const POLL_MS = 10;

/** For facts that nothing announces: asks again and again; the test's own deadline ends a wait in vain. */
async function until(fact: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await fact())) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

async function status(daemon: TestDaemon, origin: CountingOrigin, target: string): Promise<number> {
  return (await getThrough(daemon.port, `http://127.0.0.1:${origin.port}${target}`)).status;
}

function writeRules(daemon: TestDaemon, text: string): void {
  daemon.folder.write('rules/rules.yaml', text);
}

describe('a reload', () => {
  it.each([
    ['by itself when the file changes', async () => undefined],
    ['on SIGHUP', async (daemon: TestDaemon) => daemon.signal('SIGHUP')],
    ['on outcall rules reload', async (daemon: TestDaemon) => void (await daemon.cli('rules', 'reload'))],
  ])('%s lets the new rules decide in every worker', async (_, reload) => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/old'), args: ['--workers', '2'] });
    expect([await status(daemon, origin, '/old'), await status(daemon, origin, '/new')]).toEqual([200, 403]);
    writeRules(daemon, allowPath('/new'));
    await reload(daemon);
    await daemon.log.some(({ event, generation }) => event === 'rules_loaded' && generation === 2);
    expect((await daemon.status()).workers.every(({ generation }) => generation >= 2)).toBe(true);
    for (let i = 0; i < 8; i++) {
      expect([await status(daemon, origin, '/old'), await status(daemon, origin, '/new')]).toEqual([403, 200]);
    }
    expect(origin.paths.filter((path) => path === '/old')).toHaveLength(1);
    const newest = await daemon.records.some(({ path, verdict }) => path === '/new' && verdict === 'allow');
    expect(newest.generation).toBeGreaterThanOrEqual(2);
  });

  it('with mistakes keeps the old rules, names every mistake, and exits 1', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/old') });
    writeRules(daemon, 'version: "1"\nrules:\n  - id: only\n    condition: htp.host == "x"\n    action: maybe\n');
    const refused = await daemon.cli('rules', 'reload');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/htp/);
    expect(refused.stderr).toMatch(/maybe/);
    expect(refused.stderr).toContain('generation 1 stays in force');
    expect([await status(daemon, origin, '/old'), await status(daemon, origin, '/new')]).toEqual([200, 403]);
    const shown = await daemon.status();
    expect(shown.generation).toBe(1);
    expect(shown.reload_problems.length).toBeGreaterThan(1);
    expect((await daemon.cli('status')).stdout).toContain('not in force');
    writeRules(daemon, allowPath('/new'));
    expect((await daemon.cli('rules', 'reload')).code).toBe(0);
    expect([await status(daemon, origin, '/old'), await status(daemon, origin, '/new')]).toEqual([403, 200]);
    expect((await daemon.status()).reload_problems).toEqual([]);
  });

  it('of a folder that was emptied keeps the old rules', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/old') });
    rmSync(path.join(daemon.rulesFolder, 'rules.yaml'));
    expect((await daemon.cli('rules', 'reload')).code).toBe(1);
    expect(await status(daemon, origin, '/old')).toBe(200);
  });
});

describe('SIGTERM', () => {
  it('stops accepting at once, lets a request under way end, records it, and exits 0', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/') });
    const answer = getThrough(daemon.port, `http://127.0.0.1:${origin.port}/held`);
    await origin.reached('/held');
    daemon.signal('SIGTERM');
    await until(() => refusesConnections(daemon.port));
    expect(daemon.process.exitCode).toBeNull();
    origin.release();
    expect(await answer).toMatchObject({ status: 200, body: 'released' });
    expect(await daemon.exited).toBe(0);
    expect(daemon.records.all).toEqual([expect.objectContaining({ path: '/held', verdict: 'allow', status: 200 })]);
  });

  it('twice resets what is under way and exits 0', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/') });
    const answer = getThrough(daemon.port, `http://127.0.0.1:${origin.port}/held`);
    await origin.reached('/held');
    daemon.signal('SIGTERM');
    await until(() => refusesConnections(daemon.port));
    daemon.signal('SIGTERM');
    await expect(answer).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(await daemon.exited).toBe(0);
  });

  it('resets what outlives --drain-secs', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/'), args: ['--drain-secs', '0'] });
    const answer = getThrough(daemon.port, `http://127.0.0.1:${origin.port}/held`);
    await origin.reached('/held');
    daemon.signal('SIGINT');
    await expect(answer).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(await daemon.exited).toBe(0);
  });
});

describe('a process that dies', () => {
  it('worker: the other serves on, and another takes its place with the rules in force', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/old'), args: ['--workers', '2'] });
    writeRules(daemon, allowPath('/new'));
    await daemon.cli('rules', 'reload');
    const victim = childNamed(daemon, 'worker-0');
    process.kill(victim, 'SIGKILL');
    expect(await daemon.log.some(({ event }) => event === 'worker_died')).toMatchObject({
      worker: 0,
      signal: 'SIGKILL',
      pid: victim,
    });
    await daemon.log.some(({ event }) => event === 'worker_replaced');
    expect((await daemon.status()).state).toBe('ready');
    const [worker] = (await daemon.status()).workers;
    expect(worker).toMatchObject({ listening: true, restarts: 1 });
    expect(worker?.generation).toBeGreaterThanOrEqual(2);
    expect(worker?.pid).not.toBe(victim);
    for (let i = 0; i < 8; i++) {
      expect([await status(daemon, origin, '/new'), await status(daemon, origin, '/old')]).toEqual([200, 403]);
    }
  });

  it('worker: the only one is replaced on the same port', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/') });
    process.kill(childNamed(daemon, 'worker-0'), 'SIGKILL');
    await daemon.log.some(({ event }) => event === 'worker_replaced');
    expect((await daemon.status()).state).toBe('ready');
    expect(await status(daemon, origin, '/')).toBe(200);
  });

  it('signer: another takes its place, with the CA and the rules', async () => {
    await using daemon = await startDaemon({ rules: allowPath('/'), ca: true });
    const victim = childNamed(daemon, 'signer');
    process.kill(victim, 'SIGKILL');
    expect(await daemon.log.some(({ event }) => event === 'signer_died')).toMatchObject({
      signal: 'SIGKILL',
      pid: victim,
    });
    await daemon.log.next(({ event }) => event === 'ca_loaded'); // the first was read before the daemon was ready
    expect(childNamed(daemon, 'signer')).not.toBe(victim);
    expect((await daemon.cli('rules', 'reload')).code).toBe(0);
    expect(JSON.parse((await daemon.cli('ca', 'status', '--json')).stdout)).toMatchObject({
      loaded: true,
      leaf_cache_size: 0,
    });
    expect(await daemon.stop()).toBe(0);
  });

  it('supervisor: no worker and no signer outlives it', async () => {
    await using daemon = await startDaemon({ rules: allowPath('/'), ca: true });
    const children = [childNamed(daemon, 'worker-0'), childNamed(daemon, 'signer')];
    expect(children.every(isAlive)).toBe(true);
    daemon.signal('SIGKILL');
    await daemon.exited;
    await until(() => refusesConnections(daemon.port));
    await until(() => children.every((pid) => !isAlive(pid)));
  });

  it('a worker ignores the signals that a terminal sends to all, so that the drain is orderly', async () => {
    await using origin = await countingOrigin();
    await using daemon = await startDaemon({ rules: allowPath('/') });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(childNamed(daemon, 'worker-0'), signal);
    expect(await status(daemon, origin, '/')).toBe(200);
    expect((await daemon.status()).workers[0]?.restarts).toBe(0);
  });
});

function refusesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });
}
