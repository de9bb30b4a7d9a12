/**
 * The audit record of what happened inside TLS (S011-FR-019; threats 36, 39): one for each request, with rule and outcome,
 * never a header or a body; and nothing passes while it cannot be written.
 */
import { describe, expect, it } from 'vitest';
import type { AuditRecord } from '../../src/domain/record.ts';
import { connectTunnel, openAgent } from '../kit/agent.ts';
import type { OriginReply, OriginRequest } from '../kit/origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { ask, blockRule, interceptRule, refusalOf, startInterceptScene } from './intercept-scene.ts';

const API = 'http.host == "api.test"';
const RULES = rulesFile(
  blockRule('no-admin', `${API} && http.path.startsWith("/admin")`),
  interceptRule('rest', `${API} && http.path != "/other"`),
);
/** In what a client sends, and in what an origin answers. */
const SECRETS = ['s3cret-query', 's3cret-header', 's3cret-cookie', 's3cret-body', 's3cret-answer', 's3cret-basic'];

/** All that was written: records and diagnostics. */
function written(scene: Awaited<ReturnType<typeof startInterceptScene>>): string {
  return JSON.stringify([scene.proxy.records.all, scene.proxy.said.all]);
}

describe('S011-SC-007: the record of an intercepted request', () => {
  it('that is allowed has its rule, the target, sizes, and the address that was dialled', async () => {
    await using scene = await startInterceptScene({ rules: RULES });
    await using agent = await scene.open();
    const sent = 'POST /echo?a=1 HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\n\r\nhello';
    await agent.send(sent);
    const reply = await agent.readReply();
    expect(await scene.proxy.nextRecord()).toEqual({
      subsystem: 'proxy_intercept',
      event: 'request',
      flow: expect.stringMatching(/./),
      agent: 'agent-1',
      agent_ip: '127.0.0.1',
      verdict: 'allow',
      rule: 'rest',
      mode: 'intercept',
      would_block: null,
      taken: 'intercept',
      reason: null,
      detail: null,
      host: 'api.test',
      port: scene.origin.port,
      scheme: 'https',
      method: 'POST',
      path: expect.stringMatching(/^\/echo\?a=/),
      http_version: '1.1',
      status: 200,
      body_size: 5,
      bytes_up: sent.length + `:${scene.origin.port}`.length,
      bytes_down: expect.any(Number),
      upstream: '127.0.0.1',
      started_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      duration_ms: expect.any(Number),
      generation: 1,
    } satisfies Record<keyof AuditRecord, unknown>);
    expect((await scene.origin.nextRequest()).bodyBytes).toBe(5);
    expect(scene.proxy.records.all[0]?.bytes_down).toBeGreaterThan(reply.body.length);
  });

  it('that is blocked has the rule that blocked it, or default, and that nothing went out for it', async () => {
    await using scene = await startInterceptScene({ rules: RULES });
    for (const [path, rule, reason] of [
      ['/admin', 'no-admin', 'rule'],
      ['/other', 'default', 'default'],
    ]) {
      await using agent = await scene.open();
      expect((await ask(agent, path as string, { method: 'PUT', body: 'x' })).status).toBe(403);
      expect(await scene.proxy.nextRecord()).toMatchObject({
        subsystem: 'proxy_intercept',
        event: 'request',
        verdict: 'block',
        rule,
        reason,
        host: 'api.test',
        method: 'PUT',
        path,
        status: 403,
        bytes_up: 0,
        upstream: null,
        generation: 1,
      });
    }
    expect(scene.origin.bytes).toBe(0);
  });

  it('that fails has the reason, and the rule where one had allowed it', async () => {
    await using scene = await startInterceptScene({ rules: RULES, trust: [] });
    await using agent = await scene.open();
    expect((await ask(agent, '/')).status).toBe(502);
    expect(await scene.proxy.nextRecord()).toMatchObject({
      subsystem: 'proxy_intercept',
      verdict: 'failed',
      rule: 'rest',
      reason: 'upstream_handshake_failed',
      detail: 'unknown_ca',
      host: 'api.test',
      method: 'GET',
      path: '/',
      status: 502,
      upstream: null,
    });
    await using other = await scene.open();
    await other.send('GET / HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n');
    await other.readReply();
    expect(await scene.proxy.nextRecord()).toMatchObject({ reason: 'misdirected_request', rule: null, status: 421 });
  });

  it('is one for each request of a connection, all with the flow of that connection', async () => {
    await using scene = await startInterceptScene({ rules: RULES });
    await using one = await scene.open();
    for (const path of ['/1', '/2', '/admin']) await ask(one, path);
    await one.untilEnded();
    await using two = await scene.open();
    await ask(two, '/3');
    const flows = scene.proxy.records.all.map(({ flow }) => flow);
    expect(scene.proxy.records.all.map(({ path }) => path)).toEqual(['/1', '/2', '/admin', '/3']);
    expect([new Set(flows.slice(0, 3)).size, flows[3] === flows[0]]).toEqual([1, false]);
  });

  it('is not written for a rule with log: false, and for the next rule it is', async () => {
    const quiet = `{ id: quiet, condition: '${API} && http.path == "/quiet"', action: allow, log: false, egress: { mode: intercept } }`;
    await using scene = await startInterceptScene({ rules: rulesFile(quiet, interceptRule('rest', API)) });
    await using agent = await scene.open();
    for (const path of ['/quiet', '/loud']) expect((await ask(agent, path)).status).toBe(200);
    expect(scene.proxy.records.all.map(({ path }) => path)).toEqual(['/loud']);
  });
});

describe('what is secret', () => {
  it('in a query, a header, a cookie or a body is in no record and no line of the log, whatever came of it', async () => {
    const handler = (_: OriginRequest, reply: OriginReply) => {
      reply.writeHead(200, { 'set-cookie': 's=s3cret-answer', 'x-answer': 's3cret-answer' }).end('s3cret-answer');
      return true;
    };
    const body = rulesFile(
      blockRule('no-admin', `${API} && http.path.startsWith("/admin")`),
      interceptRule('rest', `${API} && !http.body.contains("nothing")`, ', match_body: true'),
    );
    await using scene = await startInterceptScene({ rules: body, origin: { handler } });
    const headers = ['Authorization: Bearer s3cret-header', 'Cookie: a=s3cret-cookie', 'X-Api-Key: s3cret-basic'];
    for (const path of ['/?token=s3cret-query', '/admin?token=s3cret-query', '/x/../?token=s3cret-query']) {
      await using agent = await scene.open();
      await ask(agent, path, { method: 'POST', headers, body: 's3cret-body' });
    }
    await using bad = await scene.open();
    await ask(bad, '/?token=s3cret-query', {
      method: 'POST',
      headers: [...headers, 'Content-Encoding: gzip'],
      body: 's3cret-body',
    });
    await using over = await scene.open();
    await ask(over, '/?token=s3cret-query', { method: 'POST', headers, body: `s3cret-body${'x'.repeat(2_000_000)}` });
    await using misdirected = await scene.open();
    await misdirected.request({
      target: 'https://u:s3cret-basic@api.test/?t=s3cret-query',
      headers: ['Host: api.test'],
    });
    await using door = await openAgent(scene.proxy);
    await door.request({ target: 'https://u:s3cret-basic@api.test/?t=s3cret-query', headers: ['Host: api.test'] });
    await using connect = await connectTunnel(scene.proxy, 'u:s3cret-basic@api.test:443');
    expect(connect.reply.status).toBe(400);
    expect(scene.proxy.records.all.map(({ status }) => status)).toEqual([200, 403, 400, 400, 403, 400, 400, 400]);
    expect(scene.origin.requests.all[0]?.header('authorization')).toEqual(['Bearer s3cret-header']);
    expect(SECRETS.filter((secret) => written(scene).includes(secret))).toEqual([]);
    expect(scene.proxy.records.all[0]?.path).toMatch(/^\/\?token=/);
  });

  it('in a query is written where the operator opts in', async () => {
    await using scene = await startInterceptScene({ rules: RULES, options: { logQueryValues: true } });
    await using agent = await scene.open();
    await ask(agent, '/?token=s3cret-query');
    expect(await scene.proxy.nextRecord()).toMatchObject({ path: '/?token=s3cret-query' });
  });

  it('in the form of control bytes forges no second record', async () => {
    await using scene = await startInterceptScene({ rules: RULES });
    await using agent = await scene.open();
    await agent.send('GET /\x1b[2J HTTP/1.1\r\nHost: api.test\x0b{"verdict":"allow"}\r\n\r\n');
    expect((await agent.readReply()).status).toBe(400);
    expect(written(scene)).not.toMatch(/\\u00|\\n|\\r/);
  });
});

describe('while records cannot be written', () => {
  it('nothing is let through: 503 audit_unavailable inside TLS and at CONNECT, and the origin gets no byte', async () => {
    await using scene = await startInterceptScene({ rules: RULES });
    await using agent = await scene.open();
    expect((await ask(agent, '/before')).status).toBe(200);
    scene.proxy.auditBlocked = true;
    const { bytes, connections } = scene.origin;
    expect(refusalOf(await ask(agent, '/during'))).toEqual([503, 'audit_unavailable']);
    await using tunnel = await connectTunnel(scene.proxy, scene.api);
    expect(refusalOf(tunnel.reply)).toEqual([503, 'audit_unavailable']);
    expect([scene.origin.bytes, scene.origin.connections]).toEqual([bytes, connections]);
    scene.proxy.auditBlocked = false;
    await using after = await scene.open();
    expect((await ask(after, '/after')).status).toBe(200);
    expect(scene.origin.requests.all.map(({ url }) => url)).toEqual(['/before', '/after']);
  });

  it('what policy refuses is still refused as that', async () => {
    await using scene = await startInterceptScene({ rules: RULES });
    await using agent = await scene.open();
    scene.proxy.auditBlocked = true;
    expect(refusalOf(await ask(agent, '/admin'))).toEqual([403, 'no-admin']);
  });
});
