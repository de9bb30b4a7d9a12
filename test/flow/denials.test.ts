/**
 * What an agent reads when it is denied: one reason through every door, as text or as JSON, as the request's Accept says.
 */
import { describe, expect, it } from 'vitest';
import { connectTunnel, openAgent } from '../kit/agent.ts';
import { fieldOf, type Reply } from '../kit/http1-reply.ts';
import type { TestProxy } from '../kit/proxy.ts';
import { rulesFile } from '../kit/rules.ts';
import { startH2Scene } from './h2-scene.ts';
import { ask, interceptRule, startInterceptScene } from './intercept-scene.ts';
import { askPlain, NOTHING_WENT_OUT, startScene, untouched } from './scene.ts';

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

describe('what an agent may use', () => {
  const RULES = rulesFile(
    interceptRule(
      'post-only',
      'agent.name == "agent-1" && http.host == "api.test" && http.method == "POST"',
      ', ports: [443]',
    ),
    `{ id: for-two, condition: 'agent.name == "agent-2" && http.host == "plain.test"', action: allow }`,
  );
  const askFor = async (proxy: TestProxy, localAddress: string, ...headers: readonly string[]) => {
    await using agent = await openAgent(proxy, { localAddress });
    return await agent.request({ target: '/policy', headers: ['Host: proxy', ...headers] });
  };

  it('is told to that agent by GET /policy, and nothing of others; the rule set in force is what counts', async () => {
    await using scene = await startScene({ rules: RULES, ca: true });
    const one = await askFor(scene.proxy, '127.0.0.1');
    expect([one.status, fieldOf(one.headers, 'content-type')]).toEqual([200, 'application/json']);
    expect(JSON.parse(one.body.toString())).toEqual({
      complete: true,
      hosts: [
        {
          host: 'api.test',
          schemes: ['https', 'http'],
          ports: [443],
          methods: ['POST'],
          partly: [],
          intercepted: true,
        },
      ],
    });
    const two = (await askFor(scene.proxy, '127.0.0.2')).body.toString();
    expect([two.includes('plain.test'), two.includes('api.test'), two.includes('for-two')]).toEqual([
      true,
      false,
      false,
    ]);
    scene.proxy.reload(rulesFile());
    expect(JSON.parse((await askFor(scene.proxy, '127.0.0.1')).body.toString())).toEqual({ complete: true, hosts: [] });
    expect(untouched(scene)).toEqual(NOTHING_WENT_OUT);
  });

  it('is told as text to who asks for text', async () => {
    await using scene = await startScene({ rules: RULES, ca: true });
    const texts = await Promise.all(
      ['127.0.0.1', '127.0.0.2', '127.0.0.3'].map(async (from) =>
        (await askFor(scene.proxy, from, 'Accept: text/plain')).body.toString(),
      ),
    );
    expect(texts.map((text) => text.trimEnd().split('\n').at(-1))).toEqual([
      'api.test  https, http  port 443  POST; decrypted by the proxy',
      'plain.test  https, http  any port  any method',
      'This agent may use nothing: everything is refused.',
    ]);
  });

  it('is a page of the explicit proxy alone: inside a CONNECT, the path is the origin’s', async () => {
    await using scene = await startInterceptScene();
    await using agent = await scene.open();
    expect((await ask(agent, '/policy')).body.toString()).toBe('ok');
    expect((await scene.origin.nextRequest()).url).toBe('/policy');
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
