/** The scripted origin and the gRPC origin of the kit. */
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { describe, expect, it } from 'vitest';
import { openAgent, startTls } from '../../kit/agent.ts';
import { AgentSocket } from '../../kit/agent-socket.ts';
import { GrpcAgent, startGrpcOrigin } from '../../kit/grpc-origin.ts';
import { testCa } from '../../kit/pki.ts';
import { says, startRawOrigin } from '../../kit/raw-origin.ts';

const ca = testCa();

describe('the raw origin', () => {
  it('says its bytes after a request, keeps what it received, and ends by FIN or RST as told', async () => {
    const response = 'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort';
    await using fin = await startRawOrigin({ script: says(response, 'FIN') });
    await using agent = await openAgent(fin);
    await agent.send('POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab');
    expect((await agent.readToEnd()).toString()).toBe(response);
    expect(await agent.untilEnded()).toBe('FIN');
    expect((await fin.peers.next()).received.toString()).toContain('\r\n\r\nab');
    await using rst = await startRawOrigin({ script: says('', 'RST') });
    await using other = await openAgent(rst);
    await other.send('GET / HTTP/1.1\r\n\r\n');
    expect(await other.untilEnded()).toBe('ECONNRESET');
    expect(fin.errors).toEqual([]);
  });

  it('does the same under TLS, where RST is that of the TCP connection', async () => {
    const tls = { ca, names: ['raw.test'], alpn: ['http/1.1'] };
    await using origin = await startRawOrigin({ tls, script: says('HTTP/1.1 200 OK\r\n\r\n', 'RST') });
    const secure = await startTls(await openAgent(origin), { ca: ca.certPem, servername: 'raw.test' });
    await using agent = new AgentSocket(secure);
    await agent.send('GET / HTTP/1.1\r\n\r\n');
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(origin.bytes).toBe(18);
  });
});

describe('the gRPC origin', () => {
  it('serves unary, streaming and failing calls with trailers through an HTTP CONNECT proxy', async () => {
    await using origin = await startGrpcOrigin({ ca, names: ['grpc.test'] });
    const targets: string[] = [];
    const proxy = http.createServer().listen(0, '127.0.0.1');
    proxy.on('connect', (request, socket) => {
      targets.push(request.url ?? '');
      const through = net.connect(origin.port, '127.0.0.1');
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      socket
        .on('error', () => undefined)
        .pipe(through.on('error', () => undefined))
        .pipe(socket);
    });
    await once(proxy, 'listening');
    const { port } = proxy.address() as net.AddressInfo;
    using agent = new GrpcAgent({ port }, `grpc.test:${origin.port}`, ca.certPem);
    const answer = await agent.unary('echo', 'hello');
    expect([answer.message, answer.trailers.get('x-kit-trailer')]).toEqual(['hello', ['after']]);
    expect(await agent.serverStream(3)).toEqual(['1', '2', '3']);
    await expect(agent.unary('fail', 'x')).rejects.toMatchObject({ code: 9, details: 'as asked' });
    const chat = agent.chat();
    chat.write('abc');
    expect(await once(chat, 'data')).toEqual(['ABC']);
    chat.end();
    chat.resume();
    await once(chat, 'end');
    expect(targets).toEqual([`grpc.test:${origin.port}`]);
    expect(origin.calls.all.map((call) => call.method)).toEqual(['echo', 'count', 'fail', 'chat']);
    proxy.close();
  });
});
