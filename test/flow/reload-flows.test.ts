/**
 * What a new rule set does to what is under way (threat 33): what it refuses ends, what it allows goes on.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { CODE } from '../kit/h2-wire.ts';
import { rulesFile } from '../kit/rules.ts';
import { refusalOf as h2RefusalOf, startH2Scene } from './h2-scene.ts';
import { interceptRule, refusalOf, startInterceptScene } from './intercept-scene.ts';

const TWO_PATHS = rulesFile(interceptRule('two', 'http.host == "api.test" && http.path in ["/live", "/sse"]'));
const ONE_PATH = rulesFile(interceptRule('one', 'http.host == "api.test" && http.path == "/sse"'));

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
});
