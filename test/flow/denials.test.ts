/**
 * What an agent reads when it is denied: one reason through every door, as text or as JSON, as the request's Accept says.
 */
import { describe, expect, it } from 'vitest';
import { connectTunnel, openAgent } from '../kit/agent.ts';
import { fieldOf, type Reply } from '../kit/http1-reply.ts';
import { rulesFile } from '../kit/rules.ts';
import { startH2Scene } from './h2-scene.ts';
import { ask, interceptRule, startInterceptScene } from './intercept-scene.ts';
import { askPlain, startScene } from './scene.ts';

const JSON_PLEASE = 'Accept: application/json';
const POST_ONLY = rulesFile(
  interceptRule('post-only', 'http.host == "api.test" && http.method == "POST"'),
  `{ id: no-get, priority: 50, condition: 'http.host == "api.test" && http.method == "GET"', action: block }`,
);
const NO_GET = { error: 'blocked', reason: 'rule no-get', rule: 'no-get' };

function bodyOf(reply: Reply): readonly [number, string | undefined, string] {
  return [reply.status, fieldOf(reply.headers, 'content-type')?.split(';')[0], reply.body.toString()];
}

describe('a denial', () => {
  it('gives the same reason in HTTP/1.1 and HTTP/2, to a WebSocket too, as text and as JSON', async () => {
    const wanted = [
      [[], 'text/plain', 'Blocked by outcall: rule no-get'],
      [[JSON_PLEASE], 'application/json', JSON.stringify(NO_GET)],
    ] as const;
    await using h1 = await startInterceptScene({ rules: POST_ONLY });
    await using h2 = await startH2Scene({ rules: POST_ONLY });
    const upgrade = [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: eA==',
    ];
    for (const [headers, type, text] of wanted) {
      await using agent = await h1.open();
      expect(bodyOf(await ask(agent, '/', { headers }))).toEqual([403, type, text]);
      await using socket = await h1.open();
      expect(bodyOf(await ask(socket, '/ws', { headers: [...headers, ...upgrade] }))).toEqual([403, type, text]);
      await using other = await h2.open();
      const reply = await other.request({
        ':path': '/',
        ...(headers.length > 0 ? { accept: 'application/json' } : {}),
      });
      expect([reply.status, reply.headers['content-type']?.split(';')[0], String(reply.body)]).toEqual([
        403,
        type,
        text,
      ]);
    }
    expect([h1.origin.bytes, h2.origin.heads.count]).toEqual([0, 0]);
    await using agent = await h1.open();
    expect((await ask(agent, '/', { method: 'POST', body: '' })).status).toBe(200);
  });

  it('of a CONNECT is JSON for who accepts it, be it a block or a failure, and text for who does not', async () => {
    await using scene = await startScene();
    const answers = async (target: string) => {
      const bodies: string[] = [];
      for (const headers of [[], [JSON_PLEASE]]) {
        await using tunnel = await connectTunnel(scene.proxy, target, { headers });
        bodies.push(tunnel.reply.body.toString());
      }
      return bodies;
    };
    expect(await answers(scene.other)).toEqual([
      'Blocked by outcall: no rule allows this request',
      JSON.stringify({ error: 'blocked', reason: 'no rule allows this request', rule: 'default' }),
    ]);
    expect(await answers('0x7f.1:443')).toEqual([
      'Outcall could not complete the request: the host name or port is not valid',
      JSON.stringify({ error: 'failed', reason: 'invalid_host', text: 'the host name or port is not valid' }),
    ]);
    await using tunnel = await connectTunnel(scene.proxy, scene.api, { headers: [JSON_PLEASE] });
    expect(tunnel.reply.status).toBe(200);
  });
});

describe('a page of our own', () => {
  it('is there in origin-form, and under the address that the agent connected to; under other names it is an origin’s', async () => {
    await using scene = await startScene();
    const own = `http://127.0.0.1:${scene.proxy.port}`;
    const statusOf = async (target: string, host: string) => {
      await using agent = await openAgent(scene.proxy);
      return (await agent.request({ target, headers: [`Host: ${host}`] })).status;
    };
    expect(await statusOf('/outcall-health', 'proxy')).toBe(200);
    expect(await statusOf(`${own}/outcall-health`, own.slice('http://'.length))).toBe(200);
    expect(await statusOf(`http://127.0.0.1:${scene.plain.port}/outcall-health`, `127.0.0.1:${scene.plain.port}`)).toBe(
      403,
    );
    expect(scene.plain.connections).toBe(0);
    await using agent = await openAgent(scene.proxy);
    expect((await askPlain(scene, agent, '/outcall-health')).body.toString()).toBe('ok');
    expect((await scene.plain.nextRequest()).url).toBe('/outcall-health');
  });
});
