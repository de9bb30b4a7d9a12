import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import { lateHandshakeFailure } from '../../../src/upstream/tls-failure.ts';
import type { UpstreamTls } from '../../../src/upstream/upstream.ts';
import { type OriginTls, startOrigin } from '../../kit/origin.ts';
import { type TestCa, testCa } from '../../kit/pki.ts';
import { type Script, startRawOrigin } from '../../kit/raw-origin.ts';
import { startResolver } from '../../kit/resolver.ts';
import { within } from '../../kit/within.ts';
import { failureOf, type RequestOverrides, requestFor, TestClock, testUpstream } from './support.ts';

const HOST = 'origin.test';
const DAY_MS = 24 * 3_600_000;
const ca = testCa();
const otherCa = testCa('Another CA');

describe('Upstream.dialTls verifies the origin', () => {
  it('takes a certificate for the name, from a known root, in its time', async () => {
    await using site = await fixture({ names: [HOST] });
    const session = await site.dial();
    expect(session.socket.authorized).toBe(true);
    expect(session.address).toBe('127.0.0.1');
    expect(await site.origin.secured.next()).toEqual({ sni: HOST, resumed: false });
  });

  it.each<readonly [string, Partial<OriginTls>]>([
    ['wrong_name', { names: ['other.test'] }],
    ['wrong_name', { names: [`sub.${HOST}`] }],
    ['wrong_name', { names: ['127.0.0.1'] }],
    ['unknown_ca', { ca: otherCa }],
    ['self_signed', { certificate: ca.issue({ names: [HOST], selfSigned: true }) }],
    ['expired', { certificate: ca.issue({ names: [HOST], notBefore: days(-30), notAfter: days(-1) }) }],
    ['not_yet_valid', { certificate: ca.issue({ names: [HOST], notBefore: days(1), notAfter: days(2) }) }],
    ['invalid_certificate', { certificate: ca.issue({ names: [HOST], clientAuth: true }) }],
  ])('refuses a certificate that is %s before the origin sees a byte: %j', async (detail, certificate) => {
    await using site = await fixture({ names: [HOST], ...certificate });
    expect(await failureOf(site.dial())).toBe(`upstream_handshake_failed: ${detail}`);
    await site.origin.closed.next();
    expect(site.origin.bytes).toBe(0);
    await using good = await fixture({ names: [HOST] });
    expect((await good.dial()).socket.authorized).toBe(true);
  });

  it('takes an intermediate that the origin sends along', async () => {
    await using site = await fixture({ names: [HOST], ca: ca.intermediate('Between') });
    expect((await site.dial()).socket.authorized).toBe(true);
  });

  it('adds the trust anchors of the rule for that rule alone', async () => {
    await using site = await fixture({ names: [HOST], ca: otherCa });
    expect((await site.dial({ trustAnchors: [otherCa.certPem] })).socket.authorized).toBe(true);
    expect(await failureOf(site.dial())).toBe('upstream_handshake_failed: unknown_ca');
    expect(await failureOf(site.dial({ trustAnchors: [testCa('A third CA').certPem] }))).toMatch(/unknown_ca$/);
    const another = { agentIp: '10.203.0.9', trustAnchors: [otherCa.certPem] };
    expect((await site.dial(another)).socket.isSessionReused()).toBe(false);
  });

  it('verifies an origin that is named by its address for that address, and sends no SNI', async () => {
    await using site = await fixture({ names: ['127.0.0.1'] });
    await site.upstream.dialTls(requestFor('127.0.0.1', site.origin.port), ['http/1.1']);
    expect((await site.origin.secured.next()).sni).toBeUndefined();
    await using named = await fixture({ names: [HOST, '127.0.0.2'] });
    const dialled = named.upstream.dialTls(requestFor('127.0.0.1', named.origin.port), ['http/1.1']);
    expect(await failureOf(dialled)).toBe('upstream_handshake_failed: wrong_name');
  });
});

describe('Upstream.dialTls tells failures apart', () => {
  it('says client_certificate_required where a TLS 1.2 origin wants one', async () => {
    await using site = await fixture({ names: [HOST], requireClientCert: otherCa, maxVersion: 'TLSv1.2' });
    expect(await failureOf(site.dial())).toBe('upstream_handshake_failed: client_certificate_required');
  });

  it('lets the late alert of a TLS 1.3 origin be told as client_certificate_required', async () => {
    await using site = await fixture({ names: [HOST], requireClientCert: otherCa });
    const session = await site.dial();
    session.socket.write('GET / HTTP/1.1\r\n\r\n');
    const error = await within(new Promise((resolve) => session.socket.once('error', resolve)), 5_000, 'the alert');
    expect(lateHandshakeFailure(error)?.message).toBe('upstream_handshake_failed: client_certificate_required');
    expect(site.origin.bytes).toBe(0);
  });

  it('says protocol_version where the origin speaks TLS 1.1 at most, and speaks TLS 1.2 itself', async () => {
    await using old = await plainTlsServer({
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1',
      ciphers: 'DEFAULT:@SECLEVEL=0',
    });
    expect(await failureOf(old.dial(['http/1.1']))).toBe('upstream_handshake_failed: protocol_version');
    await using site = await fixture({ names: [HOST], maxVersion: 'TLSv1.2' });
    expect((await site.dial()).socket.getProtocol()).toBe('TLSv1.2');
  });

  it('says handshake_refused where no cipher is shared', async () => {
    await using site = await plainTlsServer({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' });
    expect(await failureOf(site.dial(['http/1.1']))).toBe('upstream_handshake_failed: handshake_refused');
  });

  it('says not_tls where the origin answers in clear', async () => {
    await using site = await rawFixture((peer) => peer.send('HTTP/1.1 400 Bad Request\r\n\r\n'));
    expect(await failureOf(site.dial())).toBe('upstream_handshake_failed: not_tls');
  });

  it('says reset where the origin breaks off', async () => {
    await using reset = await rawFixture(async (peer) => {
      await peer.readExactly(1);
      peer.reset();
    });
    expect(await failureOf(reset.dial())).toBe('upstream_handshake_failed: reset');
    await using closed = await rawFixture(async (peer) => {
      await peer.readExactly(1);
      peer.finish();
    });
    expect(await failureOf(closed.dial())).toBe('upstream_handshake_failed: reset');
  });

  it('says timeout where the origin keeps silent, and closes the connection', async () => {
    await using site = await rawFixture(() => undefined, 100);
    expect(await failureOf(site.dial())).toBe('upstream_handshake_failed: timeout');
    const peer = await site.origin.peers.next();
    await peer.untilEnded();
    expect(peer.received.length).toBeGreaterThan(0);
  });

  it('gives up when the caller does', async () => {
    await using site = await rawFixture(() => undefined);
    const caller = new AbortController();
    const failure = failureOf(site.dial(caller.signal));
    await site.origin.peers.next();
    caller.abort();
    expect(await within(failure, 2_000, 'the handshake to be given up')).toBe('client_closed');
  });
});

describe('Upstream.dialTls and ALPN', () => {
  it.each([
    [['h2', 'http/1.1'], ['h2', 'http/1.1'], 'h2'],
    [['http/1.1'], ['h2', 'http/1.1'], 'http/1.1'],
    [['h2', 'http/1.1'], ['http/1.1'], 'http/1.1'],
  ] as const)('from an origin of %j, offered %j, gets %s', async (speaks, offer, alpn) => {
    await using site = await fixture({ names: [HOST], alpn: speaks });
    expect((await site.dial({}, offer)).alpn).toBe(alpn);
  });

  it('takes an origin that knows no ALPN for HTTP/1.1', async () => {
    await using site = await plainTlsServer({});
    expect((await site.dial(['h2', 'http/1.1'])).alpn).toBe('http/1.1');
  });

  it('says alpn_mismatch where the origin takes none of the offer, by an alert or by its silence', async () => {
    await using alerting = await fixture({ names: [HOST], alpn: ['http/1.1'] });
    expect(await failureOf(alerting.dial({}, ['h2']))).toMatch(/^alpn_mismatch/);
    await using silent = await plainTlsServer({});
    expect(await failureOf(silent.dial(['h2']))).toBe('alpn_mismatch: the origin speaks http/1.1');
    expect((await silent.dial(['http/1.1'])).alpn).toBe('http/1.1');
  });

  it('knows what an origin chose when h2 was on offer, for ten minutes', async () => {
    await using site = await fixture({ names: [HOST], alpn: ['h2', 'http/1.1'] });
    await site.dial({}, ['http/1.1']);
    expect(site.known()).toBeUndefined();
    await site.dial({}, ['h2', 'http/1.1']);
    expect(site.known()).toBe('h2');
    site.clock.advance(10 * 60_000 - 1);
    expect(site.known()).toBe('h2');
    site.clock.advance(1);
    expect(site.known()).toBeUndefined();
  });

  it('knows nothing of an origin that was not verified under the same trust', async () => {
    await using site = await fixture({ names: [HOST], ca: otherCa, alpn: ['h2', 'http/1.1'] });
    const trusting = { trustAnchors: [otherCa.certPem] };
    await site.dial(trusting, ['h2', 'http/1.1']);
    expect(site.known(trusting)).toBe('h2');
    expect(site.known({})).toBeUndefined();
    expect(site.known({ ...trusting, agentIp: '10.203.0.9' })).toBe('h2');
  });

  it('forgets what it knew when a handshake fails', async () => {
    await using site = await fixture({ names: [HOST], alpn: ['http/1.1'] });
    await site.dial({}, ['h2', 'http/1.1']);
    expect(site.known()).toBe('http/1.1');
    expect(await failureOf(site.dial({}, ['h2']))).toMatch(/^alpn_mismatch/);
    expect(site.known()).toBeUndefined();
  });
});

describe('Upstream.dialTls and session resumption', () => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'resumes with %s for the same agent and origin, and for no other agent',
    async (version) => {
      await using site = await fixture({ names: [HOST], minVersion: version, maxVersion: version });
      await site.exchange();
      await site.exchange();
      await site.exchange({ agentIp: '10.203.0.9' });
      expect(site.origin.secured.all.map(({ resumed }) => resumed)).toEqual([false, true, false]);
    },
  );

  it('does not resume under other trust what other trust had verified', async () => {
    await using site = await fixture({ names: [HOST], ca: otherCa });
    await site.exchange({ trustAnchors: [otherCa.certPem] });
    expect(await failureOf(site.dial())).toBe('upstream_handshake_failed: unknown_ca');
    await site.exchange({ trustAnchors: [otherCa.certPem] });
    expect(site.origin.secured.all.map(({ resumed }) => resumed).at(-1)).toBe(true);
  });

  it('verifies the certificate afresh once an hour', async () => {
    await using site = await fixture({ names: [HOST] });
    await site.exchange();
    site.clock.advance(3_600_000);
    await site.exchange();
    expect(site.origin.secured.all.map(({ resumed }) => resumed)).toEqual([false, false]);
  });
});

async function fixture(tlsOptions: Partial<OriginTls> & { readonly names: readonly string[] }) {
  const dns = await startResolver({ [HOST]: '127.0.0.1' });
  const origin = await startOrigin({ tls: { ca, ...tlsOptions } });
  const clock = new TestClock();
  const upstream = testUpstream({ dnsServers: [dns.address], upstreamCaPem: [ca.certPem], clock });
  const open: UpstreamTls[] = [];
  const dial = async (overrides: RequestOverrides = {}, offer: readonly ('h2' | 'http/1.1')[] = ['http/1.1']) => {
    const session = await upstream.dialTls(requestFor(HOST, origin.port, overrides), offer);
    open.push(session);
    return session;
  };
  return {
    origin,
    upstream,
    clock,
    dial,
    known: (overrides: RequestOverrides = {}) => upstream.knownAlpn(requestFor(HOST, origin.port, overrides)),
    /** One request and its answer, so that the tickets of TLS 1.3 have come; then the connection is closed. */
    async exchange(overrides: RequestOverrides = {}) {
      const { socket } = await dial(overrides);
      socket.end(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
      socket.resume();
      await within(once(socket, 'close'), 5_000, 'the exchange');
    },
    async [Symbol.asyncDispose]() {
      for (const { socket } of open) socket.destroy();
      upstream.close();
      await Promise.all([origin[Symbol.asyncDispose](), dns[Symbol.asyncDispose]()]);
    },
  };
}

async function rawFixture(script: Script, connectTimeoutMs = 5_000) {
  const origin = await startRawOrigin({ script });
  const upstream = testUpstream({ connectTimeoutMs });
  return {
    origin,
    dial: (signal?: AbortSignal) => upstream.dialTls(requestFor('127.0.0.1', origin.port), ['http/1.1'], { signal }),
    async [Symbol.asyncDispose]() {
      upstream.close();
      await origin[Symbol.asyncDispose]();
    },
  };
}

/** A TLS server that knows no ALPN. */
async function plainTlsServer(options: tls.TlsOptions, issuer: TestCa = ca) {
  const pair = issuer.issue({ names: ['127.0.0.1'] });
  const connections: Socket[] = [];
  const server = tls.createServer({ key: pair.keyPem, cert: pair.certPem, ...options }, (socket) => {
    socket.on('error', () => undefined);
  });
  server.on('connection', (socket: Socket) => connections.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const upstream = testUpstream({ upstreamCaPem: [issuer.certPem] });
  return {
    dial: (offer: readonly ('h2' | 'http/1.1')[]) =>
      upstream.dialTls(requestFor('127.0.0.1', (server.address() as AddressInfo).port), offer),
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function days(count: number): Date {
  return new Date(Date.now() + count * DAY_MS);
}
