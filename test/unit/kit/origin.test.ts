/** The test origin and the clients of the kit, against each other with no proxy between. */
import { describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { H2Agent, openAgent, startTls } from '../../kit/agent.ts';
import { AgentSocket } from '../../kit/agent-socket.ts';
import { clientHello, cutFirstFlight, pieces, splitRecords } from '../../kit/client-hello.ts';
import { fieldOf } from '../../kit/http1-reply.ts';
import { startOrigin } from '../../kit/origin.ts';
import { testCa } from '../../kit/pki.ts';
import { hasProgram, run } from '../../kit/run.ts';
import { TempFolder } from '../../kit/temp.ts';

const ca = testCa();
const tls = { ca, names: ['origin.test'] };

async function secure(port: number, alpn: readonly string[], ca_: string = ca.certPem) {
  const socket = await openAgent({ port });
  return startTls(socket, { ca: ca_, servername: 'origin.test', alpn });
}

describe('the test origin over plain HTTP', () => {
  it('records method, target, raw header fields, body and the ordinal of the connection', async () => {
    await using origin = await startOrigin();
    await using agent = await openAgent(origin);
    const reply = await agent.request({
      method: 'POST',
      target: '/echo?q=1',
      headers: ['HOST: a', 'X: 1', 'x: 2'],
      body: 'hi',
    });
    expect(reply.status).toBe(200);
    const seen = await origin.nextRequest();
    expect([seen.method, seen.url, seen.body.toString(), seen.connection]).toEqual(['POST', '/echo?q=1', 'hi', 1]);
    expect(seen.headers).toEqual(['HOST', 'a', 'X', '1', 'x', '2', 'Content-Length', '2']);
    expect(seen.header('x')).toEqual(['1', '2']);
    expect([origin.connections, origin.handshakes]).toEqual([1, 0]);
    expect(origin.bytes).toBeGreaterThan(40);
  });

  it('answers trailers, early hints, 100-continue, early replies, 204, 304 and HEAD as HTTP says', async () => {
    await using origin = await startOrigin();
    await using agent = await openAgent(origin);
    const trailers = await agent.request({ target: '/trailers', headers: ['Host: a'] });
    expect(fieldOf(trailers.trailers, 'x-checksum')).toBe('abc123');
    const hints = await agent.request({ target: '/early-hints', headers: ['Host: a'] });
    expect(hints.interim.map((head) => head.status)).toEqual([103]);
    const expectContinue = ['Host: a', 'Expect: 100-continue'];
    const waited = await agent.request({ method: 'POST', target: '/continue', headers: expectContinue, body: 'x' });
    expect([waited.interim[0]?.status, waited.status]).toEqual([100, 200]);
    for (const status of [204, 304]) {
      expect((await agent.request({ target: `/status/${status}`, headers: ['Host: a'] })).status).toBe(status);
    }
    expect((await agent.request({ method: 'HEAD', target: '/echo', headers: ['Host: a'] })).body.length).toBe(0);
    await agent.send('POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab');
    expect((await agent.readReply()).body.toString()).toBe('early');
    expect(origin.connections).toBe(1);
  });

  it('gives the body of /sse to the test, event by event, and tells how it ended', async () => {
    await using origin = await startOrigin();
    await using agent = await openAgent(origin);
    await agent.send('GET /sse HTTP/1.1\r\nHost: a\r\n\r\n');
    const live = await origin.live.next();
    await live.send('data: 1\n\n');
    expect((await agent.readUntil('data: 1')).toString()).toContain('text/event-stream');
    live.reset();
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(await live.closed).toBe(false);
  });
});

describe('the test origin over TLS', () => {
  it('tells SNI, handshakes and decrypted bytes, and serves HTTP/1.1 and HTTP/2 on one port', async () => {
    await using origin = await startOrigin({ tls: { ...tls, alpn: ['h2', 'http/1.1'] } });
    await using h1 = new AgentSocket(await secure(origin.port, ['http/1.1']));
    const sent = 'GET /echo HTTP/1.1\r\nHost: origin.test\r\n\r\n';
    await h1.send(sent);
    await h1.readReply();
    expect(origin.bytes).toBe(sent.length);
    await using h2 = new H2Agent(await secure(origin.port, ['h2']), 'origin.test');
    const reply = await h2.request({ ':path': '/echo', ':method': 'POST' }, 'two');
    expect(JSON.parse(reply.body.toString())).toMatchObject({ body: 'two', sni: 'origin.test', connection: 2 });
    expect([origin.connections, origin.handshakes, origin.requests.count]).toEqual([2, 2, 2]);
  });

  it('is refused by a client that does not trust its CA, and counts no handshake', async () => {
    await using origin = await startOrigin({ tls });
    await expect(secure(origin.port, ['http/1.1'], testCa().certPem)).rejects.toThrow(/unable to verify|self-signed/);
    (await secure(origin.port, ['http/1.1'])).destroy();
    expect(origin.bytes).toBe(0);
  });

  it('refuses clients without a certificate where it asks for one', async () => {
    await using origin = await startOrigin({ tls: { ...tls, requireClientCert: ca, maxVersion: 'TLSv1.2' } });
    await expect(secure(origin.port, [])).rejects.toThrow();
    const client = ca.issue({ names: ['client'], clientAuth: true });
    const socket = await openAgent(origin);
    (await startTls(socket, { ca: ca.certPem, servername: 'origin.test', client })).destroy();
    await origin.secured.atLeast(1);
    expect(origin.handshakes).toBe(1);
  });

  it.each([1, 7, 64])('accepts a ClientHello cut into records and segments of %i bytes', async (bytes) => {
    await using origin = await startOrigin({ tls });
    const agent = await openAgent(origin);
    const cut = cutFirstFlight(agent.release(), (hello) => pieces(splitRecords(hello, bytes), bytes));
    const socket = await startTls(cut, { ca: ca.certPem, servername: 'origin.test' });
    await origin.secured.atLeast(1);
    socket.destroy();
    expect(origin.failedHandshakes.count).toBe(0);
  });

  it('makes ClientHellos that name the server they are asked to name', async () => {
    expect((await clientHello({ servername: 'name.test' })).includes('name.test')).toBe(true);
    expect((await clientHello({ servername: '' })).includes('name.test')).toBe(false);
  });

  it('echoes WebSocket messages', async () => {
    await using origin = await startOrigin({ tls });
    const client = new WebSocket(`wss://127.0.0.1:${origin.port}/ws`, {
      ca: ca.certPem,
      servername: 'origin.test',
    } as object);
    const message = await new Promise((resolve) => {
      client.once('open', () => client.send('ping'));
      client.once('message', resolve);
    });
    expect(String(message)).toBe('ping');
    expect((await origin.messages.next()).toString()).toBe('ping');
    client.terminate();
  });
});

describe('running programs', () => {
  it.skipIf(!hasProgram('curl'))('curl trusts the test CA when told, and does not otherwise', async () => {
    await using origin = await startOrigin({ tls });
    using folder = new TempFolder();
    const args = ['-sS', '--resolve', `origin.test:${origin.port}:127.0.0.1`, `https://origin.test:${origin.port}/`];
    const trusting = await run('curl', [...args, '--cacert', folder.write('ca.pem', ca.certPem)]);
    expect(trusting).toMatchObject({ code: 0, stdout: 'ok' });
    expect((await run('curl', args)).code).toBe(60);
    expect(origin.requests.count).toBe(1);
  });
});
