/** A kept answer: for the same bytes of the same agent under the same rules, and with everything done that a query causes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FlowCounts } from '../../../src/audit/flow-counts.ts';
import { AnswerCache, type Known } from '../../../src/dns/answer-cache.ts';
import { DNS_LIMITS } from '../../../src/dns/limits.ts';
import type { SyntheticPool } from '../../../src/dns/pool.ts';
import { QueryHandler } from '../../../src/dns/query-handler.ts';
import { Share, type Source } from '../../../src/dns/sources.ts';
import type { AgentFacts } from '../../../src/domain/facts.ts';
import type { AuditRecord } from '../../../src/domain/record.ts';
import { addressesIn, decode, question } from '../../kit/dns-message.ts';
import { AGENT, ruleSetOf } from '../policy/kit.ts';

const KNOWN = {} as Known;
const GENERATION = 7;

describe('the cache of answers', () => {
  it('knows a message again by every byte but the id', () => {
    const message = fc.uint8Array({ minLength: 12, maxLength: 320 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(message, fc.nat(), fc.nat({ max: 0xffff }), fc.integer({ min: 1, max: 255 }), (kept, at, id, by) => {
        const cache = new AnswerCache();
        cache.set(sourceOf(1), kept, AGENT, GENERATION, KNOWN);
        kept.writeUInt16BE(id, 0); // it has a copy
        const source = sourceOf(1);
        cache.set(source, kept, AGENT, GENERATION, KNOWN);
        expect(cache.get(source, kept, AGENT, GENERATION)).toBe(KNOWN);
        const other = Buffer.from(kept);
        const index = 2 + (at % (kept.length - 2));
        other[index] = (other[index] as number) ^ by;
        expect(cache.get(source, other, AGENT, GENERATION)).toBeUndefined();
        expect(cache.get(source, Buffer.concat([kept, Buffer.from([0])]), AGENT, GENERATION)).toBeUndefined();
      }),
    );
  });

  it('keeps it for one agent as it was known then, and for one rule set', () => {
    const cache = new AnswerCache();
    const [mine, message] = [sourceOf(1), question({ name: 'api.test' })];
    cache.set(mine, message, AGENT, GENERATION, KNOWN);
    expect(cache.get(mine, message, AGENT, GENERATION)).toBe(KNOWN);
    expect(cache.get(sourceOf(2), message, AGENT, GENERATION)).toBeUndefined();
    expect(cache.get(sourceOf(1), message, AGENT, GENERATION)).toBeUndefined();
    expect(cache.get(mine, message, { ...AGENT }, GENERATION)).toBeUndefined();
    expect(cache.get(mine, message, AGENT, GENERATION + 1)).toBeUndefined();
  });

  it('keeps no message that is longer than questions are', () => {
    const cache = new AnswerCache();
    const source = sourceOf(1);
    for (const [bytes, known] of [
      [320, KNOWN],
      [321, undefined],
    ] as const) {
      cache.set(source, Buffer.alloc(bytes), AGENT, GENERATION, KNOWN);
      expect(cache.get(source, Buffer.alloc(bytes), AGENT, GENERATION)).toBe(known);
    }
  });
});

describe('a question that comes again', () => {
  it('has the address of now, and a record and a count of its own', () => {
    const scene = handlerScene();
    const asked = [1, 2, 3].map((id) => scene.ask({ id, name: 'API.test' }));
    expect(asked.map(({ id, question: said }) => [id, said?.name])).toEqual([1, 2, 3].map((id) => [id, 'API.test']));
    expect(asked.map(addressesIn)).toEqual([['10.203.128.1'], ['10.203.128.1'], ['10.203.128.1']]);
    scene.address = '10.203.128.2';
    expect(addressesIn(scene.ask({ id: 4, name: 'API.test' }))).toEqual(['10.203.128.2']);
    scene.address = undefined;
    expect(scene.ask({ id: 5, name: 'API.test' })).toMatchObject({ id: 5, rcode: 2, answers: [] });
    const details = ['10.203.128.1', '10.203.128.1', '10.203.128.1', '10.203.128.2', 'no synthetic address is free'];
    expect(scene.records.map(({ detail }) => detail)).toEqual(details);
    expect(new Set(scene.records.map(({ flow }) => flow)).size).toBe(5);
    expect(scene.records[1]).toEqual({ ...scene.records[0], flow: scene.records[1]?.flow });
    expect(scene.granted).toEqual(Array(4).fill('api.test'));
  });

  it('is decided anew under other rules, and as soon as more is known of the agent', () => {
    const scene = handlerScene();
    expect(scene.ask({ name: 'api.test' }).rcode).toBe(0);
    expect(scene.ask({ name: 'red.test' }).rcode).toBe(0);
    scene.agent = { ...AGENT, labels: {} };
    expect(scene.ask({ name: 'red.test' }).rcode).toBe(3);
    scene.rules = { ...ruleSetOf({ condition: 'http.host == "other.test"' }), generation: 2 };
    expect(scene.ask({ name: 'api.test' }).rcode).toBe(3);
  });

  it('is not answered while records cannot be written', () => {
    const scene = handlerScene();
    expect(scene.ask({ name: 'api.test' }).rcode).toBe(0);
    scene.blocked = true;
    expect(scene.ask({ name: 'api.test' }).rcode).toBe(2);
  });
});

function sourceOf(number: number): Source {
  const share = new Share({ ...DNS_LIMITS, queryBurst: Number.POSITIVE_INFINITY }, 0);
  return { ip: AGENT.ip, isAgent: true, number, share };
}

function handlerScene() {
  const source = sourceOf(1);
  const scene = {
    address: '10.203.128.1' as string | undefined,
    agent: AGENT as AgentFacts,
    blocked: false,
    rules: ruleSetOf(
      { condition: 'http.host == "api.test"' },
      { condition: 'http.host == "red.test" && agent.labels["team"] == "red"' },
    ),
    records: [] as AuditRecord[],
    granted: [] as string[],
    ask: (text: Parameters<typeof question>[0]) => decode(handler.handle(question(text), source, 'udp') as Buffer),
  };
  const handler = new QueryHandler({
    rules: () => scene.rules,
    pool: { addressFor: () => scene.address } as unknown as SyntheticPool,
    agentsSubnet: undefined as never,
    agents: { factsOf: () => scene.agent },
    counts: new FlowCounts(),
    audit: {
      write: (record) => scene.records.push(record),
      get blocked() {
        return scene.blocked;
      },
    },
    log: { error: (fields) => expect(fields).toBeUndefined(), info: () => undefined },
    clock: { now: () => 1_000_000 },
    listen: { host: '127.0.0.1', port: 0 },
    onName: (host) => void scene.granted.push(host),
  });
  return scene;
}
