/**
 * Clients that do not go through with our handshake: no trust in the CA, pinned certificates, gone, or silent. Each is
 * recorded as what it is, and the origin gets no application byte (S011-EC-001, EC-003, FR-007; threat 37).
 */
import { describe, expect, it } from 'vitest';
import { openTunnel } from '../kit/agent.ts';
import { clientHello } from '../kit/client-hello.ts';
import { testCa } from '../kit/pki.ts';
import { hasProgram, run } from '../kit/run.ts';
import { TempFolder } from '../kit/temp.ts';
import { ask, type InterceptScene, startInterceptScene } from './intercept-scene.ts';

const DEADLINE_MS = 10_000;
/** The proxy looks at deadlines at intervals; a step past one makes it due. */
const STEP_MS = 1_000;

/** RFC 8446 section 6: alert descriptions that a client sends because of a certificate. */
const ALERTS = { bad_certificate: 42, certificate_unknown: 46, unknown_ca: 48, handshake_failure: 40 } as const;

const PYTHON = `
import http.client, ssl, sys
proxy, target, ca = int(sys.argv[1]), sys.argv[2], sys.argv[3]
host, port = target.split(":")
c = http.client.HTTPSConnection("127.0.0.1", proxy, context=ssl.create_default_context(cafile=ca))
c.set_tunnel(host, int(port))
c.request("GET", "/")
print(c.getresponse().read().decode())
`;

interface Client {
  readonly command: string;
  /** Trusting the CA file and no other. */
  readonly args: (scene: InterceptScene, ca: string) => readonly string[];
  readonly input?: (scene: InterceptScene) => string;
}

const CLIENTS: readonly Client[] = [
  {
    command: 'curl',
    args: (scene, ca) => [
      ...['-sS', '--proxy', `http://127.0.0.1:${scene.proxy.port}`, '--cacert', ca],
      `https://${scene.api}/`,
    ],
  },
  { command: 'python3', args: (scene, ca) => ['-c', PYTHON, String(scene.proxy.port), scene.api, ca] },
  {
    command: 'openssl',
    args: (scene, ca) => [
      ...['s_client', '-quiet', '-verify_return_error', '-CAfile', ca, '-servername', 'api.test'],
      ...['-proxy', `127.0.0.1:${scene.proxy.port}`, '-connect', scene.api],
    ],
    input: () => 'GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n',
  },
];

describe.each(CLIENTS)('S011-EC-003: $command', ({ command, args, input }) => {
  it.skipIf(!hasProgram(command))(
    'fails on its own without the CA, recorded as untrusted_ca, and works with it',
    async () => {
      await using scene = await startInterceptScene();
      using folder = new TempFolder();
      const options = input === undefined ? {} : { input: input(scene) };
      const wrong = folder.write('wrong.pem', testCa('elsewhere').certPem);
      const failed = await run(command, args(scene, wrong), options);
      expect(failed.code).not.toBe(0);
      expect(failed.stderr).toMatch(/verif|certificate/i);
      expect(await scene.proxy.nextRecord()).toMatchObject({
        verdict: 'failed',
        reason: 'client_handshake_failed',
        detail: 'untrusted_ca',
        host: 'api.test',
        rule: 'api',
        subsystem: 'proxy_intercept',
      });
      expect([scene.origin.bytes, scene.proxy.records.count]).toEqual([0, 1]);
      const good = folder.write('ca.pem', scene.proxy.caPem);
      expect((await run(command, args(scene, good), options)).stdout).toMatch(/ok\s*$/);
      expect(scene.origin.requests.count).toBe(1);
    },
  );
});

describe('a client with pinned certificates', () => {
  it.skipIf(!hasProgram('curl'))(
    'S011-SC-008: that closes after the handshake is recorded as closed_before_request, for the operator to see',
    async () => {
      await using scene = await startInterceptScene();
      using folder = new TempFolder();
      const ca = folder.write('ca.pem', scene.proxy.caPem);
      const proxy = ['-sS', '--proxy', `http://127.0.0.1:${scene.proxy.port}`, '--cacert', ca, `https://${scene.api}/`];
      const pinned = await run('curl', ['--pinnedpubkey', `sha256//${'A'.repeat(43)}=`, ...proxy]);
      // CURLE_SSL_PINNEDPUBKEYNOTMATCH
      expect(pinned.code).toBe(90);
      expect(await scene.proxy.nextRecord()).toMatchObject({
        verdict: 'failed',
        reason: 'client_closed',
        detail: 'closed_before_request',
        host: 'api.test',
        taken: 'intercept',
      });
      expect(scene.origin.bytes).toBe(0);
      expect((await run('curl', proxy)).stdout).toBe('ok');
    },
  );

  it.each([
    ['bad_certificate', 'pinned'],
    ['certificate_unknown', 'untrusted_ca'],
    ['unknown_ca', 'untrusted_ca'],
    ['handshake_failure', expect.stringContaining('handshake_failure')],
  ] as const)('S011-AS-005: that sends the alert %s is recorded with its own detail', async (alert, detail) => {
    await using scene = await startInterceptScene();
    await using agent = await openTunnel(scene.proxy, scene.api);
    await agent.send(await clientHello({ servername: 'api.test', maxVersion: 'TLSv1.2' }));
    await agent.readExactly(1);
    await agent.send(Buffer.from([0x15, 3, 3, 0, 2, 2, ALERTS[alert]]));
    await agent.untilEnded();
    expect(await scene.proxy.nextRecord()).toMatchObject({
      reason: 'client_handshake_failed',
      detail,
      host: 'api.test',
    });
    expect([scene.origin.bytes, scene.proxy.records.count]).toEqual([0, 1]);
    await using twin = await scene.open({ maxVersion: 'TLSv1.2' });
    expect((await ask(twin, '/')).status).toBe(200);
  });
});

describe('a client that goes away', () => {
  it('in the middle of the handshake, by FIN or by reset, leaves one record that says so', async () => {
    for (const leave of ['finish', 'reset'] as const) {
      await using scene = await startInterceptScene();
      await using agent = await openTunnel(scene.proxy, scene.api);
      await agent.send(await clientHello({ servername: 'api.test' }));
      await agent.readExactly(1);
      agent[leave]();
      const record = await scene.proxy.nextRecord();
      expect(record).toMatchObject({ reason: 'client_handshake_failed', detail: 'closed_during_handshake' });
      expect([scene.origin.bytes, scene.proxy.records.count]).toEqual([0, 1]);
    }
  });

  it('after the handshake without a request leaves one record, and after a request none but that of the request', async () => {
    await using scene = await startInterceptScene();
    await using silent = await scene.open();
    silent.finish();
    expect(await silent.untilEnded()).toBe('FIN');
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'client_closed', detail: 'closed_before_request' });
    await using served = await scene.open();
    expect((await ask(served, '/')).status).toBe(200);
    served.finish();
    expect(await served.untilEnded()).toBe('FIN');
    expect(scene.proxy.records.all.map(({ verdict }) => verdict)).toEqual(['failed', 'allow']);
  });
});

describe('a client that stalls', () => {
  it('in the handshake is closed at an absolute deadline, and another in the same time is served', async () => {
    await using scene = await startInterceptScene({ options: { helloTimeoutMs: DEADLINE_MS } });
    await using stalled = await openTunnel(scene.proxy, scene.api);
    await stalled.send(await clientHello({ servername: 'api.test' }));
    await stalled.readExactly(1);
    scene.proxy.clock.advance(DEADLINE_MS - 3 * STEP_MS);
    await using served = await scene.open();
    scene.proxy.clock.advance(4 * STEP_MS);
    expect(await stalled.untilEnded()).not.toBeUndefined();
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'client_handshake_failed', detail: 'timeout' });
    expect(scene.origin.bytes).toBe(0);
    expect((await ask(served, '/')).status).toBe(200);
  });

  it('in a request head inside TLS gets 408 at an absolute deadline, whatever drips in meanwhile', async () => {
    await using scene = await startInterceptScene({ options: { headTimeoutMs: DEADLINE_MS } });
    await using slow = await scene.open();
    await using intime = await scene.open();
    for (const agent of [slow, intime]) await agent.send('GET / HTTP');
    await using ready = await scene.open();
    expect((await ask(ready, '/')).status).toBe(200); // By now those bytes have been read.
    scene.proxy.clock.advance(DEADLINE_MS - 2 * STEP_MS);
    await slow.send('/1.1\r\nHost: ');
    await intime.send('/1.1\r\nHost: api.test\r\n\r\n');
    expect((await intime.readReply()).status).toBe(200);
    scene.proxy.clock.advance(3 * STEP_MS);
    expect((await slow.readReply()).status).toBe(408);
    expect(await scene.proxy.nextRecord(({ verdict }) => verdict === 'failed')).toMatchObject({
      reason: 'header_timeout',
      taken: 'intercept',
    });
    expect(scene.origin.requests.count).toBe(2);
  });

  it('between requests is closed after the idle time, without an answer that nobody asked for', async () => {
    await using scene = await startInterceptScene({ options: { idleTimeoutMs: DEADLINE_MS } });
    await using agent = await scene.open();
    expect((await ask(agent, '/')).status).toBe(200);
    scene.proxy.clock.advance(DEADLINE_MS - 2 * STEP_MS);
    expect((await ask(agent, '/')).status).toBe(200);
    scene.proxy.clock.advance(DEADLINE_MS + STEP_MS);
    expect((await agent.readToEnd()).length).toBe(0);
    expect(await agent.untilEnded()).toBe('FIN');
    expect(scene.proxy.records.count).toBe(2);
  });
});

describe('what is not HTTP inside TLS', () => {
  it('is answered with 400 and recorded, and the origin gets no byte of it', async () => {
    await using scene = await startInterceptScene();
    for (const bytes of ['SSH-2.0-OpenSSH_9.2\r\n\r\n', '\0\0\0\x08\x04\xd2\x16\x2f\r\n\r\n', '\x16\x03\x01\r\n\r\n']) {
      await using agent = await scene.open();
      await agent.send(bytes);
      expect((await agent.readReply()).status).toBe(400);
      expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'bad_request', taken: 'intercept' });
    }
    expect(scene.origin.bytes).toBe(0);
  });
});
