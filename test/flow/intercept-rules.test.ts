/**
 * Rules on what is inside TLS (S011-FR-012, FR-015, FR-016): what they allow reaches the origin, what they refuse is
 * answered inside the same TLS session while the origin gets no application byte.
 */
import { describe, expect, it } from 'vitest';
import { openHttps } from '../kit/agent.ts';
import type { RequestText } from '../kit/agent-socket.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { rulesFile } from '../kit/rules.ts';
import { startH2Scene } from './h2-scene.ts';
import {
  ask,
  blockRule,
  type InterceptScene,
  interceptRule,
  refusalOf,
  startInterceptScene,
} from './intercept-scene.ts';

/** Sends one request on a connection of its own and gives its status. */
async function statusOf(scene: InterceptScene, target: string, request: Omit<RequestText, 'target'> = {}) {
  await using agent = await scene.open();
  return (await ask(agent, target, request)).status;
}

describe('a rule on what is inside TLS', () => {
  it('S011-AS-001: that names POST lets POST through and refuses GET, of which the origin gets no byte', async () => {
    const rules = rulesFile(interceptRule('post-only', 'http.host == "api.test" && http.method == "POST"'));
    await using scene = await startInterceptScene({ rules });
    expect(await statusOf(scene, '/echo')).toBe(403);
    expect([scene.origin.bytes, scene.origin.heads.count]).toEqual([0, 0]);
    expect(await statusOf(scene, '/echo', { method: 'POST', body: 'hello' })).toBe(200);
    expect(await scene.origin.nextRequest()).toMatchObject({ method: 'POST', url: '/echo', sni: 'api.test' });
  });

  it('S011-AS-002: that names a path lets that path through and refuses another', async () => {
    const condition = 'http.host == "api.test" && http.path.startsWith("/v1/x")';
    await using scene = await startInterceptScene({ rules: rulesFile(interceptRule('x', condition)) });
    expect(await statusOf(scene, '/v1/y')).toBe(403);
    expect(scene.origin.bytes).toBe(0);
    expect(await statusOf(scene, '/v1/x')).toBe(200);
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(['/v1/x']);
  });

  it('S011-SC-001: with method and path refuses whatever differs in one of them', async () => {
    const condition = 'http.host == "api.test" && http.method == "POST" && http.path.startsWith("/v1/messages")';
    await using scene = await startInterceptScene({ rules: rulesFile(interceptRule('messages', condition)) });
    expect(await statusOf(scene, '/v1/messages')).toBe(403);
    expect(await statusOf(scene, '/v1/complete', { method: 'POST', body: '{}' })).toBe(403);
    expect(await statusOf(scene, '/V1/messages', { method: 'POST', body: '{}' })).toBe(403);
    expect(await statusOf(scene, '/v1/messages', { method: 'post', body: '{}' })).toBe(405);
    expect(scene.origin.bytes).toBe(0);
    expect(await statusOf(scene, '/v1/messages', { method: 'POST', body: '{}' })).toBe(200);
    expect((await scene.origin.nextRequest()).body.toString()).toBe('{}');
  });

  it.each([
    ['a header', 'http.headers["x-team"] == "blue"', { headers: ['X-Team: blue'] }, { headers: ['X-Team: red'] }],
    ['a missing header', 'http.header("X-Team") == ""', {}, { headers: ['x-team: red'] }],
    ['a query parameter', 'http.query["q"] == ["1"]', { target: '/?q=1' }, { target: '/?q=2' }],
    ['the size of a body', 'http.body_size <= 4', { method: 'POST', body: 'four' }, { method: 'POST', body: 'fives' }],
    ['the scheme and the host', 'http.scheme == "https" && http.method == "GET"', {}, { method: 'PUT', body: '' }],
  ] as const)('S011-IF-010: sees %s', async (_, condition, good, bad) => {
    const rules = rulesFile(interceptRule('one', `http.host == "api.test" && ${condition}`));
    await using scene = await startInterceptScene({ rules });
    const send = (request: Partial<RequestText>) => statusOf(scene, request.target ?? '/', request);
    expect(await send(bad)).toBe(403);
    expect(scene.origin.bytes).toBe(0);
    expect(await send(good)).toBe(200);
    expect(scene.origin.requests.count).toBe(1);
  });
});

describe('a rule on the ClientHello', () => {
  const RULES = (hello: string) =>
    rulesFile(
      interceptRule('by-hello', `http.host == "api.test" && http.method == "GET" && ${hello}`),
      interceptRule('post', 'http.host == "api.test" && http.method == "POST"'),
    );

  it('is asked of each request with what the connection began with, over HTTP/1.1 and HTTP/2', async () => {
    await using h1 = await startInterceptScene({ rules: RULES('tls.version == "1.3"') });
    for (const [maxVersion, status] of [
      ['TLSv1.2', 403],
      ['TLSv1.3', 200],
    ] as const) {
      await using agent = await h1.open({ maxVersion });
      expect((await ask(agent, '/', { method: 'POST', body: '' })).status).toBe(200);
      expect((await ask(agent, '/')).status).toBe(status);
    }
    for (const [hello, status] of [
      ['"h2" in tls.alpn', 200],
      ['tls.alpn == ["http/1.1"]', 403],
    ] as const) {
      await using h2 = await startH2Scene({ rules: RULES(hello) });
      await using agent = await h2.open();
      expect((await agent.request({ ':path': '/' })).status).toBe(status);
    }
  });
});

describe('a refusal inside TLS', () => {
  const rules = rulesFile(
    blockRule('no-delete', 'http.host == "api.test" && http.method == "DELETE"'),
    interceptRule('rest', 'http.host == "api.test" && http.path != "/other"'),
  );

  it('S011-FR-015: is 403 in text that names the rule, closes the connection, and is sent without a body to HEAD', async () => {
    await using scene = await startInterceptScene({ rules });
    await using agent = await scene.open();
    const reply = await ask(agent, '/', { method: 'DELETE' });
    expect(reply.status).toBe(403);
    expect(fieldOf(reply.headers, 'content-type')).toMatch(/^text\/plain/);
    expect(fieldOf(reply.headers, 'x-outcall-block-reason')).toBe('no-delete');
    expect(fieldOf(reply.headers, 'connection')).toBe('close');
    expect(reply.body.toString()).toMatch(/^Blocked by outcall: ./);
    expect(await agent.untilEnded()).toBe('FIN');
    await using head = await scene.open();
    expect((await ask(head, '/other', { method: 'HEAD' })).status).toBe(403);
    expect((await head.readToEnd()).length).toBe(0);
    expect(scene.origin.bytes).toBe(0);
    expect(await statusOf(scene, '/', { method: 'HEAD' })).toBe(200);
  });

  it('is JSON for who accepts JSON, with the same rule and reason', async () => {
    await using scene = await startInterceptScene({ rules });
    await using agent = await scene.open();
    const reply = await ask(agent, '/', { method: 'DELETE', headers: ['Accept: application/json'] });
    expect([reply.status, fieldOf(reply.headers, 'content-type')]).toEqual([403, 'application/json']);
    expect(JSON.parse(reply.body.toString())).toMatchObject({ error: 'blocked', rule: 'no-delete' });
    await using text = await scene.open();
    expect((await ask(text, '/', { method: 'DELETE', headers: ['Accept: */*'] })).body.toString()).toMatch(/^Blocked/);
    expect(scene.origin.bytes).toBe(0);
  });

  it('names default where no rule matches, and never echoes what was sent', async () => {
    await using scene = await startInterceptScene({ rules });
    await using agent = await scene.open();
    const reply = await ask(agent, '/other', { headers: ['X-Secret: hunter2'] });
    expect(refusalOf(reply)).toEqual([403, 'default']);
    expect(reply.body.toString()).not.toMatch(/other|hunter2/);
    expect(scene.origin.bytes).toBe(0);
    expect(await statusOf(scene, '/another')).toBe(200);
  });

  it('reaches a client that is still sending a large body', async () => {
    await using scene = await startInterceptScene({ rules });
    await using agent = await scene.open();
    const sending = agent.send(
      `DELETE / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4000000\r\n\r\n${'x'.repeat(4_000_000)}`,
    );
    expect((await agent.readReply()).status).toBe(403);
    await sending;
    expect(scene.origin.bytes).toBe(0);
    expect(await statusOf(scene, '/', { method: 'POST', body: 'x'.repeat(4_000_000) })).toBe(200);
  });
});

describe('the mode of a rule', () => {
  it('S011-AS-008: is its own: a host without interception is a plain tunnel with the certificate of its origin', async () => {
    const tunnelled = `{ id: other, condition: 'http.host == "other.test"', action: allow }`;
    const rules = rulesFile(interceptRule('api', 'http.host == "api.test"'), tunnelled);
    await using scene = await startInterceptScene({ rules });
    const target = `other.test:${scene.origin.port}`;
    await expect(scene.open({ target })).rejects.toThrow();
    await using other = await openHttps(scene.proxy, target, { ca: scene.originCa.certPem });
    const reply = await other.request({ target: '/', headers: ['Host: not.checked.here'] });
    expect(reply.status).toBe(200);
    await other[Symbol.asyncDispose]();
    expect(await scene.proxy.nextRecord(({ rule }) => rule === 'other')).toMatchObject({
      subsystem: 'proxy',
      taken: 'tunnel',
    });
    await using api = await scene.open();
    expect((await ask(api, '/')).status).toBe(200);
    expect(scene.proxy.signer?.minted.all).toEqual(['api.test']);
  });

  it('S011-FR-003: intercept never opens a connection of its host that is not decrypted', async () => {
    await using scene = await startInterceptScene();
    await expect(openHttps(scene.proxy, scene.api, { ca: scene.originCa.certPem })).rejects.toThrow();
    expect(scene.origin.bytes).toBe(0);
    expect(await statusOf(scene, '/')).toBe(200);
  });

  it('may be another inside: what a tunnel rule allows of an intercepted host passes there too', async () => {
    const plain = `{ id: get, condition: 'http.host == "api.test" && http.method == "GET"', action: allow }`;
    const rules = rulesFile(interceptRule('post', 'http.host == "api.test" && http.method == "POST"'), plain);
    await using scene = await startInterceptScene({ rules });
    expect(await statusOf(scene, '/', { method: 'DELETE' })).toBe(403);
    expect(scene.origin.bytes).toBe(0);
    expect(await statusOf(scene, '/')).toBe(200);
    expect(await statusOf(scene, '/', { method: 'POST', body: '' })).toBe(200);
  });
});
