/**
 * Property 3: the proxy dials what its own resolver said of the host, whatever else an agent writes down. A listener on the
 * address that the agent would like better, on the same port, sees nothing.
 */
import { once } from 'node:events';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import { startScene } from '../flow/scene.ts';
import { connectTunnel, openAgent } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { allowHosts } from '../kit/rules.ts';

const ELSEWHERE = '127.0.0.9';

/** Counts connections to another address on a port that an origin has on 127.0.0.1. */
async function listenElsewhere(port: number): Promise<{ connections: number } & AsyncDisposable> {
  const seen = { connections: 0 };
  const server = net.createServer((socket) => {
    seen.connections += 1;
    socket.destroy();
  });
  await once(server.listen(port, ELSEWHERE), 'listening');
  return Object.assign(seen, {
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  });
}

describe('the address that is dialled', () => {
  it.each([
    ['Host', (port: number) => `Host: ${ELSEWHERE}:${port}`],
    ['Forwarded', (port: number) => `Host: api.test\r\nForwarded: host="${ELSEWHERE}:${port}"`],
    ['X-Forwarded-Host', (port: number) => `Host: api.test\r\nX-Forwarded-Host: ${ELSEWHERE}:${port}`],
    ['X-Forwarded-For', () => `Host: api.test\r\nX-Forwarded-For: ${ELSEWHERE}`],
  ])('for a CONNECT is what the resolver said, and not what %s names', async (_, fields) => {
    await using scene = await startScene({ rules: allowHosts('api.test', ELSEWHERE) });
    await using elsewhere = await listenElsewhere(scene.origin.port);
    await using agent = await openAgent(scene.proxy);
    await agent.send(`CONNECT ${scene.api} HTTP/1.1\r\n${fields(scene.origin.port)}\r\n\r\n`);
    expect((await agent.readReply('CONNECT')).status).toBe(200);
    await using direct = await scene.openApi();
    expect((await direct.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
    expect([scene.origin.connections, elsewhere.connections]).toEqual([1, 0]);
    // The listener is where it seems to be: who may go there reaches it.
    await using twin = await connectTunnel(scene.proxy, `${ELSEWHERE}:${scene.origin.port}`);
    expect(twin.reply.status).toBe(200);
    await using probe = new AgentSocket(net.connect(scene.origin.port, ELSEWHERE));
    await probe.untilEnded();
    expect(elsewhere.connections).toBe(1);
  });

  it('for a plain request is what the resolver said, and the record names it', async () => {
    await using scene = await startScene({ rules: allowHosts('plain.test', ELSEWHERE) });
    await using elsewhere = await listenElsewhere(scene.plain.port);
    await using agent = await openAgent(scene.proxy);
    const headers = [`Host: plain.test:${scene.plain.port}`, `X-Forwarded-Host: ${ELSEWHERE}:${scene.plain.port}`];
    expect((await agent.request({ target: `${scene.plainUrl}/`, headers })).status).toBe(200);
    expect(await scene.proxy.nextRecord()).toMatchObject({ host: 'plain.test', upstream: '127.0.0.1' });
    expect([scene.plain.connections, elsewhere.connections]).toEqual([1, 0]);
    await using misdirected = await openAgent(scene.proxy);
    const lie = { target: `${scene.plainUrl}/`, headers: [`Host: ${ELSEWHERE}:${scene.plain.port}`] };
    expect((await misdirected.request(lie)).status).toBe(421);
    expect([scene.plain.connections, elsewhere.connections]).toEqual([1, 0]);
  });
});
