/**
 * gRPC through interception: a real client and a real server, with trailers, streams in both directions, errors and
 * cancellation, and rules by service and method.
 */
import { once } from 'node:events';
import { type Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { GrpcAgent, type GrpcOrigin, startGrpcOrigin } from '../kit/grpc-origin.ts';
import { testCa } from '../kit/pki.ts';
import { rulesFile } from '../kit/rules.ts';
import { type H2Scene, withProxy } from './h2-scene.ts';
import { INTERCEPT_API, interceptRule } from './intercept-scene.ts';

async function startGrpcScene(rules = INTERCEPT_API): Promise<H2Scene<GrpcOrigin>> {
  const ca = testCa();
  return withProxy(await startGrpcOrigin({ ca, names: ['api.test'] }), ca, { rules });
}

const agentOf = (scene: H2Scene<GrpcOrigin>): GrpcAgent => new GrpcAgent(scene.proxy, scene.api, scene.proxy.caPem);
const errorOf = (call: Promise<unknown>): Promise<ServiceError> =>
  call.then(
    () => Promise.reject(new Error('the call went well')),
    (error: ServiceError) => error,
  );

describe('a gRPC client', () => {
  it('gets its answer and the trailing metadata of a unary call', async () => {
    await using scene = await startGrpcScene();
    using agent = agentOf(scene);
    const { message, trailers } = await agent.unary('echo', 'hello');
    expect([message, trailers.get('x-kit-trailer')]).toEqual(['hello', ['after']]);
    expect(scene.origin.calls.all).toEqual([{ method: 'echo', message: 'hello' }]);
    expect(await scene.proxy.nextRecord()).toMatchObject({
      verdict: 'allow',
      method: 'POST',
      path: '/kit.Echo/Echo',
      http_version: '2',
      status: 200,
    });
  });

  it('gets a large message whole', async () => {
    await using scene = await startGrpcScene();
    using agent = agentOf(scene);
    const large = 'x'.repeat(3_000_000);
    expect((await agent.unary('echo', large)).message).toBe(large);
  });

  it('gets all messages of a server stream, and talks in both directions in turns', async () => {
    await using scene = await startGrpcScene();
    using agent = agentOf(scene);
    expect(await agent.serverStream(100)).toHaveLength(100);
    const chat = agent.chat();
    for (const word of ['one', 'two', 'three']) {
      chat.write(word);
      expect(String((await once(chat, 'data'))[0])).toBe(word.toUpperCase());
    }
    chat.end();
    const [end] = (await once(chat.resume(), 'status')) as [{ code: number; metadata: Metadata }];
    expect([end.code, end.metadata.get('x-kit-trailer')]).toEqual([status.OK, ['after']]);
  });

  it('gets the error of a call that has nothing but trailers', async () => {
    await using scene = await startGrpcScene();
    using agent = agentOf(scene);
    const error = await errorOf(agent.unary('fail', 'x'));
    expect([error.code, error.details]).toEqual([status.FAILED_PRECONDITION, 'as asked']);
    expect(error.metadata.get('x-kit-trailer')).toEqual(['after']);
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'allow', status: 200 });
  });

  it('that cancels is cancelled at the origin, and its next call is served', async () => {
    await using scene = await startGrpcScene();
    using agent = agentOf(scene);
    const chat = agent.chat();
    chat.on('error', () => undefined);
    chat.write('one');
    await once(chat, 'data');
    chat.cancel();
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'client_closed' });
    await scene.origin.cancelled.atLeast(1);
    expect((await agent.unary('echo', 'still here')).message).toBe('still here');
  });

  it('with a deadline that passes gets DEADLINE_EXCEEDED, and the origin is told', async () => {
    await using scene = await startGrpcScene();
    using agent = agentOf(scene);
    await agent.unary('echo', 'connected');
    const chat = agent.chat({ deadline: Date.now() + 200 });
    const failed = once(chat.resume(), 'error').catch((error: unknown) => [error]);
    chat.write('one');
    expect(((await failed)[0] as ServiceError).code).toBe(status.DEADLINE_EXCEEDED);
    await scene.origin.cancelled.atLeast(1);
  });
});

describe('a rule by service and method', () => {
  const rules = rulesFile(
    interceptRule('echo-only', 'http.host == "api.test" && http.method == "POST" && http.path == "/kit.Echo/Echo"'),
  );

  it('S011-AS-002: lets one method through and refuses another, which surfaces as PERMISSION_DENIED', async () => {
    await using scene = await startGrpcScene(rules);
    using agent = agentOf(scene);
    const error = await errorOf(agent.serverStream(3));
    expect([error.code, error.details]).toEqual([status.PERMISSION_DENIED, expect.stringContaining('403')]);
    expect((await errorOf(agent.unary('fail', 'x'))).code).toBe(status.PERMISSION_DENIED);
    expect((await agent.unary('echo', 'yes')).message).toBe('yes');
    expect(scene.origin.calls.all).toEqual([{ method: 'echo', message: 'yes' }]);
  });

  it('refuses a call in both directions while another goes on over the same connection', async () => {
    await using scene = await startGrpcScene(rules.replace('/kit.Echo/Echo', '/kit.Echo/Chat'));
    using agent = agentOf(scene);
    const chat = agent.chat();
    chat.write('one');
    expect(String((await once(chat, 'data'))[0])).toBe('ONE');
    expect((await errorOf(agent.unary('echo', 'no'))).code).toBe(status.PERMISSION_DENIED);
    chat.write('two');
    expect(String((await once(chat, 'data'))[0])).toBe('TWO');
    chat.end();
    await once(chat.resume(), 'status');
    expect(scene.origin.calls.all.map(({ message }) => message)).toEqual(['one', 'two']);
  });
});

it('a gRPC client that does not trust the CA fails closed', async () => {
  await using scene = await startGrpcScene();
  using agent = new GrpcAgent(scene.proxy, scene.api, scene.originCa.certPem);
  expect((await errorOf(agent.unary('echo', 'x'))).code).toBe(status.UNAVAILABLE);
  expect(scene.origin.calls.count).toBe(0);
});
