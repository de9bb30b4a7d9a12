/**
 * What a new rule set does to what is under way (threat 33): what it refuses ends, what it allows goes on.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { CODE } from '../kit/h2-wire.ts';
import type { OriginReply } from '../kit/origin.ts';
import { rulesFile } from '../kit/rules.ts';
import { refusalOf as h2RefusalOf, startH2Scene } from './h2-scene.ts';
import { interceptRule, refusalOf, startInterceptScene } from './intercept-scene.ts';

const TWO_PATHS = rulesFile(interceptRule('two', 'http.host == "api.test" && http.path in ["/live", "/sse"]'));
const ONE_PATH = rulesFile(interceptRule('one', 'http.host == "api.test" && http.path == "/sse"'));

const answering = (status: string) =>
  rulesFile(interceptRule('answers', 'http.host == "api.test"', `, response: 'http.response.status == ${status}'`));

/** Answers that wait for `release`. */
const held: OriginReply[] = [];
const hold = (_: unknown, reply: OriginReply) => held.push(reply) > 0;
const release = () => held.splice(0).forEach((reply) => void reply.writeHead(200, { 'content-length': 2 }).end('ok'));

describe('a reload', () => {
  it('ends the HTTP/2 stream that the new set refuses, begun or not, and leaves the others of its connection be', async () => {
    await using scene = await startH2Scene({ rules: TWO_PATHS });
    await using agent = await scene.open();
    const kept = agent.session.request({ ':path': '/sse' });
    const begun = agent.session.request({ ':path': '/live' });
    const keptLive = await scene.origin.live.next(({ request }) => request.url === '/sse');
    const begunLive = await scene.origin.live.next(({ request }) => request.url === '/live');
    await Promise.all([begunLive.send('first'), once(begun, 'data')]);
    const ended = once(begun, 'error');
    scene.proxy.reload(ONE_PATH);
    await ended;
    expect([begun.rstCode === CODE.none, await begunLive.closed]).toEqual([false, false]);
    expect(await scene.proxy.nextRecord()).toMatchObject({ path: '/live', verdict: 'failed', reason: 'rules_changed' });
    await keptLive.send('still here');
    expect(String((await once(kept, 'data'))[0])).toBe('still here');
    expect(h2RefusalOf(await agent.request({ ':path': '/live' }))).toEqual([403, 'default']);
  });

  it('decides a request whose body is held back by the set that is in force once the body is there', async () => {
    const rulesFor = (word: string) =>
      rulesFile(interceptRule(word, `http.host == "api.test" && http.body == "${word}"`, ', match_body: true'));
    for (const [word, answer] of [
      ['old', [403, 'default']],
      ['new', [200, undefined]],
    ] as const) {
      await using scene = await startInterceptScene({ rules: rulesFor('old') });
      await using agent = await scene.open();
      await agent.send('POST /echo HTTP/1.1\r\nHost: api.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n');
      await agent.readUntil('HTTP/1.1 100 Continue\r\n\r\n');
      scene.proxy.reload(rulesFor('new'));
      await agent.send(word);
      expect(refusalOf(await agent.readReply())).toEqual(answer);
      expect(await scene.proxy.nextRecord()).toMatchObject({ generation: 2, status: answer[0] });
      expect(scene.origin.requests.count).toBe(answer[0] === 200 ? 1 : 0);
    }
  });

  it('has an answer that has not begun decided by the new set, over HTTP/1.1 and HTTP/2', async () => {
    for (const [before, after, answer] of [
      ['200', '204', [403, 'answers']],
      ['204', '200', [200, undefined]],
    ] as const) {
      await using h1 = await startInterceptScene({ rules: answering(before), origin: { handler: hold } });
      await using agent = await h1.open();
      await agent.send('GET / HTTP/1.1\r\nHost: api.test\r\n\r\n');
      await h1.origin.requests.next();
      h1.proxy.reload(answering(after));
      release();
      expect(refusalOf(await agent.readReply())).toEqual(answer);
      expect(await h1.proxy.nextRecord()).toMatchObject({ generation: 2, status: answer[0] });
      await using h2 = await startH2Scene({ rules: answering(before), origin: { handler: hold } });
      await using other = await h2.open();
      const asked = other.request({ ':path': '/' });
      await h2.origin.requests.next();
      h2.proxy.reload(answering(after));
      release();
      expect(h2RefusalOf(await asked)).toEqual(answer);
      expect(await h2.proxy.nextRecord()).toMatchObject({ generation: 2, status: answer[0] });
    }
  });

  it('ends an answer that is under way where the new set would refuse it, and no other', async () => {
    const rules = answering('200');
    await using h1 = await startInterceptScene({ rules });
    await using agent = await h1.open();
    await agent.send('GET /live HTTP/1.1\r\nHost: api.test\r\n\r\n');
    const live = await h1.origin.live.next();
    await agent.readUntil('\r\n\r\n');
    h1.proxy.reload(answering('200'));
    await live.send('still');
    await agent.readUntil('still');
    h1.proxy.reload(answering('204'));
    expect(await agent.untilEnded()).toBe('ECONNRESET');
    expect(await h1.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'rules_changed', status: 200 });
    await using h2 = await startH2Scene({ rules });
    await using other = await h2.open();
    const stream = other.session.request({ ':path': '/live' });
    const begun = await h2.origin.live.next();
    await once(stream, 'response');
    h2.proxy.reload(answering('200'));
    await begun.send('still');
    expect(String((await once(stream, 'data'))[0])).toBe('still');
    const ended = once(stream, 'error');
    h2.proxy.reload(answering('204'));
    await ended;
    expect(await h2.proxy.nextRecord()).toMatchObject({ verdict: 'failed', reason: 'rules_changed', status: 200 });
  });

  it('from audit to enforce ends what was let through and leaves what is allowed; back again loses nothing', async () => {
    const rules = (defaults: string) => ONE_PATH.replace('rules:', `${defaults}rules:`);
    const audit = rules('defaults: { enforcement: audit, unmatched: intercept }\n');
    await using scene = await startInterceptScene({ rules: audit });
    const open = async (path: string) => {
      const agent = await scene.open();
      await agent.send(`GET ${path} HTTP/1.1\r\nHost: api.test\r\n\r\n`);
      const live = await scene.origin.live.next(({ request }) => request.url === path);
      await agent.readUntil('\r\n\r\n');
      return { agent, live };
    };
    const allowed = await open('/sse');
    const letThrough = await open('/live');
    scene.proxy.reload(rules(''));
    expect(await letThrough.agent.untilEnded()).toBe('ECONNRESET');
    expect(await scene.proxy.nextRecord()).toMatchObject({
      path: '/live',
      reason: 'rules_changed',
      would_block: 'default',
    });
    scene.proxy.reload(audit);
    await allowed.live.send('data: still here\n\n');
    await allowed.agent.readUntil('data: still here\n\n');
    await using again = (await open('/live')).agent;
    expect(again.ended).toBeUndefined();
    await allowed.agent[Symbol.asyncDispose]();
  });
});
