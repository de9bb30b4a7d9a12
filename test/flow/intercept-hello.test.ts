/**
 * From the ClientHello to a decrypted connection: the name it must carry, however it is cut, and what the client and the
 * origin can speak (S011-FR-007, FR-009; threats 1, 2, 20). Asserted at the origin: what is refused brings it no byte.
 */
import { once } from 'node:events';
import type tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import { H2Agent, type H2Reply, openAgent, openTunnel, startTls } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { clientHello, cutFirstFlight, pieces, splitRecords, withGreaseEch } from '../kit/client-hello.ts';
import { rulesFile } from '../kit/rules.ts';
import { ask, type InterceptScene, interceptRule, refusalOf, startInterceptScene } from './intercept-scene.ts';

const ALL = rulesFile(interceptRule('all', 'http.host != "nowhere.test"'));

describe('the server name of an intercepted connection', () => {
  it('must be the CONNECT host: another that is allowed too gets no leaf, and the origin no connection', async () => {
    await using scene = await startInterceptScene({ rules: ALL });
    await expect(scene.open({ servername: 'other.test' })).rejects.toThrow();
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'sni_mismatch' });
    expect([scene.origin.connections, scene.proxy.signer?.minted.count]).toEqual([0, 0]);
    await using same = await scene.open({ servername: 'API.test' });
    expect((await ask(same, '/')).status).toBe(200);
  });

  it('must be there for a name with a dot; addresses and names without one get the leaf of the CONNECT host', async () => {
    await using scene = await startInterceptScene({ rules: ALL });
    await expect(scene.open({ servername: '', verifyName: 'api.test' })).rejects.toThrow();
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'sni_missing' });
    expect(scene.origin.connections).toBe(0);
    for (const host of ['localhost', '127.0.0.1']) {
      const target = `${host}:${scene.origin.port}`;
      await using agent = await scene.open({ target, servername: '', verifyName: host });
      expect((await agent.request({ target: '/', headers: [`Host: ${host}`] })).status).toBe(200);
    }
    expect(scene.origin.requests.all.map(({ sni }) => sni)).toEqual(['localhost', undefined]);
    expect(scene.proxy.signer?.minted.all).toEqual(['localhost', '127.0.0.1']);
  });

  it('is the one that the origin is told and verified for', async () => {
    await using scene = await startInterceptScene({ rules: ALL, tls: { names: ['api.test'] } });
    await using agent = await scene.open({ target: `other.test:${scene.origin.port}` });
    const reply = await agent.request({ target: '/', headers: ['Host: other.test'] });
    expect(refusalOf(reply)).toEqual([502, 'upstream_handshake_failed']);
    expect(scene.origin.bytes).toBe(0);
    await using twin = await scene.open();
    expect((await ask(twin, '/')).status).toBe(200);
    expect(scene.origin.secured.all.at(-1)?.sni).toBe('api.test');
  });
});

describe('the ClientHello of an intercepted connection', () => {
  it.each([
    { record: 1, segment: 1 },
    { record: 65_536, segment: 1 },
    { record: 7, segment: 65_536 },
    { record: 100, segment: 37 },
  ])('is read whole in records of $record and segments of $segment bytes', async ({ record, segment }) => {
    await using scene = await startInterceptScene();
    const handshake = async (servername: string) => {
      const tunnel = await openTunnel(scene.proxy, scene.api);
      const wire = cutFirstFlight(tunnel.release(), (hello) => pieces(splitRecords(hello, record), segment));
      return new AgentSocket(await startTls(wire, { ca: scene.proxy.caPem, servername }));
    };
    await expect(handshake('other.test')).rejects.toThrow();
    expect(scene.origin.connections).toBe(0);
    await using agent = await handshake('api.test');
    expect((await ask(agent, '/')).status).toBe(200);
  });

  it('may come with the CONNECT in one segment', async () => {
    await using scene = await startInterceptScene();
    const hello = await clientHello({ servername: 'api.test' });
    await using agent = await openTunnelWith(scene.proxy, scene.api, hello);
    // A handshake record: our ServerHello.
    expect((await agent.readExactly(1))[0]).toBe(0x16);
    const bad = await clientHello({ servername: 'other.test' });
    await using refused = await openTunnelWith(scene.proxy, scene.api, bad);
    // An alert record.
    expect((await refused.readExactly(1))[0]).toBe(0x15);
  });

  it('may carry a GREASE encrypted_client_hello, as browsers send it, and is still answered for its outer name', async () => {
    await using scene = await startInterceptScene();
    const answer = async (servername: string) => {
      const hello = withGreaseEch(await clientHello({ servername }));
      await using agent = await openTunnelWith(scene.proxy, scene.api, hello);
      return (await agent.readExactly(1))[0];
    };
    expect(await answer('api.test')).toBe(0x16);
    expect(await answer('other.test')).toBe(0x15);
    expect(await scene.proxy.nextRecord(({ reason }) => reason === 'ech_unverifiable')).toBeDefined();
  });
});

describe('S011-EC-002: the protocol that is spoken', () => {
  it('is HTTP/1.1 for a client that offers both, before an origin that speaks no other', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open({ alpn: ['h2', 'http/1.1'] });
    expect((agent.socket as tls.TLSSocket).alpnProtocol).toBe('http/1.1');
    expect((await ask(agent, '/')).status).toBe(200);
    expect((await scene.origin.nextRequest()).httpVersion).toBe('1.1');
  });

  it('is HTTP/1.1 for a client without ALPN, even before an origin that would rather speak h2', async () => {
    await using scene = await startInterceptScene({ tls: { alpn: ['h2', 'http/1.1'] } });
    await using agent = await scene.open();
    expect((agent.socket as tls.TLSSocket).alpnProtocol).toBe(false);
    expect((await ask(agent, '/')).status).toBe(200);
    expect((await scene.origin.nextRequest()).httpVersion).toBe('1.1');
  });

  it.each([
    ['http/1.1 alone', ['http/1.1']],
    ['nothing', undefined],
  ])('is none for a client that offers %s to an origin of h2 alone: 502 alpn_mismatch inside TLS', async (_, alpn) => {
    const options = alpn === undefined ? {} : { alpn };
    await using scene = await startInterceptScene({ tls: { alpn: ['h2'] } });
    await using agent = await scene.open(options);
    expect(refusalOf(await ask(agent, '/'))).toEqual([502, 'alpn_mismatch']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'alpn_mismatch', verdict: 'failed', status: 502 });
    expect(scene.origin.bytes).toBe(0);
    await using both = await startInterceptScene({ tls: { alpn: ['h2', 'http/1.1'] } });
    await using twin = await both.open(options);
    expect((await ask(twin, '/')).status).toBe(200);
  });

  it.each([
    ['names http/1.1', ['http/1.1']],
    ['knows no ALPN', []],
  ] as const)(
    'is none for a client that offers h2 alone to an origin that %s: 502 alpn_mismatch in h2',
    async (_, alpn) => {
      await using scene = await startInterceptScene({ tls: { alpn: [...alpn] } });
      const reply = await getByH2(scene);
      expect([reply.status, reply.headers['x-outcall-failure-reason']]).toEqual([502, 'alpn_mismatch']);
      expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'alpn_mismatch', verdict: 'failed', status: 502 });
      expect(scene.origin.bytes).toBe(0);
      await using both = await startInterceptScene({ tls: { alpn: ['h2', 'http/1.1'] } });
      expect((await getByH2(both)).status).toBe(200);
    },
  );

  it('stays the same for later clients, which cost the origin no dial of their own', async () => {
    await using scene = await startInterceptScene();
    for (let i = 0; i < 3; i++) {
      await using agent = await scene.open({ alpn: ['h2', 'http/1.1'] });
      expect((await ask(agent, `/${i}`)).status).toBe(200);
      await agent[Symbol.asyncDispose]();
      await scene.proxy.records.atLeast(i + 1);
    }
    expect(scene.origin.connections).toBe(1);
  });
});

describe('the TLS version', () => {
  it('S011-EC-009: may be 1.2 at the client, 1.3 at the origin, and the other way round', async () => {
    for (const [client, origin] of [
      ['TLSv1.2', 'TLSv1.3'],
      ['TLSv1.3', 'TLSv1.2'],
    ] as const) {
      await using scene = await startInterceptScene({ tls: { minVersion: origin, maxVersion: origin } });
      await using agent = await scene.open({ maxVersion: client, alpn: ['h2', 'http/1.1'] });
      expect((agent.socket as tls.TLSSocket).getProtocol()).toBe(client);
      expect((agent.socket as tls.TLSSocket).alpnProtocol).toBe('http/1.1');
      expect((await ask(agent, '/')).status).toBe(200);
    }
  });

  it('is never 1.1 or older, at either side', async () => {
    await using scene = await startInterceptScene();
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' } as const;
    await expect(scene.open(old)).rejects.toThrow();
    expect(scene.origin.bytes).toBe(0);
    await using twin = await scene.open({ maxVersion: 'TLSv1.2' });
    expect((await ask(twin, '/')).status).toBe(200);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    '%s sessions are resumed, and decided afresh all the same',
    async (version) => {
      const rules = rulesFile(interceptRule('get', 'http.host == "api.test" && http.method == "GET"'));
      await using scene = await startInterceptScene({ rules });
      await using first = await scene.open({ maxVersion: version });
      const socket = first.socket as tls.TLSSocket;
      const told = version === 'TLSv1.3' ? once(socket, 'session') : undefined;
      expect((await ask(first, '/')).status).toBe(200);
      const session = told === undefined ? socket.getSession() : ((await told)[0] as Buffer);
      await using second = await scene.open({ maxVersion: version, session: session as Buffer });
      expect((second.socket as tls.TLSSocket).isSessionReused()).toBe(true);
      expect((await ask(second, '/')).status).toBe(200);
      expect((await ask(second, '/', { method: 'PUT', body: '' })).status).toBe(403);
      expect(scene.origin.requests.count).toBe(2);
    },
  );

  it('never lets a session of one host stand for another', async () => {
    await using scene = await startInterceptScene({ rules: ALL });
    await using first = await scene.open({ maxVersion: 'TLSv1.2' });
    const session = (first.socket as tls.TLSSocket).getSession() as Buffer;
    await using other = await scene.open({
      target: `other.test:${scene.origin.port}`,
      maxVersion: 'TLSv1.2',
      session,
    });
    const socket = other.socket as tls.TLSSocket;
    expect(socket.isSessionReused()).toBe(false);
    expect(socket.getPeerCertificate().subjectaltname).toBe('DNS:other.test');
  });
});

async function getByH2(scene: InterceptScene): Promise<H2Reply> {
  const tunnel = await openTunnel(scene.proxy, scene.api);
  const secure = await startTls(tunnel, { ca: scene.proxy.caPem, servername: 'api.test', alpn: ['h2'] });
  await using agent = new H2Agent(secure, 'api.test');
  return await agent.request({ ':path': '/' });
}

async function openTunnelWith(door: { readonly port: number }, target: string, first: Buffer): Promise<AgentSocket> {
  const agent = await openAgent(door);
  await agent.send(Buffer.concat([Buffer.from(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`), first]));
  await agent.readUntil('\r\n\r\n');
  return agent;
}
