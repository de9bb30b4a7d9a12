/**
 * SIGTERM with real clients in the middle of a stream (S011-EC-011): what ends within the grace ends whole, what hangs is
 * reset on both sides when the grace is over, and nothing new is accepted.
 */
import { describe, expect, it } from 'vitest';
import type { LiveReply } from '../kit/origin.ts';
import { type RunResult, run } from '../kit/run.ts';
import { within } from '../kit/within.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const WAIT_MS = 10_000;
/** curl(1): failed to connect; and the codes of a connection that broke inside a transfer, for HTTP/1.1 and HTTP/2. */
const CURLE_COULDNT_CONNECT = 7;
const CURLE_BROKEN = [18, 56, 92];

/** One event stream in each way that a flow may take, its first event read. */
async function startStreams(scene: ClientScene): Promise<{ clients: Promise<RunResult[]>; live: LiveReply[] }> {
  const clients = Promise.all(WAYS.map(([version, host]) => stream(scene, version, host)));
  const live = await Promise.all(WAYS.map(() => scene.origin.live.next()));
  await Promise.all(live.map((reply) => reply.send('data: one\n\n')));
  return { clients, live };
}

function stream(scene: ClientScene, version: string, host: string): Promise<RunResult> {
  const caFile = host === 'tunnel.test' ? scene.originCaFile : scene.outcallCaFile;
  return run('curl', ['-q', '-sSN', version, '--proxy', scene.proxyUrl, '--cacert', caFile, scene.url(host, '/sse')]);
}

const WAYS = [
  ['--http1.1', 'api.test'],
  ['--http2', 'api.test'],
  ['--http1.1', 'tunnel.test'],
] as const;
const TAKEN = ['intercept', 'intercept', 'tunnel'];

async function draining(scene: ClientScene): Promise<void> {
  scene.daemon.signal('SIGTERM');
  await scene.daemon.log.some(({ event }) => event === 'draining');
}

describe('S011-EC-011: SIGTERM', () => {
  it('lets event streams, intercepted and tunnelled, end whole within the grace, and records each', async () => {
    await using scene = await startClientScene({ args: ['--drain-secs', '20'] });
    const { clients, live } = await startStreams(scene);
    await draining(scene);
    for (const reply of live) {
      await reply.send('data: two\n\n');
      reply.end();
    }
    for (const client of await clients) expect(client).toMatchObject({ code: 0, stdout: 'data: one\n\ndata: two\n\n' });
    expect(await within(scene.daemon.exited, WAIT_MS, 'the exit')).toBe(0);
    const records = scene.daemon.records.all;
    expect(records.map(({ taken }) => taken).sort()).toEqual(TAKEN);
    expect(
      records.every(({ verdict, status, reason }) => verdict === 'allow' && status === 200 && reason === null),
    ).toBe(true);
    expect((await stream(scene, '--http1.1', 'api.test')).code).toBe(CURLE_COULDNT_CONNECT);
  });

  it('resets event streams that hang, on both sides, when --drain-secs are over, and records each', async () => {
    await using scene = await startClientScene({ args: ['--drain-secs', '1'] });
    const { clients, live } = await startStreams(scene);
    await draining(scene);
    for (const { code, stdout } of await clients) {
      expect(CURLE_BROKEN).toContain(code);
      expect(stdout).toBe('data: one\n\n');
    }
    const complete = await within(Promise.all(live.map(({ closed }) => closed)), WAIT_MS, 'the ends at the origin');
    expect(complete).toEqual([false, false, false]);
    expect(await within(scene.daemon.exited, WAIT_MS, 'the exit')).toBe(0);
    expect(scene.daemon.records.all.map(({ taken }) => taken).sort()).toEqual(TAKEN);
  });
});
