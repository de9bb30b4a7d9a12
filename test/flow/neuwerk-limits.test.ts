/**
 * What Neuwerk's guide to TLS lists as limits of its own, shown to be none here: peers and origins over IPv6, and protocols
 * other than HTTP inside TLS.
 */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { openTunnel, startTls } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { startOrigin } from '../kit/origin.ts';
import { testCa } from '../kit/pki.ts';
import { startProxy } from '../kit/proxy.ts';
import { startRawOrigin } from '../kit/raw-origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { metadataRule } from './metadata-scene.ts';

const ca = testCa();
const INTERCEPT = `{ id: look, condition: 'http.host == "six.test" && http.method == "GET"', action: allow, egress: { mode: intercept } }`;
const METADATA = metadataRule('server_san: { exact: [api.test] }');
const zone = { 'six.test': '::1', 'api.test': '::1' };

describe('over IPv6', () => {
  it('agents are intercepted and tunnelled by certificate, to origins over IPv6, and refused as over IPv4', async () => {
    await using origin = await startOrigin({ host: '::1', tls: { ca, names: ['six.test', 'api.test'] } });
    await using proxy = await startProxy({
      rules: rulesFile(INTERCEPT, METADATA),
      ca: true,
      trust: [ca.certPem],
      zone,
      allowPrivate: ['::1/128'],
    });
    const door = net.createServer({ allowHalfOpen: true }, (socket) => proxy.server.accept(socket));
    door.listen(0, '::1');
    await once(door, 'listening');
    const ask = async (host: string, trusted: string, method: string): Promise<number> => {
      const address = { host: '::1', port: (door.address() as AddressInfo).port };
      await using under = await openTunnel(address, `${host}:${origin.port}`);
      await using agent = new AgentSocket(await startTls(under, { ca: trusted, servername: host }), under.socket);
      return (await agent.request({ method, target: '/echo', headers: [`Host: ${host}`] })).status;
    };
    expect(await ask('six.test', proxy.caPem, 'GET')).toBe(200);
    expect(await ask('six.test', proxy.caPem, 'DELETE')).toBe(403);
    expect(await ask('api.test', ca.certPem, 'GET')).toBe(200);
    expect(origin.requests.count).toBe(2);
    expect(await proxy.nextRecord()).toMatchObject({ agent_ip: '::1', upstream: '::1', taken: 'intercept' });
    door.close();
  });
});

describe('a protocol other than HTTP inside TLS', () => {
  it('is tunnelled under a metadata rule, the server first, and reaches no origin where its certificate is another', async () => {
    const greeting = '* OK IMAP ready\r\n';
    const tls = { ca, names: ['api.test'] };
    await using origin = await startRawOrigin({ tls, script: (peer) => peer.send(greeting) });
    for (const [match, allowed] of [
      ['api.test', true],
      ['mail.test', false],
    ] as const) {
      await using proxy = await startProxy({
        rules: rulesFile(metadataRule(`server_san: { exact: [${match}] }`)),
        trust: [ca.certPem],
        zone: { 'api.test': '127.0.0.1' },
      });
      await using under = await openTunnel(proxy, `api.test:${origin.port}`);
      const before = origin.bytes;
      if (!allowed) {
        await expect(startTls(under, { ca: ca.certPem, servername: 'api.test' })).rejects.toThrow(/access denied/);
        expect(origin.bytes).toBe(before);
        continue;
      }
      await using agent = new AgentSocket(
        await startTls(under, { ca: ca.certPem, servername: 'api.test' }),
        under.socket,
      );
      expect((await agent.readUntil('\r\n')).toString()).toBe(greeting);
      await agent.send('a LOGOUT\r\n');
      await origin.peers.all.at(-1)?.readUntil('LOGOUT\r\n');
      expect(origin.bytes).toBe(before + 'a LOGOUT\r\n'.length);
    }
  });
});
