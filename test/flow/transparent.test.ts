/**
 * The transparent door (threats 1, 2, 3, 13, 14, 19): a connection to the address that stands for a name. Here the
 * synthetic addresses are of loopback, and the test says which name each stands for; with nft and namespaces: test/jail.
 */
import { once } from 'node:events';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import type { Host } from '../../src/domain/hostname.ts';
import type { SyntheticNames } from '../../src/proxy/transparent.ts';
import { openAgent, startTls, type TlsOptions } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { type Origin, startOrigin } from '../kit/origin.ts';
import { testCa } from '../kit/pki.ts';
import { type ProxyTestOptions, startProxy, type TestProxy } from '../kit/proxy.ts';
import { startRawOrigin } from '../kit/raw-origin.ts';
import { allowHosts, rulesFile } from '../kit/rules.ts';

const ADDRESSES: Readonly<Record<string, string>> = {
  '127.1.0.1': 'api.test',
  '127.1.0.2': 'other.test',
  '127.1.0.3': 'plain.test',
  '127.1.0.4': 'git.test',
};
const NAMELESS = '127.1.0.99';
const ZONE = { 'api.test': '127.0.0.1', 'other.test': '127.0.0.1', 'plain.test': '127.0.0.1', 'git.test': '127.0.0.1' };
const INTERCEPT = `{ id: api, condition: 'http.host == "api.test" && http.path == "/echo"', action: allow, egress: { mode: intercept } }`;

interface TransparentScene extends AsyncDisposable {
  readonly proxy: TestProxy;
  /** A connection to the synthetic address, on the port of the origin. */
  open(address: string): Promise<AgentSocket>;
}

/** The door on every synthetic address, on the port where the origin is on 127.0.0.1. */
async function transparent(
  port: number,
  options: ProxyTestOptions,
  names: SyntheticNames = { hostOf: async (address) => ADDRESSES[address] as Host | undefined },
): Promise<TransparentScene> {
  const stack = new AsyncDisposableStack();
  const proxy = stack.use(await startProxy({ zone: ZONE, ...options }));
  for (const address of [...Object.keys(ADDRESSES), NAMELESS]) {
    const door = net.createServer({ allowHalfOpen: true }, (socket) => proxy.server.acceptTransparent(socket, names));
    stack.defer(() => void door.close());
    door.listen(port, address);
    await once(door, 'listening');
  }
  return {
    proxy,
    open: (address) => openAgent({ port, host: address }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

interface TlsScene extends TransparentScene {
  readonly origin: Origin;
  readonly originCaPem: string;
}

async function tlsScene(options: Partial<ProxyTestOptions> = {}): Promise<TlsScene> {
  const stack = new AsyncDisposableStack();
  const originCa = testCa();
  const origin = stack.use(await startOrigin({ tls: { ca: originCa, names: ['api.test', 'other.test'] } }));
  const scene = stack.use(
    await transparent(origin.port, { rules: allowHosts('api.test'), trust: [originCa.certPem], ...options }),
  );
  return { ...scene, origin, originCaPem: originCa.certPem, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function secure(scene: TransparentScene, address: string, options: TlsOptions): Promise<AgentSocket> {
  const agent = await scene.open(address);
  try {
    return new AgentSocket(await startTls(agent, options), agent.socket);
  } catch (error) {
    await agent[Symbol.asyncDispose]();
    throw error;
  }
}

/** How a connection on which the agent says nothing ends. A reset may come before node tells that it was connected. */
async function endOf(scene: TransparentScene, address: string): Promise<unknown> {
  try {
    await using agent = await scene.open(address);
    return await agent.untilEnded();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

describe('TLS to a synthetic address', () => {
  it('is tunnelled to the name that the address stands for', async () => {
    await using scene = await tlsScene();
    await using agent = await secure(scene, '127.1.0.1', { ca: scene.originCaPem, servername: 'api.test' });
    expect((await agent.request({ target: '/echo', headers: ['Host: api.test'] })).status).toBe(200);
    await agent[Symbol.asyncDispose]();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'allow',
      rule: 'api.test',
      taken: 'tunnel',
      host: 'api.test',
      port: scene.origin.port,
      method: null,
    });
  });

  it('under another name than that of the address reaches nothing, even where a rule allows both', async () => {
    await using scene = await tlsScene({ rules: allowHosts('api.test', 'other.test') });
    const wrong = { ca: scene.originCaPem, servername: 'other.test' };
    await expect(secure(scene, '127.1.0.1', wrong)).rejects.toThrow(/unrecognized name/i);
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'failed',
      reason: 'sni_mismatch',
      host: 'api.test',
    });
    expect([scene.origin.connections, scene.proxy.resolver.queries.count]).toEqual([0, 0]);
    await using right = await secure(scene, '127.1.0.2', wrong);
    expect((await right.request({ target: '/echo', headers: ['Host: other.test'] })).status).toBe(200);
  });

  it('is refused with an alert where no rule allows the name, and nobody outside hears of it', async () => {
    await using scene = await tlsScene();
    await expect(secure(scene, '127.1.0.2', { ca: scene.originCaPem, servername: 'other.test' })).rejects.toThrow(
      /access denied/i,
    );
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'block', rule: 'default', host: 'other.test' });
    expect([scene.origin.connections, scene.proxy.resolver.queries.count]).toEqual([0, 0]);
  });

  it('is intercepted where a rule says so, and each request inside is decided', async () => {
    await using scene = await tlsScene({ ca: true, rules: rulesFile(INTERCEPT) });
    await using agent = await secure(scene, '127.1.0.1', { ca: scene.proxy.caPem, servername: 'api.test' });
    expect((await agent.request({ target: '/echo', headers: ['Host: api.test'] })).status).toBe(200);
    expect((await agent.request({ target: '/other', headers: ['Host: api.test'] })).status).toBe(403);
    expect(scene.origin.requests.count).toBe(1);
  });

  it('is answered with the reason where a rule on the answer is false of it, and with the answer where it is true', async () => {
    const rule = `{ id: json, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept, response: 'http.response.headers["content-type"].startsWith("application/json")' } }`;
    await using scene = await tlsScene({ ca: true, rules: rulesFile(rule) });
    await using agent = await secure(scene, '127.1.0.1', { ca: scene.proxy.caPem, servername: 'api.test' });
    const passed = await agent.request({ target: '/echo', headers: ['Host: api.test'] });
    expect([passed.status, JSON.parse(passed.body.toString())]).toMatchObject([200, { method: 'GET' }]);
    const refused = await agent.request({ target: '/chunked', headers: ['Host: api.test'] });
    expect([refused.status, fieldOf(refused.headers, 'x-outcall-block-reason')]).toEqual([403, 'json']);
    expect(refused.body.toString()).toMatch(/^Blocked by outcall: /);
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(['/echo', '/chunked']);
  });

  it('is let through in audit where no rule allows the name, and recorded; under another name it is still refused', async () => {
    await using scene = await tlsScene({ enforcement: 'audit' });
    const other = await secure(scene, '127.1.0.2', { ca: scene.originCaPem, servername: 'other.test' });
    expect((await other.request({ target: '/echo', headers: ['Host: other.test'] })).status).toBe(200);
    await other[Symbol.asyncDispose]();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'allow',
      host: 'other.test',
      would_block: 'default',
    });
    await expect(secure(scene, '127.1.0.2', { ca: scene.originCaPem, servername: 'api.test' })).rejects.toThrow();
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'sni_mismatch', would_block: 'default' });
    expect(scene.origin.connections).toBe(1);
  });

  it('that is never begun ends at its deadline', async () => {
    await using scene = await tlsScene();
    await using agent = await scene.open('127.1.0.1');
    await agent.send(Buffer.from([22, 3, 1]));
    await scene.proxy.advance(1);
    await scene.proxy.advance(10_001);
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'client_hello_timeout', host: 'api.test' });
  });
});

describe('plain HTTP to a synthetic address', () => {
  const RULES = rulesFile(
    `{ id: plain, condition: 'http.host == "plain.test" && http.path == "/echo"', action: allow }`,
  );

  it('is decided request by request, and serves no other host', async () => {
    await using origin = await startOrigin();
    await using scene = await transparent(origin.port, { rules: RULES });
    await using agent = await scene.open('127.1.0.3');
    const host = `Host: plain.test:${origin.port}`;
    expect((await agent.request({ target: '/echo', headers: [host] })).status).toBe(200);
    expect((await agent.request({ target: '/other', headers: [host] })).status).toBe(403);
    await using stranger = await scene.open('127.1.0.3');
    expect((await stranger.request({ target: '/echo', headers: ['Host: api.test'] })).status).toBe(421);
    expect(origin.requests.count).toBe(1);
  });
});

describe('other protocols to a synthetic address', () => {
  const GREETING = 'SSH-2.0-origin\r\n';
  const direct = (port: number) =>
    rulesFile(
      `{ id: git, condition: 'http.host == "git.test"', action: allow, egress: { mode: direct_ip, ports: [${port}] } }`,
    );

  it('are relayed under direct_ip, though the server speaks first', async () => {
    await using origin = await startRawOrigin({ script: (peer) => peer.send(GREETING) });
    await using scene = await transparent(origin.port, { rules: direct(origin.port) });
    await using agent = await scene.open('127.1.0.4');
    expect((await agent.readUntil('\r\n')).toString()).toBe(GREETING);
    agent.reset();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'allow',
      mode: 'direct_ip',
      taken: 'direct',
      host: 'git.test',
    });
  });

  it('are reset under any other rule, and the origin hears nothing', async () => {
    await using origin = await startRawOrigin({ script: (peer) => peer.send(GREETING) });
    await using scene = await transparent(origin.port, { rules: allowHosts('git.test') });
    await using agent = await scene.open('127.1.0.4');
    await agent.send('\0\0\0\x08\x04\xd2\x16\x2f');
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'not_tls', host: 'git.test' });
    expect(origin.connections).toBe(0);
  });

  it('are cut off when the rule is gone', async () => {
    await using origin = await startRawOrigin({ script: (peer) => peer.send(GREETING) });
    await using scene = await transparent(origin.port, { rules: direct(origin.port) });
    await using agent = await scene.open('127.1.0.4');
    await agent.readUntil('\r\n');
    scene.proxy.reload(allowHosts('git.test'));
    expect(await agent.untilEnded()).toBe('ECONNRESET');
  });
});

describe('an address that stands for no name', () => {
  it('is reset and recorded', async () => {
    await using scene = await tlsScene();
    expect(await endOf(scene, NAMELESS)).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'invalid_host', host: NAMELESS });
    expect(scene.origin.connections).toBe(0);
  });

  it('is what every address is while nobody can say its name', async () => {
    await using origin = await startOrigin();
    const names = { hostOf: () => Promise.reject(new Error('the supervisor is gone')) };
    await using scene = await transparent(origin.port, { rules: allowHosts('plain.test') }, names);
    expect(await endOf(scene, '127.1.0.3')).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'invalid_host' });
    expect(origin.connections).toBe(0);
  });
});

describe('a connection to a synthetic address while no record can be written', () => {
  it('is reset where a rule would have allowed it', async () => {
    await using scene = await tlsScene();
    scene.proxy.auditBlocked = true;
    expect(await endOf(scene, '127.1.0.1')).toBe('ECONNRESET');
    expect(scene.origin.connections).toBe(0);
    scene.proxy.auditBlocked = false;
    await using again = await secure(scene, '127.1.0.1', { ca: scene.originCaPem, servername: 'api.test' });
    expect((await again.request({ target: '/echo', headers: ['Host: api.test'] })).status).toBe(200);
  });
});
