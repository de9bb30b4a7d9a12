/**
 * Rules on the request body (S011-FR-013, FR-014, FR-020; threats 28, 29, 30): it is held until it has been decided on, and
 * then goes to the origin byte for byte as it came. What is refused brings the origin no byte.
 */
import { describe, expect, it } from 'vitest';
import type { AgentSocket } from '../kit/agent-socket.ts';
import type { Reply } from '../kit/http1-reply.ts';
import { says } from '../kit/raw-origin.ts';
import { rulesFile } from '../kit/rules.ts';
import {
  ask,
  blockRule,
  interceptRule,
  refusalOf,
  startInterceptScene,
  startRawInterceptScene,
} from './intercept-scene.ts';

const CAP_BYTES = 1_024;
const API = 'http.host == "api.test"';
const MATCH_BODY = ', match_body: true';
const JSON_TYPE = { headers: ['Content-Type: application/json'] };

const SMALL_MODEL = rulesFile(interceptRule('small', `${API} && http.json.model == "small"`, MATCH_BODY));
const NO_SHELL = rulesFile(blockRule('no-shell', `${API} && http.body.contains("rm -rf")`), interceptRule('rest', API));
const NO_SHELL_GUARDED = rulesFile(
  blockRule('no-shell', `${API} && http.body != null && http.body.contains("rm -rf")`),
  interceptRule('rest', API),
);

function post(agent: AgentSocket, body: string | Buffer, headers: readonly string[] = []): Promise<Reply> {
  return ask(agent, '/echo', { method: 'POST', body, headers });
}

function chunked(...chunks: readonly string[]): string {
  const parts = chunks.map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`);
  return `${parts.join('')}0\r\n\r\n`;
}

describe('a rule on the request body', () => {
  it('S011-AS-007: that reads JSON lets one payload through and refuses another, of which the origin gets no byte', async () => {
    await using scene = await startInterceptScene({ rules: SMALL_MODEL });
    await using refused = await scene.open();
    expect(refusalOf(await ask(refused, '/', { method: 'POST', body: '{"model":"large"}', ...JSON_TYPE }))).toEqual([
      403,
      'default',
    ]);
    expect(scene.origin.bytes).toBe(0);
    const body = '{ "model" : "sm\\u0061ll" }';
    await using allowed = await scene.open();
    expect((await ask(allowed, '/', { method: 'POST', body, ...JSON_TYPE })).status).toBe(200);
    expect((await scene.origin.nextRequest()).body.toString()).toBe(body);
  });

  it('S011-SC-006: catches a pattern in the payload, wherever in the body and however it is framed', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    for (const send of [
      (agent: AgentSocket) => post(agent, 'please run rm -rf / now'),
      async (agent: AgentSocket) => {
        const head = 'POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n';
        await agent.sendPieces([head, ...chunked('please run r', 'm -', 'rf / now').split(/(?<=\n)/)]);
        return agent.readReply();
      },
    ]) {
      await using agent = await scene.open();
      expect(refusalOf(await send(agent))).toEqual([403, 'no-shell']);
    }
    expect(scene.origin.bytes).toBe(0);
    await using twin = await scene.open();
    expect((await post(twin, 'please run rm -r / now')).status).toBe(200);
  });

  it('S011-IF-011: sees text, empty where there is no body, and U+FFFD for what is not UTF-8', async () => {
    const condition = `${API} && http.body in ["", "caf\\u00e9", "a\\ufffdb"]`;
    await using scene = await startInterceptScene({ rules: rulesFile(interceptRule('listed', condition, MATCH_BODY)) });
    const status = async (body: Buffer) => {
      await using agent = await scene.open();
      return (await post(agent, body)).status;
    };
    expect(await status(Buffer.from('cafe'))).toBe(403);
    expect(scene.origin.bytes).toBe(0);
    await using bare = await scene.open();
    expect((await ask(bare, '/')).status).toBe(200);
    expect(await status(Buffer.alloc(0))).toBe(200);
    expect(await status(Buffer.from('café'))).toBe(200);
    expect(await status(Buffer.from('a\xffb', 'latin1'))).toBe(200);
    expect((await scene.origin.requests.some(({ bodyBytes }) => bodyBytes === 3)).body).toEqual(
      Buffer.from('a\xffb', 'latin1'),
    );
  });

  it('S011-FR-020: needs match_body to see anything: without it the body is null, and is not held', async () => {
    const condition = `${API} && http.body == null`;
    await using without = await startInterceptScene({ rules: rulesFile(interceptRule('blank', condition)) });
    await using streaming = await without.open();
    await streaming.send('POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: 8\r\n\r\nhalf');
    await without.origin.heads.some(({ bodyBytes }) => bodyBytes === 4);
    await streaming.send('half');
    expect((await streaming.readReply()).status).toBe(200);
    await using held = await startInterceptScene({ rules: rulesFile(interceptRule('blank', condition, MATCH_BODY)) });
    await using agent = await held.open();
    expect((await post(agent, 'halfhalf')).status).toBe(403);
    expect(held.origin.bytes).toBe(0);
  });

  it('holds the whole body: nothing of the request is at the origin before the last byte has come', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    await using agent = await scene.open();
    await agent.send('POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: 8\r\n\r\nhalf');
    await using other = await scene.open();
    expect((await ask(other, '/')).status).toBe(200); // By now those bytes have been read.
    expect(scene.origin.heads.all.map(({ url }) => url)).toEqual(['/']);
    await agent.send('half');
    expect((await agent.readReply()).status).toBe(200);
    expect((await scene.origin.requests.some(({ url }) => url === '/echo')).body.toString()).toBe('halfhalf');
  });

  it('is decided anew on each request of a kept connection, and what is pipelined behind it waits', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    await using agent = await scene.open();
    const request = (body: string) =>
      `POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    await agent.send(request('one') + request('two') + request('rm -rf') + request('four'));
    expect(JSON.parse((await agent.readReply()).body.toString())).toMatchObject({ body: 'one' });
    expect(JSON.parse((await agent.readReply()).body.toString())).toMatchObject({ body: 'two' });
    expect((await agent.readReply()).status).toBe(403);
    expect((await agent.readToEnd()).length).toBe(0);
    expect(scene.origin.requests.all.map(({ body }) => body.toString())).toEqual(['one', 'two']);
  });

  it('that is given up by its agent in the middle leaves the origin untouched', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    await using agent = await scene.open();
    await agent.send('POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: 8\r\n\r\nhalf');
    agent.finish();
    expect(await scene.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'client_closed', bytes_up: 0 });
    expect(scene.origin.bytes).toBe(0);
    await using twin = await scene.open();
    expect((await post(twin, 'halfhalf')).status).toBe(200);
  });
});

describe('S011-EC-005: a body over the cap', () => {
  const over = `${'x'.repeat(CAP_BYTES)}rm -rf`;
  const options = { bodyCapBytes: CAP_BYTES };

  it.each([
    ['with a Content-Length', (agent: AgentSocket, body: string) => post(agent, body)],
    [
      'in chunks',
      async (agent: AgentSocket, body: string) => {
        const head = 'POST /echo HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n';
        await agent.sendPieces([head, chunked(body.slice(0, 600), body.slice(600))]);
        return agent.readReply();
      },
    ],
  ])(
    '%s is null to rules: an unguarded block rule blocks it, a guarded one lets it pass with a warning',
    async (_, send) => {
      await using unguarded = await startInterceptScene({ rules: NO_SHELL, options });
      await using refused = await unguarded.open();
      expect(refusalOf(await send(refused, over))).toEqual([403, 'no-shell']);
      expect(await unguarded.proxy.nextRecord()).toMatchObject({ verdict: 'block', reason: 'error', rule: 'no-shell' });
      expect(unguarded.origin.bytes).toBe(0);
      await using under = await unguarded.open();
      expect((await send(under, 'x'.repeat(CAP_BYTES))).status).toBe(200);

      await using guarded = await startInterceptScene({ rules: NO_SHELL_GUARDED, options });
      await using allowed = await guarded.open();
      expect((await send(allowed, over)).status).toBe(200);
      expect((await guarded.origin.nextRequest()).body.toString()).toBe(over);
      const said = await guarded.proxy.said.next(({ level }) => level === 'warn');
      expect(said.fields).toMatchObject({ event: 'body_over_cap', rule: 'no-shell', host: 'api.test' });
      expect((said.fields as { body_size: number }).body_size).toBeGreaterThan(CAP_BYTES);
      await using caught = await guarded.open();
      expect(refusalOf(await send(caught, 'rm -rf'))).toEqual([403, 'no-shell']);
    },
  );

  it('satisfies no unguarded allow rule, and one that asks for null', async () => {
    const unguarded = rulesFile(interceptRule('x', `${API} && http.body.startsWith("x")`, MATCH_BODY));
    await using strict = await startInterceptScene({ rules: unguarded, options });
    await using refused = await strict.open();
    expect(refusalOf(await post(refused, over))).toEqual([403, 'default']);
    expect(strict.origin.bytes).toBe(0);
    const condition = `${API} && (http.body == null || http.body.startsWith("x"))`;
    await using open = await startInterceptScene({
      rules: rulesFile(interceptRule('x', condition, MATCH_BODY)),
      options,
    });
    await using allowed = await open.open();
    expect((await post(allowed, over)).status).toBe(200);
    await using under = await open.open();
    expect((await post(under, 'y')).status).toBe(403);
  });

  it('streams on to the origin once it is decided, while the agent still sends', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL_GUARDED, options });
    await using agent = await scene.open();
    await agent.send(
      `POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: ${2 * CAP_BYTES}\r\n\r\n${'x'.repeat(CAP_BYTES)}`,
    );
    await scene.origin.heads.some(({ bodyBytes }) => bodyBytes === CAP_BYTES);
    await agent.send('y'.repeat(CAP_BYTES));
    expect((await agent.readReply()).status).toBe(200);
  });

  it('of 0 makes every body null', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL, options: { bodyCapBytes: 0 } });
    await using refused = await scene.open();
    expect(refusalOf(await post(refused, 'x'))).toEqual([403, 'no-shell']);
    expect(scene.origin.bytes).toBe(0);
    await using bare = await scene.open();
    expect((await ask(bare, '/')).status).toBe(200);
  });
});

describe('a held body', () => {
  it('goes to the origin byte for byte: chunk sizes and trailers as they came', async () => {
    await using scene = await startRawInterceptScene(says(''), { rules: NO_SHELL });
    await using agent = await scene.open();
    const head = `POST /x HTTP/1.1\r\nHost: ${scene.api}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n`;
    const body = '3\r\nabc\r\n0002\r\nde\r\n0\r\nX-Sum: 9\r\n\r\n';
    await agent.sendPieces([head, ...body]);
    const peer = await scene.origin.peers.next();
    expect((await peer.readExactly(head.length + body.length)).toString()).toBe(head + body);
    await peer.send('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    expect((await agent.readReply()).status).toBe(200);
    expect(await scene.proxy.nextRecord()).toMatchObject({ body_size: 5, bytes_up: head.length + body.length });
  });

  it('is asked for with 100 by the proxy, which then asks the origin for none', async () => {
    await using scene = await startInterceptScene({ rules: NO_SHELL });
    const head = 'POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n';
    await using refused = await scene.open();
    await refused.send(head);
    expect((await refused.readUntil('\r\n\r\n')).toString()).toMatch(/^HTTP\/1\.1 100 /);
    await refused.send('rm -rf');
    expect((await refused.readReply()).status).toBe(403);
    expect(scene.origin.bytes).toBe(0);
    await using allowed = await scene.open();
    await allowed.send(head);
    await allowed.readUntil('\r\n\r\n');
    await allowed.send('rm -rg');
    const reply = await allowed.readReply();
    expect([reply.status, reply.interim]).toEqual([200, []]);
    expect((await scene.origin.nextRequest()).header('expect')).toEqual([]);
  });

  it('over the cap is not asked for by the proxy: the origin is, once the rules have let it pass', async () => {
    const options = { bodyCapBytes: CAP_BYTES };
    const head = `POST /refuse HTTP/1.1\r\nHost: api.test\r\nContent-Length: ${CAP_BYTES + 1}\r\nExpect: 100-continue\r\n\r\n`;
    await using unguarded = await startInterceptScene({ rules: NO_SHELL, options });
    await using refused = await unguarded.open();
    await refused.send(head);
    expect([(await refused.readReply()).status, unguarded.origin.bytes]).toEqual([403, 0]);
    await using guarded = await startInterceptScene({ rules: NO_SHELL_GUARDED, options });
    await using asked = await guarded.open();
    await asked.send(head);
    const reply = await asked.readReply();
    expect([reply.status, reply.interim]).toEqual([417, []]);
  });
});
