/**
 * The proxy's own TLS with the origin (S011-FR-008, FR-017; threats 18, 34): an origin that does not verify never stands
 * behind a good leaf. Its client reads a 502 inside TLS, the operator reads why, and the origin gets no application byte.
 */
import { describe, expect, it } from 'vitest';
import { connectTunnel, openHttps } from '../kit/agent.ts';
import { type KeyPair, type TestCa, testCa } from '../kit/pki.ts';
import { type Script, startRawOrigin } from '../kit/raw-origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { ask, type InterceptScene, interceptRule, refusalOf, startInterceptScene } from './intercept-scene.ts';

const DAY_MS = 86_400_000;
const NAMES = ['api.test'];
const HANDSHAKE_DEADLINE_MS = 200;

const daysFromNow = (days: number) => new Date(Date.now() + days * DAY_MS);

/** The failing exchange in full: what the agent reads, what is recorded, what reached the origin. */
async function expectUnverified(scene: InterceptScene, detail: string): Promise<void> {
  for (const method of ['GET', 'POST']) {
    await using agent = await scene.open();
    const reply = await ask(agent, '/', method === 'POST' ? { method, body: 'secret' } : {});
    expect(refusalOf(reply)).toEqual([502, 'upstream_handshake_failed']);
    expect(reply.body.toString()).not.toContain(detail);
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'failed',
      reason: 'upstream_handshake_failed',
      detail,
      status: 502,
      rule: 'api',
      host: 'api.test',
      subsystem: 'proxy_intercept',
    });
  }
  expect([scene.origin.bytes, scene.origin.heads.count]).toEqual([0, 0]);
}

describe('an origin whose certificate does not verify', () => {
  it.each<readonly [string, string, (ca: TestCa) => KeyPair]>([
    [
      'has expired',
      'expired',
      (ca) => ca.issue({ names: NAMES, notAfter: daysFromNow(-1), notBefore: daysFromNow(-2) }),
    ],
    ['is not valid yet', 'not_yet_valid', (ca) => ca.issue({ names: NAMES, notBefore: daysFromNow(1) })],
    ['is for another name', 'wrong_name', (ca) => ca.issue({ names: ['other.test'] })],
    ['is for a parent of the name', 'wrong_name', (ca) => ca.issue({ names: ['test'] })],
    ['is for clients', 'invalid_certificate', (ca) => ca.issue({ names: NAMES, clientAuth: true })],
    ['is signed by itself', 'self_signed', (ca) => ca.issue({ names: NAMES, selfSigned: true })],
    ['is of a CA that nobody trusts', 'unknown_ca', () => testCa('elsewhere').issue({ names: NAMES })],
    [
      'comes without its intermediate',
      'unknown_ca',
      (ca) => withoutChain(ca.intermediate('middle').issue({ names: NAMES })),
    ],
  ])('because it %s: 502 upstream_handshake_failed (%s), and not a byte for the origin', async (_, detail, issue) => {
    const ca = testCa();
    await using scene = await startInterceptScene({ tls: { ca, certificate: issue(ca) } });
    await expectUnverified(scene, detail);
  });

  it('is served once it verifies, through an intermediate too', async () => {
    const ca = testCa();
    for (const issuer of [ca, ca.intermediate('middle')]) {
      await using scene = await startInterceptScene({ tls: { ca, certificate: issuer.issue({ names: NAMES }) } });
      await using agent = await scene.open();
      expect((await ask(agent, '/')).status).toBe(200);
      expect(scene.origin.requests.count).toBe(1);
    }
  });

  it('is refused to a client of TLS 1.2 and of TLS 1.3 alike', async () => {
    await using scene = await startInterceptScene({ trust: [] });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      await using agent = await scene.open({ maxVersion });
      expect(refusalOf(await ask(agent, '/'))).toEqual([502, 'upstream_handshake_failed']);
    }
    expect(scene.origin.bytes).toBe(0);
  });

  it('answers what policy refuses with the refusal, not with the failure', async () => {
    const rules = rulesFile(interceptRule('api', 'http.host == "api.test" && http.method == "GET"'));
    await using scene = await startInterceptScene({ rules, trust: [] });
    await using blocked = await scene.open();
    expect(refusalOf(await ask(blocked, '/', { method: 'PUT', body: '' }))).toEqual([403, 'default']);
    await using failed = await scene.open();
    expect(refusalOf(await ask(failed, '/'))).toEqual([502, 'upstream_handshake_failed']);
    expect(scene.origin.bytes).toBe(0);
  });
});

describe('trust_anchors of a rule', () => {
  const anchored = rulesFile(interceptRule('api', 'http.host == "api.test"', ', trust_anchors: [corp.pem]'));

  it('let an origin of that CA pass, and no other', async () => {
    const ca = testCa();
    await using trusted = await startInterceptScene({
      rules: anchored,
      tls: { ca },
      trust: [],
      anchors: { 'corp.pem': ca.certPem },
    });
    await using agent = await trusted.open();
    expect((await ask(agent, '/')).status).toBe(200);
    await using elsewhere = await startInterceptScene({
      rules: anchored,
      tls: { ca },
      trust: [],
      anchors: { 'corp.pem': testCa().certPem },
    });
    await expectUnverified(elsewhere, 'unknown_ca');
  });

  it('make up for no other fault of a certificate', async () => {
    const ca = testCa();
    await using scene = await startInterceptScene({
      rules: anchored,
      tls: { ca, certificate: ca.issue({ names: ['other.test'] }) },
      trust: [],
      anchors: { 'corp.pem': ca.certPem },
    });
    await expectUnverified(scene, 'wrong_name');
  });

  it('are not carried over to a rule without them: neither the connection nor what was learnt by it', async () => {
    const ca = testCa();
    await using scene = await startInterceptScene({
      rules: anchored,
      tls: { ca },
      trust: [],
      anchors: { 'corp.pem': ca.certPem },
    });
    await using open = await scene.open();
    expect((await ask(open, '/')).status).toBe(200);
    scene.proxy.reload(rulesFile(interceptRule('api', 'http.host == "api.test"')));
    const { bytes } = scene.origin;
    expect(refusalOf(await ask(open, '/'))).toEqual([502, 'upstream_handshake_failed']);
    await using fresh = await scene.open();
    expect(refusalOf(await ask(fresh, '/'))).toEqual([502, 'upstream_handshake_failed']);
    expect(scene.origin.bytes).toBe(bytes);
  });
});

describe('S011-EC-010: an origin that requires a client certificate', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'over %s is 502 upstream_handshake_failed under intercept, and works end to end under proxy',
    async (version) => {
      const clients = testCa('clients');
      const tunnelled = `{ id: tunnel, condition: 'http.host == "other.test"', action: allow }`;
      const rules = rulesFile(interceptRule('api', 'http.host == "api.test"'), tunnelled);
      const tls = { requireClientCert: clients, minVersion: version, maxVersion: version };
      await using scene = await startInterceptScene({ rules, tls });
      await expectUnverified(scene, 'client_certificate_required');
      const client = clients.issue({ names: ['agent'], clientAuth: true });
      const target = `other.test:${scene.origin.port}`;
      await using direct = await openHttps(scene.proxy, target, { ca: scene.originCa.certPem, client });
      expect((await direct.request({ target: '/', headers: ['Host: other.test'] })).status).toBe(200);
    },
  );
});

describe('an origin that does not get as far as a certificate', () => {
  it('because it speaks no TLS, resets, or closes: 502 with its own detail', async () => {
    const scripts: readonly (readonly [Script, string])[] = [
      [(peer) => peer.send('HTTP/1.1 400 Bad Request\r\n\r\n'), 'not_tls'],
      [(peer) => peer.readExactly(1).then(() => peer.reset()), 'reset'],
      [(peer) => peer.readExactly(1).then(() => peer.finish()), 'reset'],
    ];
    for (const [script, detail] of scripts) {
      await using raw = await startRawOrigin({ script });
      await using scene = await startInterceptScene();
      await using agent = await scene.open({ target: `api.test:${raw.port}` });
      expect(refusalOf(await ask(agent, '/'))).toEqual([502, 'upstream_handshake_failed']);
      expect(await scene.proxy.nextRecord()).toMatchObject({ detail, reason: 'upstream_handshake_failed' });
    }
  });

  it('because it never answers the ClientHello: 502 after the deadline of a connection', async () => {
    await using raw = await startRawOrigin();
    await using scene = await startInterceptScene({ upstream: { connectTimeoutMs: HANDSHAKE_DEADLINE_MS } });
    await using agent = await scene.open({ target: `api.test:${raw.port}` });
    expect(refusalOf(await ask(agent, '/'))).toEqual([502, 'upstream_handshake_failed']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ detail: 'timeout' });
  });

  it('because nobody listens: 502 connect_failed inside TLS, and 200 where somebody does', async () => {
    await using scene = await startInterceptScene();
    const closed = await startRawOrigin();
    await closed[Symbol.asyncDispose]();
    await using agent = await scene.open({ target: `api.test:${closed.port}` });
    expect(refusalOf(await ask(agent, '/'))).toEqual([502, 'connect_failed']);
    await using twin = await scene.open();
    expect((await ask(twin, '/')).status).toBe(200);
  });
});

describe('an intercepted host with a private address', () => {
  it('is refused at CONNECT, before anything is dialled or signed, unless --allow-private names it', async () => {
    await using scene = await startInterceptScene({ allowPrivate: [] });
    await using tunnel = await connectTunnel(scene.proxy, scene.api);
    expect(refusalOf(tunnel.reply)).toEqual([403, 'address_refused']);
    expect([scene.origin.connections, scene.proxy.signer?.minted.count]).toEqual([0, 0]);
    await using twin = await startInterceptScene({ allowPrivate: ['127.0.0.0/8'] });
    await using agent = await twin.open();
    expect((await ask(agent, '/')).status).toBe(200);
  });

  it('is admitted by allow_private_ips of the rule where it is of a private network, and never for metadata', async () => {
    const zone = { 'api.test': '10.255.0.1', 'other.test': '169.254.169.254' };
    const statusWith = async (egress: string, host: string) => {
      const rules = rulesFile(interceptRule('all', 'domain(http.host, "test")', egress));
      await using scene = await startInterceptScene({ rules, zone, allowPrivate: [] });
      await using tunnel = await connectTunnel(scene.proxy, `${host}:443`);
      return tunnel.reply.status;
    };
    expect(await statusWith('', 'api.test')).toBe(403);
    expect(await statusWith(', allow_private_ips: true', 'api.test')).toBe(200);
    expect(await statusWith(', allow_private_ips: true', 'other.test')).toBe(403);
  });

  it('is judged anew when a request dials: a name that rebinds after CONNECT gains nothing', async () => {
    const turns = ['127.0.0.1', '127.0.0.1', '169.254.169.254'];
    const zone = {
      'api.test': (query: { readonly type: string }, ordinal: number) => ({
        addresses: query.type === 'A' ? [turns[ordinal - 1] ?? '169.254.169.254'] : [],
        ttlSeconds: 0,
      }),
    };
    await using scene = await startInterceptScene({ zone });
    await using agent = await scene.open();
    expect((await ask(agent, '/', { headers: ['Connection: keep-alive'] })).status).toBe(200);
    scene.origin.dropConnections();
    await scene.origin.closed.atLeast(1);
    expect(refusalOf(await ask(agent, '/'))).toEqual([403, 'address_refused']);
    expect([scene.origin.connections, scene.origin.requests.count]).toEqual([1, 1]);
  });
});

function withoutChain(pair: KeyPair): KeyPair {
  const end = '-----END CERTIFICATE-----\n';
  return { ...pair, certPem: pair.certPem.slice(0, pair.certPem.indexOf(end) + end.length) };
}
