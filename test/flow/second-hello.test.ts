/**
 * A server may ask for a second ClientHello, and serves the name of that one. In a tunnel that is not read it must name whom
 * the first one named (threat 1). Metadata rules: metadata-hidden.test.ts.
 */
import { once } from 'node:events';
import tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import { openTunnel } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { clientHello, pieces } from '../kit/client-hello.ts';
import { startOrigin } from '../kit/origin.ts';
import { testCa } from '../kit/pki.ts';
import { type RawOrigin, startRawOrigin } from '../kit/raw-origin.ts';
import { serverBytes } from '../kit/server-flight.ts';
import { startScene } from './scene.ts';

const CHANGE_CIPHER_SPEC = Buffer.from('140303000101', 'hex');
const ALERT = Buffer.from('15030300020228', 'hex');
const KEPT = 'the first hello';

/** What OpenSSL says to a client whose key shares it takes none of, up to the end of the record. */
async function helloRetryRequest(): Promise<Buffer> {
  const pair = testCa().issue({ names: ['api.test'] });
  const flight = await serverBytes({
    server: { ...pair, ecdhCurve: 'P-384' },
    client: { ecdhCurve: 'X25519:P-384', rejectUnauthorized: false, servername: 'api.test' },
  });
  return flight.subarray(0, 5 + flight.readUInt16BE(3));
}

/** A tunnel to a server that answers the first hello with `flight`; what the server gets is in its peer. */
async function tunnelTo(origin: RawOrigin) {
  const scene = await startScene();
  const agent = await openTunnel(scene.proxy, `api.test:${origin.port}`);
  return { scene, agent };
}

describe('a second ClientHello in a tunnel', () => {
  it('reaches an origin that asks for one, and the session is the client’s own', async () => {
    const ca = testCa();
    await using origin = await startOrigin({ tls: { ca, names: ['api.test'], groups: 'P-384' } });
    await using scene = await startScene();
    const tunnel = await openTunnel(scene.proxy, `api.test:${origin.port}`);
    const socket = tls.connect({
      ...{ socket: tunnel.release(), ca: ca.certPem, servername: 'api.test', ecdhCurve: 'X25519:P-384' },
    });
    await once(socket, 'secureConnect');
    await using agent = new AgentSocket(socket);
    expect((await agent.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
    expect(origin.requests.count).toBe(1);
  });

  it.each([
    { how: 'when it was asked for', early: false, step: 65_536 },
    { how: 'when it was asked for byte by byte', early: false, step: 1 },
    { how: 'before it was asked for', early: true, step: 65_536 },
  ])('$how must name the same server as the first: of another the origin gets no byte', async ({ early, step }) => {
    const [first, same, other] = await Promise.all(
      ['api.test', 'api.test', 'other.test'].map((servername) => clientHello({ servername })),
    );
    const retry = await helloRetryRequest();
    for (const [second, passes] of [
      [same, true],
      [other, false],
    ] as const) {
      await using origin = await startRawOrigin({
        script: async (peer) => {
          await peer.readExactly(first?.length ?? 0);
          await peer.sendPieces(pieces(retry, step));
        },
      });
      const { scene, agent } = await tunnelTo(origin);
      await using _scene = scene;
      await using _agent = agent;
      const said = Buffer.concat([CHANGE_CIPHER_SPEC, second as Buffer]);
      await agent.send(early ? Buffer.concat([first as Buffer, said]) : (first as Buffer));
      const peer = await origin.peers.next();
      if (passes || !early) await agent.readExactly(retry.length);
      if (!early) await agent.send(said);
      if (passes) {
        expect((await peer.readExactly(said.length)).equals(said)).toBe(true);
      } else {
        await agent.untilEnded();
        expect(await scene.proxy.nextRecord()).toMatchObject({
          ...{ event: 'flow', verdict: 'failed', rule: 'api.test', taken: 'tunnel', reason: 'sni_mismatch' },
          detail: 'the second ClientHello names another server than the first',
        });
        await peer.untilEnded();
        expect(peer.received.equals(first as Buffer), KEPT).toBe(true);
      }
    }
  });

  it('cannot hide behind an alert, nor be anything else: the origin gets none of it', async () => {
    const [first, other] = await Promise.all(
      ['api.test', 'other.test'].map((name) => clientHello({ servername: name })),
    );
    const retry = await helloRetryRequest();
    for (const [said, reason] of [
      [Buffer.concat([ALERT, other as Buffer]), 'client_closed'],
      [Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'client_hello_malformed'],
    ] as const) {
      await using origin = await startRawOrigin({
        script: async (peer) => {
          await peer.readExactly(first?.length ?? 0);
          await peer.send(retry);
        },
      });
      const { scene, agent } = await tunnelTo(origin);
      await using _scene = scene;
      await using _agent = agent;
      await agent.send(first as Buffer);
      await agent.readExactly(retry.length);
      await agent.send(said);
      await agent.untilEnded();
      expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason });
      const peer = await origin.peers.next();
      await peer.untilEnded();
      expect(peer.received.equals(first as Buffer), KEPT).toBe(true);
    }
  });
});

describe('what a client says after its hello', () => {
  it('waits for the first words of the origin, and follows then, whatever they are', async () => {
    const hello = await clientHello({ servername: 'api.test' });
    await using origin = await startRawOrigin();
    const { scene, agent } = await tunnelTo(origin);
    await using _scene = scene;
    await using _agent = agent;
    await agent.send(Buffer.concat([hello, Buffer.from('early data')]));
    const peer = await origin.peers.next();
    await peer.readExactly(hello.length);
    await agent.send(' and more');
    await peer.send('220 no TLS here\r\n');
    await agent.readUntil('\r\n');
    expect((await peer.readExactly(19)).toString()).toBe('early data and more');
    expect(peer.receivedBytes).toBe(hello.length + 19);
  });

  it('is nothing where it ends or breaks off: the origin hears of that at once', async () => {
    for (const [leave, heard] of [
      [(agent: AgentSocket) => agent.finish(), 'FIN'],
      [(agent: AgentSocket) => agent.reset(), 'ECONNRESET'],
    ] as const) {
      await using origin = await startRawOrigin();
      const { scene, agent } = await tunnelTo(origin);
      await using _scene = scene;
      await using _agent = agent;
      const hello = await clientHello({ servername: 'api.test' });
      await agent.send(hello);
      const peer = await origin.peers.next();
      await peer.readExactly(hello.length);
      leave(agent);
      expect(await peer.untilEnded()).toBe(heard);
    }
  });
});
