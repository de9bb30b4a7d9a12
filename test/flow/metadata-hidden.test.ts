/**
 * Metadata rules where the handshake shows no certificate (TLS 1.3, resumed sessions), or no name, or another (ECH); and
 * what they cost those who have none. Threats 1, 3, 20, 34.
 */
import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { H2Agent, openTunnel, startTls } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { clientHello, withGreaseEch } from '../kit/client-hello.ts';
import { type KeyPair, testCa } from '../kit/pki.ts';
import {
  type ClientOptions,
  type MetadataScene,
  metadataRule,
  startMetadataScene,
  VERSIONS,
} from './metadata-scene.ts';

const MINUTE_MS = 60_000;
const ca = testCa();
const names = ['api.test'];
const SAN = 'server_san: { exact: [api.test] }';
const pin = ({ certPem }: KeyPair) => `fingerprint_sha256: ["${new X509Certificate(certPem).fingerprint256}"]`;
const start = (match: string, options: Parameters<typeof startMetadataScene>[1] = {}) =>
  startMetadataScene(metadataRule(match), { originCa: ca, ...options });

/** The first byte that the server's side says to this hello: 0x16 is a handshake, 0x15 an alert. */
async function firstByte(scene: MetadataScene, hello: Buffer, host = 'api.test'): Promise<number | undefined> {
  await using agent = await openTunnel(scene.proxy, `${host}:${scene.origin.port}`);
  await agent.send(hello);
  return (await agent.readExactly(1))[0];
}

/** As scene.get, until its record is there: then nothing is under way, and the clock may be moved. */
async function got(scene: MetadataScene, options: ClientOptions = {}): Promise<number> {
  try {
    return await scene.get(options);
  } finally {
    await scene.proxy.nextRecord();
  }
}

describe('in TLS 1.3', () => {
  it('a certificate is asked for by a handshake of our own, once a minute', async () => {
    await using scene = await start(SAN);
    for (let i = 1; i <= 3; i++) {
      expect(await got(scene)).toBe(200);
      expect(scene.origin.connections).toBe(i + 1);
    }
    await scene.proxy.advance(MINUTE_MS + 1);
    expect(await got(scene)).toBe(200);
    expect(scene.origin.connections).toBe(6);
  });

  it('tls13_uninspectable: deny refuses, allow lets pass unseen, and neither makes a handshake; TLS 1.2 is inspected', async () => {
    const wrong = 'server_san: { exact: [other.test] }';
    await using deny = await start(`${SAN}, tls13_uninspectable: deny`);
    await expect(deny.get()).rejects.toThrow(/access denied/);
    const record = { verdict: 'block', rule: 'api', detail: expect.stringMatching(/TLS 1\.3 hides/) };
    expect(await deny.proxy.nextRecord()).toMatchObject(record);
    expect([deny.origin.connections, deny.origin.bytes]).toEqual([1, 0]);
    expect(await deny.get({ maxVersion: 'TLSv1.2' })).toBe(200);

    await using allow = await start(`${wrong}, tls13_uninspectable: allow`);
    expect(await allow.get()).toBe(200);
    expect(allow.origin.connections).toBe(1);
    await expect(allow.get({ maxVersion: 'TLSv1.2' })).rejects.toThrow(/access denied/);
    expect(allow.origin.requests.count).toBe(1);
  });

  it('a server that asks for a second ClientHello is tunnelled, and reads the same name in it', async () => {
    await using scene = await start(SAN, { tls: { groups: 'P-384' } });
    expect(await scene.get({ ecdhCurve: 'X25519:P-384' })).toBe(200);
    await using agent = await scene.open();
    await agent.send(await clientHello({ servername: 'api.test' }));
    expect((await agent.readUntil('\x14\x03\x03\x00\x01\x01')).length).toBeGreaterThan(40);
    await agent.send(
      Buffer.concat([Buffer.from('140303000101', 'hex'), await clientHello({ servername: 'other.test' })]),
    );
    expect((await agent.readExactly(7)).toString('hex')).toBe('15030300020250');
    expect(await scene.proxy.nextRecord(({ verdict }) => verdict === 'failed')).toMatchObject({
      reason: 'sni_mismatch',
      detail: 'the second ClientHello names another server than the first',
    });
    expect(scene.origin.secured.all.map(({ sni }) => sni)).not.toContain('other.test');
  });

  it('a certificate that changes within a minute of ours goes unseen, and is seen after it; in TLS 1.2 at once', async () => {
    const [pinned, next] = [ca.issue({ names }), ca.issue({ names })];
    await using scene = await start(pin(pinned), { certificate: pinned });
    expect(await got(scene)).toBe(200);
    expect(await got(scene, { maxVersion: 'TLSv1.2' })).toBe(200);
    scene.origin.present(next);
    expect(await got(scene)).toBe(200);
    await expect(got(scene, { maxVersion: 'TLSv1.2' })).rejects.toThrow(/access denied/);
    await scene.proxy.advance(MINUTE_MS + 1);
    await expect(got(scene)).rejects.toThrow(/access denied/);
    expect(scene.origin.requests.count).toBe(3);
    scene.origin.present(pinned);
    expect(await got(scene, { maxVersion: 'TLSv1.2' })).toBe(200);
  });
});

describe('a resumed session of TLS 1.2', () => {
  it('shows no certificate: probe asks for it, deny refuses, and the full handshake before it is inspected', async () => {
    for (const [tls13, resumed] of [
      ['probe', 200],
      ['deny', 'refused'],
    ] as const) {
      await using scene = await start(`${SAN}, tls13_uninspectable: ${tls13}`);
      let session: Buffer | undefined;
      const options = { maxVersion: 'TLSv1.2', onSession: (ticket: Buffer) => (session = ticket) } as const;
      expect(await scene.get(options)).toBe(200);
      expect(session).toBeDefined();
      const again = await scene.get({ ...options, session: session as unknown as Buffer }).catch(() => 'refused');
      expect(again).toBe(resumed);
      expect(scene.origin.secured.all.some((seen) => seen.resumed)).toBe(tls13 === 'probe');
    }
  });
});

describe('a ClientHello', () => {
  it('without a name is refused, unless the rule says sni_absent: allow; then the host is what the certificate is for', async () => {
    await using refusing = await start(SAN);
    await expect(refusing.get({ servername: '' })).rejects.toThrow(/unrecognized name/i);
    expect(await refusing.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'sni_missing' });
    expect(refusing.origin.connections).toBe(0);
    for (const maxVersion of VERSIONS) {
      await using allowing = await start(`${SAN}, sni_absent: allow`);
      expect(await allowing.get({ servername: '', maxVersion })).toBe(200);
      await using wrong = await start(`server_san: { exact: [other.test] }, sni_absent: allow`, {
        certificate: ca.issue({ names: ['other.test'] }),
      });
      await expect(wrong.get({ servername: '', maxVersion })).rejects.toThrow(/internal error/);
      expect(await wrong.proxy.nextRecord()).toMatchObject({ detail: 'wrong_name' });
    }
  });

  it('with ECH and another outer name is refused with a reason of its own, unless the rule says ech: allow', async () => {
    const hello = withGreaseEch(await clientHello({ servername: 'outer.test' }));
    await using refusing = await start("sni: { regex: '.*' }");
    expect(await firstByte(refusing, hello)).toBe(0x15);
    expect(await refusing.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'ech_unverifiable' });
    expect(refusing.origin.connections).toBe(0);
    await using allowing = await start("sni: { regex: '.*' }, ech: allow");
    expect(await firstByte(allowing, hello)).toBe(0x16);
    // Without ECH the same name is another host, whatever the rule says of ECH.
    expect(await firstByte(allowing, await clientHello({ servername: 'outer.test' }))).toBe(0x15);
    expect(await allowing.proxy.nextRecord(({ verdict }) => verdict === 'failed')).toMatchObject({
      reason: 'sni_mismatch',
    });
  });

  it('with GREASE ECH beside the right name passes', async () => {
    await using scene = await start(SAN);
    expect(await firstByte(scene, withGreaseEch(await clientHello({ servername: 'api.test' })))).toBe(0x16);
  });

  it('may name a server on a connection to an address where the rule matches the name', async () => {
    const rule = (sni: string) =>
      `{ id: ip, condition: 'http.host == "127.0.0.1"', action: allow, egress: { tls: { sni: { exact: [${sni}] } } } }`;
    const get = (scene: MetadataScene) => scene.get({ host: '127.0.0.1', servername: 'api.test' });
    await using good = await startMetadataScene(rule('api.test'), { originCa: ca });
    expect(await get(good)).toBe(200);
    await using bad = await startMetadataScene(rule('other.test'), { originCa: ca });
    await expect(get(bad)).rejects.toThrow(/unrecognized name|access denied/i);
    expect(bad.origin.connections).toBe(0);
  });

  it('says which version and protocols it offers, for tls.version and tls.alpn', async () => {
    const condition = 'http.host == "api.test" && tls.version == "1.3" && "h2" in tls.alpn';
    await using scene = await startMetadataScene(`{ id: new, condition: '${condition}', action: allow }`, {
      originCa: ca,
    });
    const ALPNProtocols = ['h2', 'http/1.1'];
    expect(await scene.get({ ALPNProtocols })).toBe(200);
    await expect(scene.get({ ALPNProtocols, maxVersion: 'TLSv1.2' })).rejects.toThrow(/access denied/);
    await expect(scene.get({ ALPNProtocols: ['http/1.1'] })).rejects.toThrow(/access denied/);
    expect(scene.origin.connections).toBe(1);
  });
});

describe('inside interception', () => {
  it.each([['http/1.1'], ['h2']])(
    'requests over %s are decided by what the ClientHello offered as well',
    async (protocol) => {
      const rule = `{ id: new, condition: 'http.host == "api.test" && http.path == "/echo" && tls.version == "1.3" && "${protocol}" in tls.alpn', action: allow, egress: { mode: intercept } }`;
      await using scene = await startMetadataScene(rule, { originCa: ca, ca: true, tls: { alpn: ['h2', 'http/1.1'] } });
      const status = async (maxVersion: (typeof VERSIONS)[number]): Promise<number> => {
        await using under = await scene.open();
        const socket = await startTls(under, {
          ca: scene.proxy.caPem,
          servername: 'api.test',
          maxVersion,
          alpn: [protocol],
        });
        if (protocol === 'h2') {
          await using agent = new H2Agent(socket, 'api.test');
          return (await agent.request({ ':path': '/echo', ':authority': `api.test:${scene.origin.port}` })).status;
        }
        await using agent = new AgentSocket(socket, under.socket);
        return (await agent.request({ target: '/echo', headers: ['Host: api.test'] })).status;
      };
      expect(await status('TLSv1.3')).toBe(200);
      expect(await status('TLSv1.2').catch((error: Error) => error.message)).toMatch(/access denied/);
      expect(scene.origin.requests.count).toBe(1);
    },
  );

  it('a block rule on the version blocks the requests of the clients that offer it, and no other', async () => {
    const rules = [
      `{ id: old, condition: 'http.host == "api.test" && http.method == "GET" && tls.version == "1.2"', action: block }`,
      `{ id: look, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept } }`,
    ];
    await using scene = await startMetadataScene(rules, { originCa: ca, ca: true });
    expect(await scene.get()).toBe(200);
    expect(await scene.get({ maxVersion: 'TLSv1.2' })).toBe(403);
    expect(scene.origin.requests.count).toBe(1);
  });
});

describe('rules beside a metadata rule', () => {
  it('decide what it does not: another certificate leads to interception, for a client that has noticed nothing yet', async () => {
    const pinned = ca.issue({ names });
    const rules = [
      metadataRule(pin(pinned)),
      `{ id: look, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept } }`,
    ];
    const shows = (certificate: KeyPair) =>
      startMetadataScene(rules, { originCa: ca, certificate, ca: { algorithm: 'ecdsa' } });
    await using right = await shows(pinned);
    await using wrong = await shows(ca.issue({ names }));
    for (const maxVersion of VERSIONS) {
      expect(await issuerSeen(right, ca.certPem, maxVersion)).toBe('Outcall test CA');
      expect(await issuerSeen(wrong, wrong.proxy.caPem, maxVersion)).not.toBe('Outcall test CA');
    }
    expect(right.origin.requests.count + wrong.origin.requests.count).toBe(2 * VERSIONS.length);
  });

  it('of one host cost the others nothing: no handshake of ours, and a tunnel as ever', async () => {
    const rules = [metadataRule(SAN), `{ id: other, condition: 'http.host == "other.test"', action: allow }`];
    await using scene = await startMetadataScene(rules, { originCa: ca });
    expect(await scene.get({ host: 'other.test' })).toBe(200);
    expect(scene.origin.connections).toBe(1);
    await using sniOnly = await start('sni: { exact: [api.test] }');
    expect(await sniOnly.get()).toBe(200);
    expect(sniOnly.origin.connections).toBe(1);
  });
});

async function issuerSeen(
  scene: MetadataScene,
  trusted: string,
  maxVersion: (typeof VERSIONS)[number],
): Promise<string> {
  await using under = await scene.open();
  const socket = await startTls(under, { ca: trusted, servername: 'api.test', maxVersion });
  await using agent = new AgentSocket(socket, under.socket);
  const { issuer } = socket.getPeerCertificate();
  expect((await agent.request({ target: '/echo', headers: ['Host: api.test'] })).status).toBe(200);
  return issuer.CN as string;
}
