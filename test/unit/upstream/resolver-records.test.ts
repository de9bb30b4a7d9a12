import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { StubResolver } from '../../../src/upstream/resolver.ts';
import { RecordResolver } from '../../../src/upstream/resolver-records.ts';
import { answerTo, decode, ipv4Data, pointerTo, record, wireName } from '../../kit/dns-message.ts';
import { startRawResolver } from '../../kit/raw-resolver.ts';
import { failureOf, TestClock } from './support.ts';

const TXT = 16;
const text = (ttl: number, words = 'hello', owner: string | Buffer = pointerTo(12)) =>
  record(owner, 'TXT', ttl, Buffer.from(`${String.fromCharCode(words.length)}${words}`));

async function fixture(records: readonly Buffer[], flags?: number) {
  const server = await startRawResolver((query) =>
    query.reply(answerTo(query.message, records, flags === undefined ? {} : { flags })),
  );
  const clock = new TestClock();
  const resolver = new StubResolver({ servers: [server.address], timeoutMs: 5_000, clock });
  const resolved = new RecordResolver(resolver, clock);
  return {
    server,
    clock,
    records: (host = 'a.test', type = TXT) => resolved.records(host as Host, type),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

describe('RecordResolver', () => {
  it('gives the answer section, with no TTL over five minutes', async () => {
    await using dns = await fixture([text(86_400), text(7)]);
    const { rcode, bytes, count } = await dns.records();
    const whole = decode(
      Buffer.concat([answerTo(dns.server.queries.all[0]!.message, [text(0), text(0)]).subarray(0, 24), bytes]),
    );
    expect({ rcode, count }).toEqual({ rcode: 0, count: 2 });
    expect(whole.answers).toMatchObject([
      { name: 'a.test', type: TXT, ttl: 300 },
      { name: 'a.test', type: TXT, ttl: 7 },
    ]);
  });

  it('asks once for all who ask at the same time, and again when the shortest TTL is over', async () => {
    await using dns = await fixture([text(300), text(7)]);
    await Promise.all([dns.records(), dns.records(), dns.records()]);
    dns.clock.advance(6_999);
    await dns.records();
    expect(dns.server.queries.count).toBe(1);
    dns.clock.advance(1);
    await dns.records();
    expect(dns.server.queries.count).toBe(2);
    await dns.records('b.test');
    await failureOf(dns.records('a.test', 15));
    expect(dns.server.queries.count).toBe(4);
  });

  it('takes aliases with the records, and no records of another type', async () => {
    await using aliased = await fixture([
      record(pointerTo(12), 'CNAME', 60, wireName('b.test')),
      text(60, 'x', 'b.test'),
    ]);
    expect((await aliased.records()).count).toBe(2);
    await using mixed = await fixture([text(60), record(pointerTo(12), 'A', 60, ipv4Data('192.0.2.1'))]);
    expect(await failureOf(mixed.records())).toBe('dns_failed: the answer holds records of another type');
  });

  it('gives "no such name" as an answer, and keeps it for three seconds', async () => {
    await using dns = await fixture([], 0x8183);
    expect(await dns.records()).toMatchObject({ rcode: 3, count: 0 });
    dns.clock.advance(2_999);
    await dns.records();
    expect(dns.server.queries.count).toBe(1);
    dns.clock.advance(1);
    await dns.records();
    expect(dns.server.queries.count).toBe(2);
  });

  it('says dns_failed where the servers answer with an error, and asks again next time', async () => {
    await using dns = await fixture([], 0x8182);
    expect(await failureOf(dns.records())).toMatch(/^dns_failed: the resolver answered with an error/);
    await failureOf(dns.records());
    expect(dns.server.queries.count).toBe(2);
  });
});
