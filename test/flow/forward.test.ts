/**
 * Plain HTTP through the explicit proxy in absolute form (S006): decided per request, forwarded faithfully, connections
 * kept on both sides and never shared between agents (threats 9, 13, 38). The same with and without a CA.
 */
import { describe, expect, it } from 'vitest';
import { openAgent } from '../kit/agent.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { startRawOrigin } from '../kit/raw-origin.ts';
import { allowHosts, rulesFile } from '../kit/rules.ts';
import { askPlain as ask, NOTHING_WENT_OUT, startScene, untouched, WITH_AND_WITHOUT_CA } from './scene.ts';

describe.each(WITH_AND_WITHOUT_CA)('a plain request, $title', ({ ca }) => {
  it('reaches the origin in origin-form as it was sent, without what is for the proxy alone', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const headers = [
      'X-Case: Kept',
      'x-case: twice',
      'Proxy-Connection: keep-alive',
      'Proxy-Authorization: Basic c2VjcmV0',
    ];
    const reply = await ask(scene, agent, '/echo?q=a%20b', { method: 'POST', headers, body: 'payload' });
    expect(reply.status).toBe(200);
    const seen = await scene.plain.nextRequest();
    expect([seen.method, seen.url, seen.body.toString()]).toEqual(['POST', '/echo?q=a%20b', 'payload']);
    expect(seen.header('host')).toEqual([`plain.test:${scene.plain.port}`]);
    expect(seen.header('x-case')).toEqual(['Kept', 'twice']);
    expect(seen.headers.filter((field) => /^proxy-/i.test(field))).toEqual([]);
    expect(await scene.proxy.nextRecord()).toMatchObject({
      event: 'request',
      verdict: 'allow',
      rule: 'plain.test',
      taken: 'forward',
      scheme: 'http',
      method: 'POST',
      host: 'plain.test',
      status: 200,
      body_size: 7,
      http_version: '1.1',
    });
  });

  it('is refused with 403 where no rule allows it, and neither origin nor resolver hears of it', async () => {
    const rule = '{ id: get-only, condition: \'http.host == "plain.test" && http.method == "GET"\', action: allow }';
    await using scene = await startScene({ ca, rules: rulesFile(rule) });
    await using agent = await openAgent(scene.proxy);
    const refused = await ask(scene, agent, '/', { method: 'DELETE' });
    expect([refused.status, fieldOf(refused.headers, 'x-outcall-block-reason')]).toEqual([403, 'default']);
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    await using other = await openAgent(scene.proxy);
    expect((await ask(scene, other, '/')).status).toBe(200);
    expect(scene.plain.requests.all.map((request) => request.method)).toEqual(['GET']);
  });

  it('never carries the values of its query into the record', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    await ask(scene, agent, '/echo?token=s3cret-value', { headers: ['Authorization: Bearer s3cret-header'] });
    const record = await scene.proxy.nextRecord();
    expect(record.path).toMatch(/^\/echo\?token=/);
    expect(JSON.stringify(record)).not.toContain('s3cret');
    expect((await scene.plain.nextRequest()).url).toBe('/echo?token=s3cret-value');
  });

  it.each([
    ['https in absolute form', 'GET https://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n', 400],
    ['ftp in absolute form', 'GET ftp://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n', 400],
    ['origin-form', 'GET / HTTP/1.1\r\nHost: plain.test\r\n\r\n', 400],
    ['a Host that differs from the target', 'GET http://plain.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n', 421],
    ['no Host in HTTP/1.1', 'GET http://plain.test/ HTTP/1.1\r\n\r\n', 400],
    ['TRACE', 'TRACE http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n', 405],
    ['userinfo in the target', 'GET http://plain.test@other.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n', 400],
    [
      'h2c by Upgrade',
      'GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n',
      400,
    ],
    ['h2c with prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ])('is refused as %s', async (_, bytes, status) => {
    await using scene = await startScene({ ca, rules: allowHosts('plain.test', 'other.test') });
    await using agent = await openAgent(scene.proxy);
    await agent.send(bytes);
    expect((await agent.readReply()).status).toBe(status);
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
    await using twin = await openAgent(scene.proxy);
    expect((await ask(scene, twin, '/')).status).toBe(200);
  });
});

describe.each(WITH_AND_WITHOUT_CA)('connections of plain requests, $title', ({ ca }) => {
  it('are kept on both sides: many requests, one connection each way', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    for (let i = 1; i <= 3; i++) expect((await ask(scene, agent, '/echo')).status).toBe(200);
    expect([scene.plain.connections, scene.plain.requests.count]).toEqual([1, 3]);
    await agent[Symbol.asyncDispose]();
    await using next = await openAgent(scene.proxy);
    expect((await ask(scene, next, '/echo')).status).toBe(200);
    expect(scene.plain.connections).toBe(1);
  });

  it('are never shared between agents, even for the same origin', async () => {
    await using scene = await startScene({ ca });
    for (const localAddress of ['127.0.0.2', '127.0.0.3', '127.0.0.2', '127.0.0.3']) {
      await using agent = await openAgent(scene.proxy, { localAddress });
      expect((await ask(scene, agent, '/', { headers: [`X-Agent: ${localAddress}`] })).status).toBe(200);
    }
    const agents = scene.plain.requests.all.map(
      (request) => `${request.header('x-agent')[0]} on ${request.connection}`,
    );
    expect(agents).toEqual(['127.0.0.2 on 1', '127.0.0.3 on 2', '127.0.0.2 on 1', '127.0.0.3 on 2']);
  });

  it('serve requests to different origins in turn on one agent connection', async () => {
    const rule = "{ id: all, condition: 'true', action: allow }";
    await using scene = await startScene({ ca, rules: rulesFile(rule) });
    await using agent = await openAgent(scene.proxy);
    const host = `other.test:${scene.plain.port}`;
    expect((await ask(scene, agent, '/echo')).status).toBe(200);
    expect((await agent.request({ target: `http://${host}/echo`, headers: [`Host: ${host}`] })).status).toBe(200);
    const hosts = scene.plain.requests.all.map((request) => request.header('host')[0]);
    expect(hosts).toEqual([`plain.test:${scene.plain.port}`, host]);
    expect(scene.plain.connections).toBe(2);
  });

  it('end when the origin ends its own, and the next request gets a new one', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    expect((await ask(scene, agent, '/')).status).toBe(200);
    scene.plain.dropConnections(true);
    await scene.plain.closed.atLeast(1);
    expect((await ask(scene, agent, '/')).status).toBe(200);
    expect(scene.plain.connections).toBe(2);
  });

  it('are closed where the agent says so, or speaks HTTP/1.0', async () => {
    await using scene = await startScene({ ca });
    await using agent = await openAgent(scene.proxy);
    const reply = await ask(scene, agent, '/', { headers: ['Connection: close'] });
    expect([reply.status, fieldOf(reply.headers, 'connection')]).toEqual([200, 'close']);
    expect(await agent.untilEnded()).toBe('FIN');
    await using old = await openAgent(scene.proxy);
    await old.send(`GET ${scene.plainUrl}/chunked HTTP/1.0\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`);
    const answer = (await old.readToEnd()).toString();
    expect(answer).toMatch(/^HTTP\/1\.[01] (200|502)/);
    expect(answer).not.toMatch(/^transfer-encoding/im);
  });
});

describe.each(WITH_AND_WITHOUT_CA)('pipelined requests, $title', ({ ca }) => {
  it('are answered in order, each decided by itself, and the refused one reaches nobody', async () => {
    const rule = '{ id: free, condition: \'http.host == "plain.test" && http.path != "/secret"\', action: allow }';
    await using scene = await startScene({ ca, rules: rulesFile(rule) });
    await using agent = await openAgent(scene.proxy);
    const one = (path: string) =>
      `GET ${scene.plainUrl}${path} HTTP/1.1\r\nHost: plain.test:${scene.plain.port}\r\n\r\n`;
    await agent.send(one('/echo?1') + one('/echo?2') + one('/secret') + one('/echo?4'));
    const replies = [await agent.readReply(), await agent.readReply(), await agent.readReply()];
    expect(replies.map((reply) => reply.status)).toEqual([200, 200, 403]);
    expect(replies.slice(0, 2).map((reply) => JSON.parse(reply.body.toString()).url)).toEqual(['/echo?1', '/echo?2']);
    expect((await agent.readToEnd()).length).toBe(0);
    expect(scene.plain.requests.all.map((request) => request.url)).toEqual(['/echo?1', '/echo?2']);
  });

  it('go to the origin one at a time: the second waits for the whole first response', async () => {
    await using raw = await startRawOrigin();
    await using scene = await startScene({ ca, zone: { 'raw.test': '127.0.0.1' }, rules: allowHosts('raw.test') });
    await using agent = await openAgent(scene.proxy);
    const host = `raw.test:${raw.port}`;
    const one = (path: string) =>
      `POST http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 3\r\n\r\nabc`;
    await agent.send(one('/1') + one('/2'));
    const peer = await raw.peers.next();
    await peer.readRequest();
    await peer.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab');
    await agent.readUntil('ab');
    expect(peer.received.toString()).not.toContain('/2');
    await peer.send('cd');
    expect((await peer.readRequest()).toString()).toMatch(/^POST \/2 HTTP\/1\.1\r\n/);
    await peer.send('HTTP/1.1 204 No Content\r\n\r\n');
    expect((await agent.readExactly(2)).toString()).toBe('cd');
    expect((await agent.readReply()).status).toBe(204);
    expect(raw.connections).toBe(1);
  });
});
