import { describe, expect, it } from 'vitest';
import { StubResolver } from '../../../src/upstream/resolver.ts';
import { readAddress } from '../../../src/wire/dns-response.ts';
import { answerTo, ipv4Data, pointerTo, record, uint16, wireName } from '../../kit/dns-message.ts';
import { type RawQuery, startRawResolver } from '../../kit/raw-resolver.ts';
import { startResolver, type Zone } from '../../kit/resolver.ts';
import { TestClock } from './support.ts';

const TRUE_ADDRESS = '192.0.2.1';
const FORGED_ADDRESS = '192.0.2.66';

describe('StubResolver', () => {
  it('asks the servers in their order, and the next one where one fails', async () => {
    await using broken = await startResolver({ 'a.test': { rcode: 'SERVFAIL' } });
    await using sound = await startResolver({ 'a.test': TRUE_ADDRESS });
    expect(await addressesFrom([broken.address, sound.address])).toEqual([TRUE_ADDRESS]);
    expect([broken.queries.count, sound.queries.count]).toEqual([1, 1]);
    expect(await addressesFrom([sound.address, broken.address])).toEqual([TRUE_ADDRESS]);
    expect([broken.queries.count, sound.queries.count]).toEqual([1, 2]);
  });

  it('takes "no such name" for an answer, and asks nobody else', async () => {
    await using first = await startResolver({});
    await using second = await startResolver({ 'a.test': TRUE_ADDRESS });
    const { rcode } = await resolverOf([first.address, second.address]).ask({ name: 'a.test', type: 1 });
    expect([rcode, second.queries.count]).toEqual([3, 0]);
  });

  it('goes on to the next server where one keeps silent, and asks the silent one last for half a minute', async () => {
    await using silent = await startResolver({ 'a.test': { drop: true } });
    await using sound = await startResolver({ 'a.test': TRUE_ADDRESS });
    const clock = new TestClock();
    const resolver = resolverOf([silent.address, sound.address], { clock, timeoutMs: 1_000 });
    expect(await addressesOf(resolver)).toEqual([TRUE_ADDRESS]);
    expect([silent.queries.count, sound.queries.count]).toEqual([1, 1]);
    await addressesOf(resolver);
    expect([silent.queries.count, sound.queries.count]).toEqual([1, 2]);
    clock.advance(30_000);
    silent.set('a.test', TRUE_ADDRESS);
    await addressesOf(resolver);
    expect([silent.queries.count, sound.queries.count]).toEqual([2, 2]);
  });

  it('takes the answer of a slow server that comes while the next one is being asked', async () => {
    const next = Promise.withResolvers<void>();
    await using slow = await startResolver({ 'a.test': { addresses: [TRUE_ADDRESS], hold: next.promise } });
    await using silent = await startResolver({
      'a.test': () => {
        next.resolve();
        return { drop: true };
      },
    });
    expect(await addressesFrom([slow.address, silent.address], { timeoutMs: 1_000 })).toEqual([TRUE_ADDRESS]);
    expect(silent.queries.count).toBe(1);
  });

  it('asks a server again where the packet got lost', async () => {
    await using server = await startResolver({
      'a.test': (_query, ordinal) => (ordinal === 1 ? { drop: true } : { addresses: [TRUE_ADDRESS] }),
    });
    expect(await addressesFrom([server.address], { timeoutMs: 1_000 })).toEqual([TRUE_ADDRESS]);
  });

  it('gives up with ETIMEOUT when the time for all servers is up', async () => {
    await using silent = await startResolver({ 'a.test': { drop: true } });
    await expect(addressesFrom([silent.address], { timeoutMs: 100 })).rejects.toMatchObject({ code: 'ETIMEOUT' });
    expect(silent.queries.count).toBe(2);
  });

  it('says what a server answered rather than that another cannot be reached', async () => {
    await using refusing = await startResolver({ 'a.test': { rcode: 'REFUSED' } });
    const nobody = await closedAddress();
    await expect(addressesFrom([refusing.address, nobody])).rejects.toMatchObject({ code: 'EREFUSED' });
    await expect(addressesFrom([nobody])).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('asks over TCP what was truncated, and takes nothing truncated from there', async () => {
    await using server = await startRawResolver((query) => {
      const truncated = query.transport === 'udp' || query.message.includes('\x01b');
      query.reply(answerTo(query.message, [addressRecord(TRUE_ADDRESS)], { flags: truncated ? 0x8380 : 0x8180 }));
    });
    const resolver = resolverOf([server.address]);
    expect(await addressesOf(resolver)).toEqual([TRUE_ADDRESS]);
    expect(server.queries.all.map(({ transport }) => transport)).toEqual(['udp', 'tcp']);
    await expect(addressesOf(resolver, 'b.test')).rejects.toMatchObject({ code: 'EBADRESP' });
  });

  it.each([
    ['hangs up', (query: RawQuery) => query.hangUp()],
    [
      'answers another question',
      (query: RawQuery) => query.reply(answerTo(query.message, [], { id: 1 + idOf(query) })),
    ],
    ['answers with half a message', (query: RawQuery) => query.reply(query.message.subarray(0, 20))],
  ])('says EBADRESP where a server %s over TCP', async (_what, overTcp) => {
    await using server = await startRawResolver((query) => {
      if (query.transport === 'tcp') overTcp(query);
      else query.reply(answerTo(query.message, [], { flags: 0x8380 }));
    });
    await expect(addressesFrom([server.address])).rejects.toMatchObject({ code: 'EBADRESP' });
  });

  it('calls a broken answer section no answer, and goes on to the next server', async () => {
    await using broken = await startRawResolver((query) => {
      query.reply(answerTo(query.message, [addressRecord(FORGED_ADDRESS)]).subarray(0, -1));
    });
    await using sound = await startResolver({ 'a.test': TRUE_ADDRESS });
    expect(await addressesFrom([broken.address, sound.address])).toEqual([TRUE_ADDRESS]);
  });

  it.each(['resolver.test:53', '192.0.2.1:0', '192.0.2.1:65536', '192.0.2.1:x', '', '[192.0.2.1', '::1:53:x'])(
    'refuses %j as a server',
    (server) => {
      expect(() => resolverOf([server])).toThrow(RangeError);
    },
  );

  it.each(['192.0.2.1', '192.0.2.1:5353', '2001:db8::1', '[2001:db8::1]', '[2001:db8::1]:53'])(
    'takes %j as a server',
    (server) => {
      expect(() => resolverOf([server])).not.toThrow();
    },
  );
});

describe('against poisoning, StubResolver', () => {
  it('uses an unforeseeable id and a port of its own for each question', async () => {
    await using server = await startRawResolver((query) =>
      query.reply(answerTo(query.message, [addressRecord(TRUE_ADDRESS)])),
    );
    const resolver = resolverOf([server.address]);
    for (let i = 0; i < 24; i++) await addressesOf(resolver);
    const ids = server.queries.all.map(idOf);
    const ports = server.queries.all.map(({ port }) => port);
    // Twenty-four draws of 65,536 and 28,232: more than two repeats of either is as good as impossible.
    expect(new Set(ids).size).toBeGreaterThan(21);
    expect(new Set(ports).size).toBeGreaterThan(21);
    for (const values of [ids, ports]) {
      const steps = values.slice(1).map((value, i) => value - (values[i] as number));
      expect(new Set(steps).size).toBeGreaterThan(12);
    }
  });

  const forgeries: Record<string, (query: RawQuery) => Buffer> = {
    'the wrong id': (query) => answerTo(query.message, [addressRecord(FORGED_ADDRESS)], { id: 1 + idOf(query) }),
    'the wrong name': (query) =>
      answerTo(query.message, [addressRecord(FORGED_ADDRESS)], { question: questionFor('b.test') }),
    'the wrong type': (query) =>
      answerTo(query.message, [addressRecord(FORGED_ADDRESS)], { question: questionFor('a.test', 28) }),
    'no answer bit': (query) => answerTo(query.message, [addressRecord(FORGED_ADDRESS)], { flags: 0x0100 }),
    'no question': (query) => Buffer.concat([query.message.subarray(0, 2), uint16(0x8180), Buffer.alloc(8)]),
    'three bytes': () => Buffer.from([1, 2, 3]),
  };

  it.each(Object.entries(forgeries))(
    'does not take a message with %s, and takes the true one after it',
    async (_what, forge) => {
      await using server = await startRawResolver((query) => {
        query.reply(forge(query));
        query.reply(answerTo(query.message, [addressRecord(TRUE_ADDRESS)]));
      });
      expect(await addressesFrom([server.address])).toEqual([TRUE_ADDRESS]);
      expect(server.queries.count).toBe(1);
    },
  );

  it.each([
    ['another port', '127.0.0.1'],
    ['another address', '127.0.0.2'],
  ])('does not take from %s what is right in all else', async (_what, from) => {
    await using server = await startRawResolver(async (query) => {
      await query.forge(answerTo(query.message, [addressRecord(FORGED_ADDRESS)]), from);
      query.reply(answerTo(query.message, [addressRecord(TRUE_ADDRESS)]));
    });
    expect(await addressesFrom([server.address])).toEqual([TRUE_ADDRESS]);
  });

  it('goes over to TCP where somebody guesses ids', async () => {
    await using server = await startRawResolver((query) => {
      if (query.transport === 'tcp') return query.reply(answerTo(query.message, [addressRecord(TRUE_ADDRESS)]));
      for (let i = 1; i <= 8; i++) {
        query.reply(answerTo(query.message, [addressRecord(FORGED_ADDRESS)], { id: (idOf(query) + i) & 0xffff }));
      }
    });
    expect(await addressesFrom([server.address])).toEqual([TRUE_ADDRESS]);
    expect(server.queries.all.map(({ transport }) => transport)).toEqual(['udp', 'tcp']);
  });
});

async function addressesFrom(servers: readonly string[], options: { timeoutMs?: number } = {}): Promise<string[]> {
  return addressesOf(resolverOf(servers, options));
}

function resolverOf(servers: readonly string[], { clock = new TestClock(), timeoutMs = 5_000 } = {}): StubResolver {
  return new StubResolver({ servers, timeoutMs, clock });
}

async function addressesOf(resolver: StubResolver, name = 'a.test'): Promise<string[]> {
  const response = await resolver.ask({ name, type: 1 });
  return response.answers.map((each) => readAddress(response, each) ?? 'none');
}

async function closedAddress(): Promise<string> {
  await using server = await startResolver({} as Zone);
  return server.address;
}

function addressRecord(address: string): Buffer {
  return record(pointerTo(12), 'A', 60, ipv4Data(address));
}

function questionFor(name: string, type = 1): Buffer {
  return Buffer.concat([wireName(name), uint16(type), uint16(1)]);
}

function idOf(query: RawQuery): number {
  return query.message.readUInt16BE(0);
}
