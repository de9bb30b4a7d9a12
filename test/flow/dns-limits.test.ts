import { describe, expect, it } from 'vitest';
import { FlowCounts } from '../../src/audit/flow-counts.ts';
import { Samples } from '../../src/audit/metrics.ts';
import { framed } from '../kit/dns-client.ts';
import { startFilter } from '../kit/dns-filter.ts';
import { question } from '../kit/dns-message.ts';
import { ruleSetOf } from '../unit/policy/kit.ts';

const RULES = ruleSetOf(
  { id: 'api', condition: 'http.host == "api.test"' },
  { id: 'txt', condition: 'domain(dns.query, "txt.test") && dns.record_type == "TXT"' },
);

/** Stands still until it is told. */
function stoppedClock() {
  let now = 1_000_000;
  return { now: () => now, advance: (ms: number) => (now += ms) };
}

describe('an agent over its rate', () => {
  it('gets no answer to what is too much, and other agents get theirs', async () => {
    const clock = stoppedClock();
    await using scene = await startFilter(RULES, { clock, limits: { queriesPerSecond: 10, queryBurst: 5 } });
    const [greedy, modest] = [await scene.client('127.0.0.5'), await scene.client('127.0.0.6')];
    for (let id = 1; id <= 20; id++) greedy.send(question({ id, name: 'api.test' }));
    await greedy.answers.atLeast(5);
    expect((await modest.ask({ name: 'api.test' })).rcode).toBe(0);
    clock.advance(1_000);
    expect((await greedy.ask({ id: 100, name: 'api.test' })).rcode).toBe(0);
    expect(greedy.answers.all.map((answer) => answer.readUInt16BE(0))).toEqual([1, 2, 3, 4, 5, 100]);
  });

  it('is recorded once a second, with how many', async () => {
    const clock = stoppedClock();
    const counts = new FlowCounts();
    await using scene = await startFilter(RULES, { clock, counts, limits: { queriesPerSecond: 1, queryBurst: 1 } });
    const client = await scene.client('127.0.0.5');
    for (let id = 1; id <= 6; id++) client.send(question({ id, name: 'api.test' }));
    // What came before this question has been seen when it is answered.
    await (await scene.client('127.1.0.1')).ask({ name: 'marker.test' });
    clock.advance(1_000);
    for (let id = 7; id <= 8; id++) client.send(question({ id, name: 'api.test' }));
    await scene.records.atLeast(5);
    const records = scene.records.all.filter(({ agent }) => agent === 'agent-5');
    expect(records.map(({ verdict, reason, detail }) => [verdict, reason, detail])).toEqual([
      ['allow', null, expect.stringMatching(/^10\./)],
      ['failed', 'agent_limit', 'over the rate: 1 queries got no answer'],
      ['allow', null, expect.stringMatching(/^10\./)],
      ['failed', 'agent_limit', 'over the rate: 5 queries got no answer'],
    ]);
    expect(records[1]).toMatchObject({ agent_ip: '127.0.0.5', host: null });
    const samples = new Samples();
    counts.collect(samples);
    expect(samples.all).toContainEqual(['outcall_dns_dropped_total', 'agent="agent-5"', 6]);
  });

  it('shares its rate with nobody but strangers, who share one', async () => {
    await using scene = await startFilter(RULES, { clock: stoppedClock(), limits: { queryBurst: 3 } });
    const [one, two] = [await scene.client('127.1.0.1'), await scene.client('127.1.0.2')];
    for (let i = 0; i < 3; i++) expect((await one.ask({ name: 'api.test' })).rcode).toBe(5);
    two.send(question({ id: 1, name: 'api.test' }));
    await scene.records.some(({ reason }) => reason === 'agent_limit');
    expect(two.answers.count).toBe(0);
    expect((await (await scene.client('127.0.0.1')).ask({ name: 'api.test' })).rcode).toBe(0);
  });

  it('carries no more names outside than the lower rate of those', async () => {
    await using scene = await startFilter(RULES, {
      clock: stoppedClock(),
      limits: { relaysPerSecond: 1, relayBurst: 3 },
    });
    const client = await scene.client();
    const rcodes: number[] = [];
    for (let i = 0; i < 6; i++) rcodes.push((await client.ask({ name: `d${i}.txt.test`, type: 'TXT' })).rcode);
    expect(rcodes).toEqual([0, 0, 0, 2, 2, 2]);
    expect(scene.outside.queries.count).toBe(3);
    expect((await client.ask({ name: 'api.test' })).rcode).toBe(0);
  });
});

describe('a stream', () => {
  it('carries several questions, in pieces of any size, answered in their order', async () => {
    await using scene = await startFilter(RULES);
    await using stream = await (await scene.client()).stream();
    const names = ['api.test', 'other.test', 'api.test'];
    const bytes = Buffer.concat(names.map((name, id) => framed(question({ id, name }))));
    await stream.socket.sendPieces(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)));
    const answers = [await stream.answer(), await stream.answer(), await stream.answer()];
    expect(answers.map(({ id, rcode }) => [id, rcode])).toEqual([
      [0, 0],
      [1, 3],
      [2, 0],
    ]);
  });

  it('is answered though the agent has no more to ask, and then closed', async () => {
    await using scene = await startFilter(RULES);
    await using stream = await (await scene.client()).stream();
    await stream.socket.send(framed(question({ name: 'api.test' })));
    stream.socket.finish();
    expect((await stream.answer()).rcode).toBe(0);
    expect(await stream.socket.untilEnded()).toBe('FIN');
  });

  it('is closed where it has said nothing whole for too long, even if it dribbles', async () => {
    await using scene = await startFilter(RULES, { limits: { streamIdleMs: 300 } });
    const client = await scene.client();
    await using silent = await client.stream();
    await using dribbling = await client.stream();
    const dribble = setInterval(() => void dribbling.socket.send(Buffer.from([0])).catch(() => undefined), 50);
    await silent.socket.untilEnded();
    await dribbling.socket.untilEnded();
    clearInterval(dribble);
    await using used = await client.stream();
    expect((await used.ask({ name: 'api.test' })).rcode).toBe(0);
  });

  it('is closed where a question is longer than any needs to be', async () => {
    await using scene = await startFilter(RULES);
    const client = await scene.client();
    await using stream = await client.stream();
    await stream.socket.send(Buffer.from([0x10, 0x01]));
    await stream.socket.untilEnded();
    await using other = await client.stream();
    await other.socket.send(framed(Buffer.alloc(0x1000, 'x')));
    expect((await other.answer()).rcode).toBe(4);
  });

  it('is closed where the message is none that can be answered', async () => {
    await using scene = await startFilter(RULES);
    await using stream = await (await scene.client()).stream();
    await stream.socket.send(framed(question({ name: 'api.test', flags: 0x8180 })));
    await stream.socket.untilEnded();
    expect(stream.socket.receivedBytes).toBe(0);
  });

  it('too many are reset, of one agent and of all together; others go on, and room comes back', async () => {
    await using scene = await startFilter(RULES, { limits: { maxStreamsPerAgent: 2, maxStreams: 3 } });
    const [five, six, seven] = await Promise.all(['127.0.0.5', '127.0.0.6', '127.0.0.7'].map((ip) => scene.client(ip)));
    const first = await five!.stream();
    await using second = await five!.stream();
    expect((await first.ask({ name: 'api.test' })).rcode).toBe(0);
    expect((await second.ask({ name: 'api.test' })).rcode).toBe(0);
    await using third = await five!.stream();
    expect(await third.socket.untilEnded()).toBe('ECONNRESET');
    await using other = await six!.stream();
    expect((await other.ask({ name: 'api.test' })).rcode).toBe(0);
    await using tooMany = await seven!.stream();
    expect(await tooMany.socket.untilEnded()).toBe('ECONNRESET');
    first.socket.finish();
    await first.socket.untilEnded();
    await first[Symbol.asyncDispose]();
    await using again = await five!.stream();
    expect((await again.ask({ name: 'api.test' })).rcode).toBe(0);
  });
});
