/** A gRPC client (@grpc/grpc-js) over intercepted HTTP/2: each call is decided by its method, and trailers arrive. */
import { once } from 'node:events';
import { logVerbosity, setLogVerbosity, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startDaemon, type TestDaemon } from '../kit/daemon.ts';
import { GrpcAgent, type GrpcOrigin, startGrpcOrigin } from '../kit/grpc-origin.ts';
import { testCa } from '../kit/pki.ts';
import { type Resolver, startResolver } from '../kit/resolver.ts';
import { rulesFile } from '../kit/rules.ts';

const RULES = rulesFile(
  `{ id: echo, condition: 'http.host == "grpc.test" && http.method == "POST" && http.path in ["/kit.Echo/Echo", "/kit.Echo/Count", "/kit.Echo/Chat"]', action: allow, egress: { mode: intercept } }`,
  `{ id: tunnel, condition: 'http.host == "tunnel.test"', action: allow }`,
);

// A refused CONNECT is what one test is about, not news.
setLogVerbosity(logVerbosity.NONE);

const originCa = testCa();
let origin: GrpcOrigin;
let resolver: Resolver;
let daemon: TestDaemon;
let caPem: string;
const stack = new AsyncDisposableStack();
beforeAll(async () => {
  origin = stack.use(await startGrpcOrigin({ ca: originCa, names: ['grpc.test', 'tunnel.test', 'denied.test'] }));
  const names = ['grpc.test', 'tunnel.test', 'denied.test'];
  resolver = stack.use(await startResolver(Object.fromEntries(names.map((name) => [name, '127.0.0.1']))));
  daemon = stack.use(
    await startDaemon({ rules: RULES, ca: true, dnsServers: [resolver.address], trust: originCa.certPem }),
  );
  caPem = (await daemon.cli('ca', 'bundle')).stdout;
});
afterAll(() => stack.disposeAsync());

const client = (host: string, ca = caPem) => new GrpcAgent(daemon, `${host}:${origin.port}`, ca);

describe('a gRPC client', () => {
  it('calls the methods that a rule allows, and another is PERMISSION_DENIED and never reaches the service', async () => {
    using grpc = client('grpc.test');
    const { message, trailers } = await grpc.unary('echo', 'hello');
    expect([message, trailers.get('x-kit-trailer')]).toEqual(['hello', ['after']]);
    await expect(grpc.unary('fail', 'hello')).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    expect(origin.calls.all).toEqual([{ method: 'echo', message: 'hello' }]);
    const allowed = { rule: 'echo', path: '/kit.Echo/Echo', http_version: '2', status: 200 };
    expect(await daemon.records.next(({ verdict }) => verdict === 'allow')).toMatchObject(allowed);
    const blocked = { rule: 'default', path: '/kit.Echo/Fail', http_version: '2', status: 403 };
    expect(await daemon.records.next(({ verdict }) => verdict === 'block')).toMatchObject(blocked);
  });

  it('streams from the service, and both ways at once, on the connection of a refused call', async () => {
    using grpc = client('grpc.test');
    await expect(grpc.unary('fail', 'x')).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
    expect(await grpc.serverStream(50)).toEqual(Array.from({ length: 50 }, (_, i) => String(i + 1)));
    const call = grpc.chat();
    for (const word of ['one', 'two']) {
      const answer = once(call, 'data');
      call.write(word);
      expect(String((await answer)[0])).toBe(word.toUpperCase());
    }
    const ended = once(call, 'status');
    call.end();
    expect((await ended)[0]).toMatchObject({ code: status.OK });
  });

  it('is UNAVAILABLE where no rule names the host, and passes unread in a tunnel', async () => {
    using refused = client('denied.test');
    await expect(refused.unary('echo', 'x')).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(resolver.asked('denied.test')).toBe(0);
    using tunnelled = client('tunnel.test', originCa.certPem);
    expect((await tunnelled.unary('fail', 'x').catch((error: unknown) => error)) as object).toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
  });

  it('S011-EC-003: without our CA it is UNAVAILABLE, and the record says why', async () => {
    const calls = origin.calls.count;
    using stranger = client('grpc.test', originCa.certPem);
    await expect(stranger.unary('echo', 'x')).rejects.toMatchObject({ code: status.UNAVAILABLE });
    expect(origin.calls.count).toBe(calls);
    const record = await daemon.records.next(({ reason }) => reason === 'client_handshake_failed');
    expect(record).toMatchObject({ host: 'grpc.test', rule: 'echo', detail: 'closed_during_handshake' });
  });
});
