/**
 * DNS messages of any bytes, and almost right ones. Nothing makes a reader throw, loop or read past the end; every query
 * gets silence or a well-formed answer that fits; and no message at all makes the filter look outside or give an address
 * for a name that no rule allows.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FlowCounts } from '../../src/audit/flow-counts.ts';
import { DNS_LIMITS } from '../../src/dns/limits.ts';
import { SyntheticPool } from '../../src/dns/pool.ts';
import { QueryHandler } from '../../src/dns/query-handler.ts';
import { Share } from '../../src/dns/sources.ts';
import { canonicalHost } from '../../src/domain/hostname.ts';
import { encodeName, readName, skipPlainName } from '../../src/wire/dns-name.ts';
import { parseQuery } from '../../src/wire/dns-query.ts';
import { encodeQuestion, readAddress, readAlias, readResponse } from '../../src/wire/dns-response.ts';
import { answerTo, decode, ipv4Data, pointerTo, question, record, wireName } from '../kit/dns-message.ts';
import { AGENT, ruleSetOf } from '../unit/policy/kit.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';

const PLAIN = /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/;

const anyBytes = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes));
const label = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'aZ0-_'), minLength: 1, maxLength: 8 }),
  fc.string({ unit: fc.constantFrom(...'a.\0\\ \xe4'), minLength: 1, maxLength: 4 }),
  fc.constantFrom('api', 'test', 'xn--a', 'a'.repeat(63)),
);
const anyName = fc.array(label, { maxLength: 6 }).map((labels) => labels.join('.'));
const plainName = fc
  .array(fc.string({ unit: fc.constantFrom(...'aZ0_'), minLength: 1, maxLength: 63 }), { minLength: 1, maxLength: 6 })
  .map((labels) => labels.join('.'))
  .filter((name) => name.length <= 253);
const anyQuestion = fc
  .record({
    name: fc.oneof(anyName, fc.constant('api.test'), fc.constant('txt.test'), fc.constant('1.128.203.10.in-addr.arpa')),
    type: fc.oneof(fc.constantFrom(1, 12, 16, 28, 65, 255), fc.nat({ max: 0xffff })),
    edns: fc.option(fc.nat({ max: 0xffff }), { nil: undefined }),
    id: fc.nat({ max: 0xffff }),
  })
  .map(({ edns, ...text }) => question(edns === undefined ? text : { ...text, edns }));
const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 3 });

/** With a few bytes changed, and sometimes cut or added to. */
function changed(messages: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  return fc.tuple(messages, changes, fc.nat({ max: 7 }), fc.nat()).map(([message, bytes, how, at]) => {
    const out = Buffer.from(message);
    for (const [index, value] of bytes) if (out.length > 0) out[index % out.length] = value;
    if (how === 0) return out.subarray(0, at % (out.length + 1));
    return how === 1 ? Buffer.concat([out, out.subarray(0, at % 40)]) : out;
  });
}

const anyQuery = fc.oneof({ weight: 1, arbitrary: anyBytes }, { weight: 5, arbitrary: changed(anyQuestion) });

describe('a name of any bytes', () => {
  it(
    'is read within its message and its caps, wherever it begins',
    () => {
      fc.assert(
        fc.property(anyBytes, fc.nat({ max: 600 }), (message, start) => {
          const name = readName(message, start);
          const end = skipPlainName(message, start);
          if (end !== -1) expect(end).toBeLessThanOrEqual(message.length);
          if (name === undefined) return;
          expect(name.end).toBeGreaterThan(start);
          expect(name.end).toBeLessThanOrEqual(message.length);
          if (name.plain && name.text !== '') expect(name.text).toMatch(PLAIN);
          if (name.plain) expect(name.text.length).toBeLessThanOrEqual(253);
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'comes back from its wire form',
    () => {
      fc.assert(
        fc.property(plainName, (name) => {
          const message = Buffer.concat([Buffer.alloc(12), encodeName(name)]);
          expect(readName(message, 12)).toEqual({ text: name.toLowerCase(), plain: true, end: message.length });
          expect(encodeName(name)).toEqual(wireName(name));
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('a query of any bytes', () => {
  it(
    'is read as one whole question, or not at all',
    () => {
      let read = 0;
      fc.assert(
        fc.property(anyQuery, (message) => {
          const parsed = parseQuery(message);
          if (parsed.kind !== 'query') return;
          read++;
          const { questionEnd, type, edns } = parsed.query;
          const decoded = decode(message);
          expect(decoded.question).toMatchObject({ type });
          expect([decoded.answers.length, decoded.authority.length]).toEqual([0, 0]);
          expect(decoded.opt?.udpBytes).toBe(edns?.udpBytes);
          expect(readName(message, 12)?.end).toBe(questionEnd - 4);
        }),
        fuzzBudget(),
      );
      expect(read).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'gets silence or a well-formed answer that fits; an address only for a name that a rule allows, and never a look outside',
    () => {
      const scene = handlerOfFuzz();
      let allowed = 0;
      fc.assert(
        fc.property(anyQuery, fc.constantFrom<'udp' | 'tcp'>('udp', 'tcp'), (message, transport) => {
          const reply = scene.handle(message, transport);
          if (reply === undefined) return;
          const answer = decode(reply);
          expect(answer.flags & 0x8000).toBe(0x8000);
          expect(answer.id).toBe(message.readUInt16BE(0));
          if (transport === 'udp') expect(reply.length).toBeLessThanOrEqual(answer.opt === undefined ? 512 : 1_232);
          for (const { type, data } of answer.answers) {
            allowed++;
            expect([1, 12]).toContain(type);
            if (type === 1) expect(answer.question?.name.toLowerCase()).toBe('api.test');
            else expect(data).toEqual(wireName('api.test'));
          }
          if (answer.question !== undefined) expect(reply.subarray(12, 12 + 5)).toEqual(message.subarray(12, 12 + 5));
        }),
        fuzzBudget(),
      );
      expect(allowed).toBeGreaterThan(0);
      expect(scene.faults).toEqual([]);
      expect(scene.relayed.filter((host) => host !== 'txt.test')).toEqual([]);
      expect(scene.pool.size).toBeLessThanOrEqual(1);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('a query that comes again', () => {
  it(
    'gets byte for byte what a filter says that never saw it, but for the id, and so does its record',
    () => {
      const scene = handlerOfFuzz();
      let kept = 0;
      fc.assert(
        fc.property(anyQuery, fc.nat({ max: 0xffff }), (message, id) => {
          scene.handle(message, 'udp');
          const again = Buffer.from(message);
          if (again.length >= 2) again.writeUInt16BE(id, 0);
          const fresh = handlerOfFuzz();
          scene.records.length = 0;
          expect(scene.handle(again, 'udp')).toEqual(fresh.handle(again, 'udp'));
          expect(scene.records).toEqual(fresh.records);
          kept += scene.records.length;
        }),
        fuzzBudget(),
      );
      expect(kept).toBeGreaterThan(0);
      expect(scene.faults).toEqual([]);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('a response of any bytes', () => {
  const asked = encodeQuestion(7, 'api.test', 1);
  const someRecord = fc.oneof(
    fc
      .tuple(anyName, fc.constantFrom(1, 5, 28, 16), fc.uint8Array({ maxLength: 20 }))
      .map(([owner, type, data]) => record(wireName(owner), type, 60, Buffer.from(data))),
    fc.nat({ max: 80 }).map((to) => record(pointerTo(to), 'A', 60, ipv4Data('192.0.2.1'))),
    fc.nat({ max: 80 }).map((to) => record(pointerTo(12), 'CNAME', 60, pointerTo(to))),
  );
  const anyResponse = fc.oneof(
    anyBytes,
    changed(fc.array(someRecord, { maxLength: 4 }).map((records) => answerTo(asked, records))),
  );

  it(
    'is read within its bounds; addresses are addresses and aliases are plain names',
    () => {
      let read = 0;
      fc.assert(
        fc.property(anyResponse, (message) => {
          const result = readResponse(message, asked);
          if (result.kind !== 'response') return;
          read++;
          const { response } = result;
          expect(response.answersEnd).toBeLessThanOrEqual(message.length);
          for (const each of response.answers) {
            expect(each.dataEnd).toBeLessThanOrEqual(response.answersEnd);
            expect(each.dataStart).toBeLessThanOrEqual(each.dataEnd);
            const address = readAddress(response, each);
            if (address !== undefined) expect(canonicalHost(address)).toBeDefined();
            const alias = readAlias(response, each);
            if (alias !== undefined && alias !== '') expect(alias).toMatch(PLAIN);
          }
        }),
        fuzzBudget(),
      );
      expect(read).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});

const RULES = ruleSetOf(
  { id: 'api', condition: 'http.host == "api.test"' },
  { id: 'txt', condition: 'http.host == "txt.test" && dns.record_type == "TXT"' },
);

function handlerOfFuzz() {
  const clock = { now: () => 1_000_000 };
  const pool = new SyntheticPool({ cidr: '10.203.128.0/17', clock });
  const faults: unknown[] = [];
  /** All but the flow's number, which none shares with another. */
  const records: object[] = [];
  const relayed: string[] = [];
  const handler = new QueryHandler({
    rules: () => RULES,
    pool,
    agentsSubnet: undefined as never,
    agents: { factsOf: () => AGENT },
    counts: new FlowCounts(),
    audit: { write: ({ flow: _flow, ...record }) => records.push(record), blocked: false },
    log: { error: (fields) => faults.push(fields), info: () => undefined },
    clock,
    listen: { host: '127.0.0.1', port: 0 },
    relay: (host) => {
      relayed.push(host);
      return Promise.resolve({ rcode: 0, bytes: Buffer.alloc(0), count: 0 });
    },
  });
  const unbounded = { queryBurst: Number.POSITIVE_INFINITY, relayBurst: Number.POSITIVE_INFINITY };
  const share = new Share({ ...DNS_LIMITS, ...unbounded }, clock.now());
  const source = { ip: AGENT.ip, isAgent: true, number: 1, share };
  const handle = (message: Buffer, transport: 'udp' | 'tcp') => {
    const reply = handler.handle(message, source, transport);
    return reply instanceof Promise ? undefined : reply;
  };
  return { handle, faults, relayed, pool, records };
}
