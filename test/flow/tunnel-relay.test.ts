/**
 * What a tunnel does with bytes once it is open (S006): volume both ways under backpressure, half-close, resets, idle
 * time, caps per agent, and reload (threats 33, 37). The same with and without a CA.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { connectTunnel, openAgent, openTunnel } from '../kit/agent.ts';
import type { AgentSocket } from '../kit/agent-socket.ts';
import { pieces } from '../kit/client-hello.ts';
import { type RawOrigin, startRawOrigin } from '../kit/raw-origin.ts';
import { allowHosts, rulesFile } from '../kit/rules.ts';
import { type Scene, startScene, WITH_AND_WITHOUT_CA } from './scene.ts';

const MIB = 1024 * 1024;
const LARGE_BYTES = 32 * MIB;
/**
 * What may be on its way between an origin and an agent that does not read: the send and receive buffers of two TCP
 * connections (Linux: at most 4 and 6 MiB each by default, seldom near it), and what the proxy holds.
 */
const IN_FLIGHT_BYTES_MAX = 14 * MIB;
const PIECE_BYTES = 64 * 1024;
/** Well below what is read at once. */
const SMALL_BYTES = 20 * 1024;
/** Several rounds of sizes from one byte to megabytes. */
const MIXED_BYTES = 16 * MIB;
/** Far beyond what a test takes in real time, on which the test clock runs as well. */
const IDLE_MS = 1_000_000;
const STEP_MS = 100_000;

function directRule(port: number): string {
  return rulesFile(
    `{ id: raw, condition: 'http.host == "raw.test"', action: allow, egress: { mode: direct_ip, ports: [${port}] } }`,
  );
}

interface RawScene extends Scene {
  readonly raw: RawOrigin;
  /** A relayed connection: the agent's end and the origin's end. */
  open(localAddress?: string): Promise<{ readonly agent: AgentSocket; readonly peer: AgentSocket }>;
}

async function startRawScene(options: Parameters<typeof startScene>[0]): Promise<RawScene> {
  const raw = await startRawOrigin();
  const scene = await startScene({ rules: directRule(raw.port), zone: { 'raw.test': '127.0.0.1' }, ...options });
  return {
    ...scene,
    raw,
    open: async (localAddress) => {
      const agent = await openTunnel(
        scene.proxy,
        `raw.test:${raw.port}`,
        localAddress === undefined ? {} : { localAddress },
      );
      await agent.send('hello');
      const peer = await raw.peers.next();
      await peer.readUntil('hello');
      return { agent, peer };
    },
    [Symbol.asyncDispose]: async () => {
      await scene[Symbol.asyncDispose]();
      await raw[Symbol.asyncDispose]();
    },
  };
}

describe.each(WITH_AND_WITHOUT_CA)('bytes in a tunnel, $title', ({ ca }) => {
  it('arrive complete and unchanged, many in both directions', async () => {
    await using scene = await startScene({ ca });
    await using agent = await scene.openApi();
    const down = await agent.request({ target: `/large?bytes=${LARGE_BYTES}`, headers: ['Host: api.test'] });
    expect(down.body.length).toBe(LARGE_BYTES);
    expect(down.body.every((byte) => byte === 0x78)).toBe(true);
    const body = patterned(LARGE_BYTES);
    await agent.request({ method: 'POST', target: '/echo', headers: ['Host: api.test'], body });
    const seen = await scene.origin.requests.some((request) => request.method === 'POST');
    expect(seen.bodySha256).toBe(createHash('sha256').update(body).digest('hex'));
    await agent[Symbol.asyncDispose]();
    const record = await scene.proxy.nextRecord();
    expect(record.bytes_up).toBeGreaterThan(LARGE_BYTES);
    expect(record.bytes_down).toBeGreaterThan(LARGE_BYTES);
  });

  it('wait at the origin while the agent does not read, and another agent is served meanwhile', async () => {
    await using scene = await startScene({ ca });
    await using slow = await scene.openApi();
    slow.socket.pause();
    await slow.send(`GET /large?bytes=${LARGE_BYTES} HTTP/1.1\r\nHost: api.test\r\n\r\n`);
    const request = await scene.origin.heads.next();
    await using fast = await scene.openApi({ localAddress: '127.0.0.2' });
    const reply = await fast.request({ target: `/large?bytes=${LARGE_BYTES}`, headers: ['Host: api.test'] });
    expect(reply.body.length).toBe(LARGE_BYTES);
    expect(request.incoming.socket.bytesWritten).toBeLessThan(IN_FLIGHT_BYTES_MAX);
    slow.socket.resume();
    expect((await slow.readReply()).body.length).toBe(LARGE_BYTES);
  });

  it('are those of their own tunnel, in order, whatever else goes on and however slowly they are read', async () => {
    await using scene = await startRawScene({ ca });
    const tunnels = await Promise.all([scene.open(), scene.open('127.0.0.2'), scene.open('127.0.0.3')]);
    await Promise.all(
      tunnels.map(async ({ agent, peer }, number) => {
        const body = patterned(MIXED_BYTES).subarray(number);
        // Now a few bytes, now more than one read takes.
        const sent = (async () => {
          for (let at = 0, size = 1; at < body.length; at += size, size = size > 2 * MIB ? 1 : 3 * size) {
            await peer.send(body.subarray(at, at + size));
          }
        })();
        for (let at = 0; at < body.length; at += PIECE_BYTES) {
          const wanted = body.subarray(at, at + PIECE_BYTES);
          agent.socket.resume();
          const got = await agent.readExactly(wanted.length);
          agent.socket.pause();
          if (!got.equals(wanted)) throw new Error(`other bytes within ${PIECE_BYTES} of ${at}`);
        }
        await sent;
      }),
    );
  });

  it('that wait for a slow agent are not overwritten by what another tunnel carries', async () => {
    await using scene = await startRawScene({ ca });
    const [slow, other] = await Promise.all([scene.open(), scene.open('127.0.0.2')]);
    slow.agent.socket.pause();
    const body = patterned(IN_FLIGHT_BYTES_MAX);
    // Each piece has been read before the next one comes, so that none of them is large.
    for (const piece of pieces(body, SMALL_BYTES)) {
      slow.peer.socket.write(piece);
      await other.peer.send(Buffer.alloc(SMALL_BYTES, 0xff));
      await other.agent.readExactly(SMALL_BYTES);
    }
    slow.agent.socket.resume();
    expect((await slow.agent.readExactly(body.length)).equals(body)).toBe(true);
  });

  it('wait at the agent while the origin does not read, and all arrive once it does', async () => {
    await using scene = await startRawScene({ ca });
    const { agent, peer } = await scene.open();
    peer.socket.pause();
    const body = patterned(LARGE_BYTES);
    let takenBytes = 0;
    const sent = (async () => {
      for (const piece of pieces(body, PIECE_BYTES)) {
        await agent.send(piece);
        takenBytes += piece.length;
      }
    })();
    await transferMeanwhile(scene);
    expect(takenBytes).toBeGreaterThan(0);
    expect(takenBytes).toBeLessThan(IN_FLIGHT_BYTES_MAX);
    peer.socket.resume();
    expect((await peer.readExactly(LARGE_BYTES)).equals(body)).toBe(true);
    await sent;
  });
});

describe.each(WITH_AND_WITHOUT_CA)('the end of a tunnel, $title', ({ ca }) => {
  it('comes one direction at a time: after a FIN the other direction goes on', async () => {
    await using scene = await startRawScene({ ca });
    const first = await scene.open();
    first.agent.finish();
    expect(await first.peer.untilEnded()).toBe('FIN');
    await first.peer.send('still here');
    expect((await first.agent.readExactly(10)).toString()).toBe('still here');
    first.peer.finish();
    expect(await first.agent.untilEnded()).toBe('FIN');

    const second = await scene.open();
    second.peer.finish();
    expect(await second.agent.untilEnded()).toBe('FIN');
    await second.agent.send('me too');
    expect((await second.peer.readExactly(6)).toString()).toBe('me too');
    second.agent.finish();
    expect(await second.peer.untilEnded()).toBe('FIN');
    for (let i = 0; i < 2; i++) {
      expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', reason: null, taken: 'direct' });
    }
  });

  it('is passed on when it came before the origin was connected: all bytes, and then the FIN', async () => {
    await using scene = await startRawScene({ ca });
    const target = `raw.test:${scene.raw.port}`;
    await using agent = await openAgent(scene.proxy);
    await agent.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\nall of it`);
    agent.finish();
    const peer = await scene.raw.peers.next();
    expect((await peer.readToEnd()).toString()).toBe('all of it');
    expect(peer.ended).toBe('FIN');
    await peer.send('answer');
    peer.finish();
    expect((await agent.readReply('CONNECT')).status).toBe(200);
    expect((await agent.readToEnd()).toString()).toBe('answer');
  });

  it('is a reset at the other side when it was a reset at one, in both directions', async () => {
    await using scene = await startRawScene({ ca });
    const first = await scene.open();
    first.agent.reset();
    expect(await first.peer.untilEnded()).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ detail: 'agent_reset' });
    const second = await scene.open();
    second.peer.reset();
    expect(await second.agent.untilEnded()).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'origin_closed', detail: 'origin_reset' });
    const third = await scene.open();
    third.peer.finish();
    expect(await third.agent.untilEnded()).toBe('FIN');
  });

  it('comes after the idle time for a tunnel without a byte, and not for one with a byte in between', async () => {
    await using scene = await startRawScene({ ca, options: { idleTimeoutMs: IDLE_MS } });
    const idle = await scene.open();
    const busy = await scene.open();
    await scene.proxy.advance(IDLE_MS - STEP_MS);
    await busy.peer.send('tick');
    await busy.agent.readExactly(4);
    await scene.proxy.advance(2 * STEP_MS);
    expect(await idle.agent.untilEnded()).toBe('ECONNRESET');
    expect(await idle.peer.untilEnded()).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'idle_timeout' });
    await busy.agent.send('tock');
    expect((await busy.peer.readExactly(4)).toString()).toBe('tock');
  });

  it('comes with a reload that no longer allows the host, and not where it still does', async () => {
    await using scene = await startRawScene({ ca });
    const { agent, peer } = await scene.open();
    scene.proxy.reload(directRule(scene.raw.port));
    await agent.send('kept');
    expect((await peer.readExactly(4)).toString()).toBe('kept');
    scene.proxy.reload(allowHosts('plain.test'));
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(await peer.untilEnded()).toBe('ECONNRESET');
    await using again = await connectTunnel(scene.proxy, `raw.test:${scene.raw.port}`);
    expect(again.reply.status).toBe(403);
  });

  it('comes with connect_failed and an alert where the origin does not listen', async () => {
    await using scene = await startScene({ ca });
    const { api } = scene;
    await scene.origin[Symbol.asyncDispose]();
    await expect(scene.openApi()).rejects.toThrow();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'failed',
      reason: 'connect_failed',
      host: 'api.test',
    });
    expect(api).toContain('api.test');
  });
});

describe.each(WITH_AND_WITHOUT_CA)('the cap of connections per agent, $title', ({ ca }) => {
  it('refuses one more to the agent that has reached it, leaves others alone, and counts down again', async () => {
    await using scene = await startRawScene({ ca, options: { maxConnectionsPerAgent: 2 } });
    const first = await scene.open();
    await scene.open();
    await using third = await openAgent(scene.proxy);
    const refused = await third.readReply();
    expect(refused.status).toBe(503);
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'agent_limit', agent_ip: '127.0.0.1' });
    const other = await scene.open('127.0.0.2');
    await other.peer.send('served');
    expect((await other.agent.readExactly(6)).toString()).toBe('served');
    first.agent.finish();
    first.peer.finish();
    await once(first.agent.socket, 'close');
    await scene.proxy.nextRecord((record) => record.taken === 'direct');
    await scene.open();
    expect(scene.raw.connections).toBe(4);
  });
});

/** Bytes that tell a lost, doubled or swapped piece. */
function patterned(bytes: number): Buffer {
  const words = new Uint32Array(bytes / 4);
  for (let i = 0; i < words.length; i++) words[i] = i;
  return Buffer.from(words.buffer);
}

/** A whole transfer of another connection, long enough for whatever can move to have moved. */
async function transferMeanwhile(scene: RawScene): Promise<void> {
  const { agent, peer } = await scene.open('127.0.0.2');
  const sent = peer.send(Buffer.alloc(LARGE_BYTES));
  await agent.readExactly(LARGE_BYTES);
  await sent;
}
