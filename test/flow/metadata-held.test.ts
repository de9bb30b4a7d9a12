/**
 * What passes while a metadata rule waits for the server's certificate: the ClientHello, and nothing else in either
 * direction (threats 1, 34, 37). The origin here speaks raw bytes, so that each one that reached it is known.
 */
import { describe, expect, it } from 'vitest';
import { openTunnel } from '../kit/agent.ts';
import type { AgentSocket } from '../kit/agent-socket.ts';
import { clientHello, pieces, splitRecords } from '../kit/client-hello.ts';
import { testCa } from '../kit/pki.ts';
import { startProxy, type TestProxy } from '../kit/proxy.ts';
import { type RawOrigin, type Script, startRawOrigin } from '../kit/raw-origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { serverBytes } from '../kit/server-flight.ts';
import { metadataRule, startMetadataScene } from './metadata-scene.ts';

const ca = testCa();
const leaf = ca.issue({ names: ['api.test'] });
/** A ServerHello of TLS 1.3, whole, and nothing after it. */
const SERVER_HELLO = Buffer.concat([
  Buffer.from('160303004a020000460303', 'hex'),
  Buffer.alloc(32, 7),
  Buffer.from('00', 'hex'),
  Buffer.from('130100001e', 'hex'),
  Buffer.from('002b00020304', 'hex'),
  Buffer.from('00330014001d0010', 'hex'),
  Buffer.alloc(16, 1),
]);
const EARLY = Buffer.from('\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x0bearly bytes', 'latin1');
/** An alert record as the client reads it: access_denied, internal_error. */
const DENIED = '15030300020231';
const FAILED = '15030300020250';

interface RawScene extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly origin: RawOrigin;
  open(): Promise<AgentSocket>;
}

async function startRaw(match: string, script?: Script): Promise<RawScene> {
  const stack = new AsyncDisposableStack();
  const origin = stack.use(await startRawOrigin(script === undefined ? {} : { script }));
  const proxy = stack.use(
    await startProxy({ rules: rulesFile(metadataRule(match)), trust: [ca.certPem], zone: { 'api.test': '127.0.0.1' } }),
  );
  return {
    proxy,
    origin,
    open: () => openTunnel(proxy, `api.test:${origin.port}`),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** How long the hello is that the test client sends. */
const HELLO = await clientHello({ servername: 'api.test' });
const SAN = 'server_san: { exact: [api.test] }';

describe('early data after the ClientHello', () => {
  const answers: Script = async (peer) => {
    await peer.readExactly(HELLO.length);
    await peer.send(SERVER_HELLO);
  };

  it('is held until the rules have decided: it follows where they allow, and is never sent where they refuse', async () => {
    await using allowing = await startRaw(`${SAN}, tls13_uninspectable: allow`, answers);
    await using agent = await allowing.open();
    await agent.send(Buffer.concat([HELLO, EARLY]));
    expect(await agent.readExactly(SERVER_HELLO.length)).toEqual(SERVER_HELLO);
    const peer = await allowing.origin.peers.next();
    expect(await peer.readExactly(EARLY.length)).toEqual(EARLY);
    agent.reset();
    const bytes = { bytes_up: HELLO.length + EARLY.length, bytes_down: SERVER_HELLO.length };
    expect(await allowing.proxy.nextRecord()).toMatchObject({ verdict: 'allow', taken: 'tunnel', ...bytes });

    await using denying = await startRaw(`${SAN}, tls13_uninspectable: deny`, answers);
    await using refused = await denying.open();
    await refused.send(Buffer.concat([HELLO, EARLY]));
    expect((await refused.readExactly(7)).toString('hex')).toBe(DENIED);
    expect(await refused.untilEnded()).toBe('FIN');
    const victim = await denying.origin.peers.next();
    expect(await victim.untilEnded()).toBe('ECONNRESET');
    expect(victim.received).toEqual(HELLO);
    expect(await denying.proxy.nextRecord()).toMatchObject({
      verdict: 'block',
      rule: 'api',
      bytes_up: 0,
      bytes_down: 0,
    });
  });

  it('is told from the hello however that is cut into records and segments', async () => {
    for (const [record, segment] of [
      [1, 400],
      [50, 7],
      [16_384, 1_000],
    ] as const) {
      const hello = splitRecords(HELLO, record);
      await using scene = await startRaw(`${SAN}, tls13_uninspectable: deny`, async (peer) => {
        await peer.readExactly(hello.length);
        await peer.send(SERVER_HELLO);
      });
      await using agent = await scene.open();
      await agent.sendPieces(pieces(Buffer.concat([hello, EARLY]), segment));
      expect((await agent.readExactly(7)).toString('hex')).toBe(DENIED);
      const peer = await scene.origin.peers.next();
      await peer.untilEnded();
      expect(peer.received).toEqual(hello);
    }
  });
});

describe('a server that shows the certificate of another', () => {
  it('and cannot prove that it has the key is refused before the client hears it; the one that can passes', async () => {
    const stolen = await serverBytes({
      server: { ...leaf, maxVersion: 'TLSv1.2' },
      client: { servername: 'api.test', ca: ca.certPem },
    });
    await using scene = await startRaw(SAN, async (peer) => {
      await peer.readExactly(50);
      await peer.send(stolen);
    });
    await using agent = await scene.open();
    const hello = await clientHello({ servername: 'api.test', maxVersion: 'TLSv1.2' });
    await agent.send(Buffer.concat([hello, EARLY]));
    expect((await agent.readExactly(7)).toString('hex')).toBe(FAILED);
    const record = { verdict: 'failed', reason: 'upstream_handshake_failed', detail: 'protocol_error', bytes_down: 0 };
    expect(await scene.proxy.nextRecord()).toMatchObject(record);
    const peer = await scene.origin.peers.next();
    await peer.untilEnded();
    expect(peer.received).toEqual(hello);
    await using honest = await startMetadataScene(metadataRule(SAN), { originCa: ca, certificate: leaf });
    expect(await honest.get({ maxVersion: 'TLSv1.2' })).toBe(200);
  });
});

describe('a server that', () => {
  const afterHello =
    (script: Script): Script =>
    async (peer, ordinal) => {
      await peer.readExactly(HELLO.length);
      await script(peer, ordinal);
    };

  it.each([
    [
      'speaks HTTP',
      afterHello((peer) => peer.send('HTTP/1.1 400 Bad Request\r\n\r\n')),
      'protocol_error: not a TLS handshake',
    ],
    [
      'refuses the handshake',
      afterHello((peer) => peer.send(Buffer.from([21, 3, 3, 0, 2, 2, 40]))),
      'handshake_refused',
    ],
    ['speaks TLS 1.1', afterHello((peer) => peer.send(oldHello())), 'protocol_version'],
    ['resets', afterHello((peer) => peer.reset()), 'reset'],
    ['ends', afterHello((peer) => peer.finish()), 'reset'],
  ])('%s is a failure that says so, and nothing of it reaches the client', async (_, script, detail) => {
    await using scene = await startRaw(SAN, script);
    await using agent = await scene.open();
    await agent.send(Buffer.concat([HELLO, EARLY]));
    expect((await agent.readExactly(7)).toString('hex')).toBe(FAILED);
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'upstream_handshake_failed', detail, rule: 'api' });
    expect((await scene.origin.peers.next()).received).toEqual(HELLO);
  });

  it('says nothing is given up at the deadline', async () => {
    await using scene = await startRaw(SAN);
    await using agent = await scene.open();
    await agent.send(HELLO);
    const peer = await scene.origin.peers.next();
    await peer.readExactly(HELLO.length);
    await scene.proxy.advance(1);
    await scene.proxy.advance(10_001);
    expect((await agent.readExactly(7)).toString('hex')).toBe(FAILED);
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'upstream_handshake_failed', detail: 'timeout' });
    expect(await peer.untilEnded()).toBe('ECONNRESET');
  });
});

describe('new rules', () => {
  it('end a connection that still waits for its certificate where they do not allow its host', async () => {
    await using scene = await startRaw(SAN);
    await using agent = await scene.open();
    await agent.send(HELLO);
    const peer = await scene.origin.peers.next();
    await peer.readExactly(HELLO.length);
    scene.proxy.reload(rulesFile(metadataRule('server_cn: { exact: [x] }')));
    expect(peer.ended).toBeUndefined();
    scene.proxy.reload(rulesFile());
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(await peer.untilEnded()).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'rules_changed' });
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'are asked again with the certificate that was seen: a tunnel that they do not admit any more is reset, in %s',
    async (maxVersion) => {
      const anchors = { 'corp.pem': ca.certPem };
      const rule = (names: string) =>
        rulesFile(metadataRule(`server_san: { exact: [${names}] }, trust_anchors: [corp.pem]`));
      await using scene = await startMetadataScene(metadataRule(`${SAN}, trust_anchors: [corp.pem]`), {
        originCa: ca,
        anchors,
      });
      await using agent = await scene.hold({ maxVersion });
      scene.proxy.reload(rule('api.test, other.test'));
      expect((await agent.request({ target: '/echo', headers: ['Host: api.test'] })).status).toBe(200);
      scene.proxy.reload(rule('other.test'));
      expect(await agent.untilEnded()).toBe('ECONNRESET');
      expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', reason: 'rules_changed' });
      expect(scene.origin.requests.count).toBe(1);
    },
  );
});

/** A ServerHello of TLS 1.1. */
function oldHello(): Buffer {
  const body = Buffer.concat([Buffer.from([3, 2]), Buffer.alloc(32, 7), Buffer.from([0, 0xc0, 0x13, 0])]);
  return Buffer.concat([Buffer.from([22, 3, 2, 0, body.length + 4, 2, 0, 0, body.length]), body]);
}
