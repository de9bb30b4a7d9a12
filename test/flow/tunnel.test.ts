/**
 * CONNECT through the explicit proxy (S006), the same with and without a CA (S011-FR-022, SC-002): who gets a tunnel,
 * to what, and what the ClientHello must say (threats 1, 4, 13, 18, 25). Relaying itself is in tunnel-relay.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { connectTunnel, openAgent, openHttps, openTunnel, startTls } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { clientHello, cutFirstFlight, pieces, splitRecords } from '../kit/client-hello.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { startRawOrigin } from '../kit/raw-origin.ts';
import { allowHosts, rulesFile } from '../kit/rules.ts';
import { NOTHING_WENT_OUT, startScene, untouched, WITH_AND_WITHOUT_CA } from './scene.ts';

/** Far beyond what a test takes in real time, on which the test clock runs as well. */
const HELLO_DEADLINE_MS = 1_000_000;
const STEP_MS = 100_000;

describe.each(WITH_AND_WITHOUT_CA)('CONNECT, $title', ({ ca }) => {
  it('tunnels to a host that a rule allows and hands the client its own TLS with the origin', async () => {
    await using scene = await startScene({ ca });
    await using agent = await scene.openApi();
    const reply = await agent.request({ target: '/echo', headers: ['Host: api.test'] });
    expect(reply.status).toBe(200);
    expect(JSON.parse(reply.body.toString())).toMatchObject({ sni: 'api.test', connection: 1 });
    await agent[Symbol.asyncDispose]();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      event: 'flow',
      verdict: 'allow',
      rule: 'api.test',
      taken: 'tunnel',
      reason: null,
      host: 'api.test',
      port: scene.origin.port,
      agent_ip: '127.0.0.1',
      upstream: '127.0.0.1',
    });
    expect(scene.proxy.records.count).toBe(1);
  });

  it('refuses a host that no rule allows with 403, and neither the origin nor the resolver hears of it', async () => {
    await using scene = await startScene({ ca });
    await using refused = await connectTunnel(scene.proxy, scene.other);
    expect(refused.reply.status).toBe(403);
    expect(fieldOf(refused.reply.headers, 'x-outcall-block-reason')).toBe('default');
    expect(refused.reply.body.toString()).toMatch(/^Blocked by outcall: /);
    expect(await refused.agent.untilEnded()).toBe('FIN');
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'block', rule: 'default', host: 'other.test' });
    await using allowed = await connectTunnel(scene.proxy, scene.api);
    expect(allowed.reply.status).toBe(200);
    expect(scene.proxy.resolver.asked('api.test')).toBeGreaterThan(0);
  });

  it('names the rule that blocks, as text or as JSON for who accepts JSON', async () => {
    const block = '{ id: no-api, priority: 1, condition: \'http.host == "api.test"\', action: block }';
    await using scene = await startScene({
      ca,
      rules: rulesFile(block, '{ id: all, condition: "true", action: allow }'),
    });
    await using text = await connectTunnel(scene.proxy, scene.api);
    expect(fieldOf(text.reply.headers, 'x-outcall-block-reason')).toBe('no-api');
    expect(fieldOf(text.reply.headers, 'content-type')).toMatch(/^text\/plain/);
    await using json = await connectTunnel(scene.proxy, scene.api, { headers: ['Accept: application/json'] });
    expect(JSON.parse(json.reply.body.toString())).toMatchObject({ rule: 'no-api' });
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    await using other = await connectTunnel(scene.proxy, scene.other);
    expect(other.reply.status).toBe(200);
  });

  it('decides by agent: the same CONNECT is allowed to one source address and refused to another', async () => {
    const rule = '{ id: one, condition: \'agent.ip == "127.0.0.1" && http.host == "api.test"\', action: allow }';
    await using scene = await startScene({ ca, rules: rulesFile(rule) });
    await using other = await connectTunnel(scene.proxy, scene.api, { localAddress: '127.0.0.2' });
    expect(other.reply.status).toBe(403);
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    await using one = await connectTunnel(scene.proxy, scene.api);
    expect(one.reply.status).toBe(200);
  });

  it('answers 502 dns_failed for an allowed name that does not exist, before any 200', async () => {
    await using scene = await startScene({ ca, rules: allowHosts('gone.test', 'api.test') });
    await using gone = await connectTunnel(scene.proxy, 'gone.test:443');
    expect([gone.reply.status, fieldOf(gone.reply.headers, 'x-outcall-failure-reason')]).toEqual([502, 'dns_failed']);
    await using api = await connectTunnel(scene.proxy, scene.api);
    expect(api.reply.status).toBe(200);
  });
});

describe.each(WITH_AND_WITHOUT_CA)('the ClientHello in a tunnel, $title', ({ ca }) => {
  it('must name the CONNECT host: another name is refused and the origin sees no connection', async () => {
    await using scene = await startScene({ ca, rules: allowHosts('api.test', 'other.test') });
    await expect(scene.openApi({ servername: 'other.test' })).rejects.toThrow();
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'sni_mismatch', taken: 'none' });
    expect(scene.origin.connections).toBe(0);
    await using same = await scene.openApi({ servername: 'API.test' });
    expect((await same.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
  });

  it('must name a server at all where the CONNECT host has a dot; addresses and dotless names may go without', async () => {
    await using scene = await startScene({
      ca,
      rules: allowHosts('api.test', '127.0.0.1', 'localhost'),
      zone: { localhost: '127.0.0.1' },
    });
    const anonymous = { ca: scene.originCa.certPem, servername: '' };
    await expect(openHttps(scene.proxy, scene.api, { ...anonymous, verifyName: 'api.test' })).rejects.toThrow();
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'sni_missing' });
    expect(scene.origin.connections).toBe(0);
    for (const host of ['127.0.0.1', 'localhost']) {
      const target = `${host}:${scene.origin.port}`;
      await using agent = await openHttps(scene.proxy, target, { ...anonymous, verifyName: host });
      expect((await agent.request({ target: '/', headers: [`Host: ${host}`] })).status).toBe(200);
    }
  });

  it.each([
    { record: 1, segment: 1 },
    { record: 1, segment: 65_536 },
    { record: 65_536, segment: 1 },
    { record: 3, segment: 5 },
    { record: 100, segment: 37 },
  ])(
    'is read whole in records of $record and segments of $segment bytes: the right name passes, another does not',
    async ({ record, segment }) => {
      await using scene = await startScene({ ca });
      const cut = (hello: Buffer) => pieces(splitRecords(hello, record), segment);
      const handshake = async (servername: string) => {
        const tunnel = await openTunnel(scene.proxy, scene.api);
        const wire = cutFirstFlight(tunnel.release(), cut);
        return new AgentSocket(await startTls(wire, { ca: scene.originCa.certPem, servername }));
      };
      await expect(handshake('other.test')).rejects.toThrow();
      expect(scene.origin.connections).toBe(0);
      await using agent = await handshake('api.test');
      expect((await agent.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
    },
  );

  it('must be whole by an absolute deadline, which bytes that drip in do not move', async () => {
    await using scene = await startScene({
      ca,
      options: { helloTimeoutMs: HELLO_DEADLINE_MS, idleTimeoutMs: 2 * HELLO_DEADLINE_MS },
    });
    const hello = await clientHello({ servername: 'api.test' });
    await using late = await openTunnel(scene.proxy, scene.api);
    await using intime = await openTunnel(scene.proxy, scene.api);
    for (const agent of [late, intime]) await agent.send(hello.subarray(0, 100));
    await scene.proxy.advance(HELLO_DEADLINE_MS - 2 * STEP_MS);
    await late.send(hello.subarray(100, 101));
    await intime.send(hello.subarray(100));
    expect((await intime.readExactly(1))[0]).toBe(0x16); // The origin's ServerHello.
    await scene.proxy.advance(3 * STEP_MS);
    expect(await late.untilEnded()).toMatch(/ECONNRESET|FIN/);
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'client_hello_timeout', verdict: 'failed' });
    expect(scene.origin.connections).toBe(1);
    expect(intime.ended).toBeUndefined();
  });

  it('is refused when it never ends, long before memory is at stake', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openTunnel(scene.proxy, scene.api);
    // A handshake message that claims 16 MiB, in records of 16 KiB, for ever.
    const record = Buffer.concat([Buffer.from([0x16, 3, 1, 0x40, 0]), Buffer.alloc(0x4000)]);
    record.set([1, 0xff, 0xff, 0xff], 5);
    const flood = (async () => {
      for (let i = 0; i < 64 && agent.ended === undefined; i++) await agent.send(record);
    })().catch(() => undefined);
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'client_hello_malformed' });
    await agent.untilEnded();
    await flood;
    expect(scene.origin.connections).toBe(0);
    await using good = await scene.openApi();
    expect((await good.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
  });
});

describe.each(WITH_AND_WITHOUT_CA)('what is not TLS in a tunnel, $title', ({ ca }) => {
  it('is refused for a protocol that is neither TLS nor HTTP, and passes only under a direct_ip rule', async () => {
    await using banner = await startRawOrigin({ script: async (peer) => peer.send('+OK ready\r\n') });
    const direct = `{ id: raw, condition: 'http.host == "raw.test"', action: allow, egress: { mode: direct_ip, ports: [${banner.port}] } }`;
    const tunnel = `{ id: plain, condition: 'http.host == "api.test"', action: allow }`;
    await using scene = await startScene({ ca, rules: rulesFile(direct, tunnel), zone: { 'raw.test': '127.0.0.1' } });
    await using refused = await openTunnel(scene.proxy, `api.test:${banner.port}`);
    await refused.send(Buffer.from([0, 1, 2, 3]));
    await refused.untilEnded();
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'not_tls', host: 'api.test' });
    expect(banner.connections).toBe(0);
    // The server speaks first here: a direct relay waits for no ClientHello.
    await using allowed = await openTunnel(scene.proxy, `raw.test:${banner.port}`);
    expect((await allowed.readUntil('\r\n')).toString()).toBe('+OK ready\r\n');
    await using otherPort = await connectTunnel(scene.proxy, `raw.test:${scene.plain.port}`);
    expect(otherPort.reply.status).toBe(403);
  });

  it('is decided request by request when it is plain HTTP, as through the other doors', async () => {
    const rule =
      '{ id: get, condition: \'http.host == "plain.test" && (http.method == "CONNECT" || http.path == "/echo")\', action: allow }';
    await using scene = await startScene({ ca, rules: rulesFile(rule) });
    const host = `plain.test:${scene.plain.port}`;
    await using agent = await openTunnel(scene.proxy, host);
    const allowed = await agent.request({ target: '/echo', headers: [`Host: ${host}`] });
    expect(allowed.status).toBe(200);
    const blocked = await agent.request({ target: '/secret', headers: [`Host: ${host}`] });
    expect([blocked.status, fieldOf(blocked.headers, 'x-outcall-block-reason')]).toEqual([403, 'default']);
    expect(scene.plain.requests.all.map((request) => request.url)).toEqual(['/echo']);
  });

  it('cannot name another host than the tunnel in plain HTTP: 421, and the origin hears nothing', async () => {
    await using scene = await startScene({ ca, rules: allowHosts('plain.test', 'other.test') });
    await using agent = await openTunnel(scene.proxy, `plain.test:${scene.plain.port}`);
    const reply = await agent.request({ target: '/', headers: ['Host: other.test'] });
    expect([reply.status, fieldOf(reply.headers, 'x-outcall-failure-reason')]).toEqual([421, 'misdirected_request']);
    expect(scene.plain.connections).toBe(0);
    await using twin = await openTunnel(scene.proxy, `plain.test:${scene.plain.port}`);
    expect((await twin.request({ target: '/', headers: [`Host: plain.test:${scene.plain.port}`] })).status).toBe(200);
  });

  it.each([
    ['a nested CONNECT', 'CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n', 405],
    ['a nested CONNECT to the same host', 'CONNECT plain.test:1 HTTP/1.1\r\nHost: plain.test\r\n\r\n', 405],
    ['an HTTP/2 preface in plaintext', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['an ssh banner', 'SSH-2.0-OpenSSH_9.2\r\n\r\n', 400],
  ])('refuses %s', async (_, bytes, status) => {
    await using scene = await startScene({ ca });
    await using agent = await openTunnel(scene.proxy, `plain.test:${scene.plain.port}`);
    await agent.send(bytes);
    expect((await agent.readReply()).status).toBe(status);
    expect(scene.plain.connections).toBe(0);
    await using twin = await openTunnel(scene.proxy, `plain.test:${scene.plain.port}`);
    expect((await twin.request({ target: '/', headers: [`Host: plain.test:${scene.plain.port}`] })).status).toBe(200);
  });
});

describe.each(WITH_AND_WITHOUT_CA)('the address behind a name, $title', ({ ca }) => {
  it.each([
    ['loopback', '127.0.0.1'],
    ['a private network', '10.1.2.3'],
    ['link-local', '169.254.10.10'],
    ['the metadata service', '169.254.169.254'],
    ['IPv6 loopback', '::1'],
    ['a unique local address', 'fd00:ec2::254'],
    ['IPv4 mapped into IPv6', '::ffff:127.0.0.1'],
    ['NAT64', '64:ff9b::7f00:1'],
    ['unspecified', '0.0.0.0'],
  ])('is refused when it is %s, directly and through an alias', async (_, address) => {
    const zone = { 'api.test': address, 'alias.test': { cname: 'api.test' } };
    await using scene = await startScene({ ca, zone, allowPrivate: [], rules: allowHosts('api.test', 'alias.test') });
    for (const name of ['api.test', 'alias.test']) {
      await using tunnel = await connectTunnel(scene.proxy, `${name}:${scene.origin.port}`);
      expect([tunnel.reply.status, fieldOf(tunnel.reply.headers, 'x-outcall-failure-reason')]).toEqual([
        403,
        'address_refused',
      ]);
    }
    expect(scene.origin.connections).toBe(0);
  });

  it('may be loopback where --allow-private names it, and then the same CONNECT goes through', async () => {
    await using scene = await startScene({ ca, allowPrivate: ['127.0.0.0/8'] });
    await using agent = await scene.openApi();
    expect((await agent.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
  });

  it('is looked up once per flow and judged anew each time: a name that rebinds gains nothing', async () => {
    const turns = ['127.0.0.1', '169.254.169.254', '127.0.0.1'];
    await using scene = await startScene({
      ca,
      zone: {
        'api.test': (query, ordinal) => ({
          addresses: query.type === 'A' ? [turns[(ordinal - 1) % turns.length] as string] : [],
          ttlSeconds: 0,
        }),
      },
    });
    const questions = () => scene.proxy.resolver.queries.all.filter((query) => query.type === 'A').length;
    await using first = await scene.openApi();
    expect((await first.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
    expect(questions()).toBe(1);
    await using second = await connectTunnel(scene.proxy, scene.api);
    expect(second.reply.status).toBe(403);
    await using third = await scene.openApi();
    expect((await third.request({ target: '/', headers: ['Host: api.test'] })).status).toBe(200);
    expect([questions(), scene.origin.connections]).toEqual([3, 2]);
  });

  it('answers for IP literals only where a rule names the address', async () => {
    await using scene = await startScene({ ca, rules: allowHosts('127.0.0.1') });
    await using allowed = await connectTunnel(scene.proxy, `127.0.0.1:${scene.origin.port}`);
    expect(allowed.reply.status).toBe(200);
    for (const target of [
      `127.0.0.2:${scene.origin.port}`,
      `[::1]:${scene.origin.port}`,
      `localhost:${scene.origin.port}`,
    ]) {
      await using refused = await connectTunnel(scene.proxy, target);
      expect(refused.reply.status).toBe(403);
    }
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
  });
});

describe.each(WITH_AND_WITHOUT_CA)('the explicit port, $title', ({ ca }) => {
  it('answers its health check and nothing else by itself', async () => {
    await using scene = await startScene({ ca });
    await using health = await openAgent(scene.proxy);
    const reply = await health.request({ target: '/outcall-health', headers: ['Host: proxy'] });
    expect(reply.status).toBe(200);
    for (const target of ['/', '/metrics', '/v1/status', '/outcall-health/x']) {
      await using agent = await openAgent(scene.proxy);
      expect((await agent.request({ target, headers: ['Host: proxy'] })).status).toBe(400);
    }
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
  });
});
