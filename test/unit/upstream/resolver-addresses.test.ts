import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { StubResolver } from '../../../src/upstream/resolver.ts';
import { lookupAddresses } from '../../../src/upstream/resolver-addresses.ts';
import { answerTo, ipv4Data, record, wireName } from '../../kit/dns-message.ts';
import { type RawQuery, startRawResolver } from '../../kit/raw-resolver.ts';
import { startResolver, type Zone } from '../../kit/resolver.ts';
import { TestClock } from './support.ts';

async function lookup(server: { readonly address: string }, host = 'a.test', timeoutMs = 5_000) {
  const resolver = new StubResolver({ servers: [server.address], timeoutMs, clock: new TestClock() });
  return lookupAddresses(resolver, host as Host);
}

/** The same records, whatever is asked. */
function saying(...records: readonly Buffer[]) {
  return startRawResolver((query: RawQuery) => query.reply(answerTo(query.message, records)));
}

const alias = (owner: string, target: string, ttl = 60) => record(owner, 'CNAME', ttl, wireName(target));
const address = (owner: string, text: string, ttl = 60) => record(owner, 'A', ttl, ipv4Data(text));

describe('the addresses of a name', () => {
  it('stand at the end of its aliases, and last as long as the shortest-lived record on the way', async () => {
    await using server = await saying(
      alias('a.test', 'b.test', 20),
      alias('b.test', 'c.test', 9),
      address('c.test', '192.0.2.9', 30),
    );
    expect(await lookup(server)).toEqual({ addresses: ['192.0.2.9'], ttlSeconds: 9 });
  });

  it('are asked for at the end of the aliases, where the server did not go on', async () => {
    const zone: Zone = { 'b.test': '192.0.2.9' };
    await using server = await startRawResolver((query) => {
      const isFirst = query.message.includes('\x01a');
      if (isFirst) return query.reply(answerTo(query.message, [alias('a.test', 'b.test')]));
      const isA = query.message.readUInt16BE(query.message.length - 4) === 1;
      query.reply(answerTo(query.message, isA ? [address('b.test', zone['b.test'] as string)] : []));
    });
    expect(await lookup(server)).toEqual({ addresses: ['192.0.2.9'], ttlSeconds: 60 });
  });

  it('are none of those that an answer holds for other names', async () => {
    await using server = await saying(
      address('evil.test', '192.0.2.66'),
      alias('evil.test', 'a.test'),
      address('a.test', '192.0.2.1'),
    );
    expect((await lookup(server)).addresses).toEqual(['192.0.2.1']);
    await using other = await saying(address('evil.test', '192.0.2.66'));
    await expect(lookup(other)).rejects.toMatchObject({ code: 'ENODATA' });
  });

  it('are none where the aliases lead in a circle, or further than anybody follows', async () => {
    await using circle = await saying(alias('a.test', 'b.test'), alias('b.test', 'a.test'));
    await expect(lookup(circle)).rejects.toMatchObject({ code: 'EBADRESP' });
    const chain = (length: number) =>
      Array.from({ length }, (_, i) => alias(i === 0 ? 'a.test' : `n${i}.test`, `n${i + 1}.test`));
    await using long = await saying(...chain(11), address('n11.test', '192.0.2.1'));
    await expect(lookup(long)).rejects.toMatchObject({ code: 'EBADRESP' });
    await using short = await saying(...chain(10), address('n10.test', '192.0.2.1'));
    expect((await lookup(short)).addresses).toEqual(['192.0.2.1']);
  });

  it('are none where an alias leads in a circle over several questions', async () => {
    await using server = await startRawResolver((query) => {
      const [from, to] = query.message.includes('\x01a') ? ['a.test', 'b.test'] : ['b.test', 'a.test'];
      query.reply(answerTo(query.message, [alias(from, to)]));
    });
    await expect(lookup(server)).rejects.toMatchObject({ code: 'EBADRESP' });
  });

  it.each([
    ['with a NUL', wireName('a\0.test')],
    ['with a dot inside a label', Buffer.from('\x06b.test\x00', 'latin1')],
    ['of the root', wireName('')],
  ])('are none behind an alias %s', async (_what, target) => {
    await using server = await saying(record('a.test', 'CNAME', 60, target), address('b.test', '192.0.2.66'));
    await expect(lookup(server)).rejects.toMatchObject({ code: 'EBADRESP' });
  });

  it('are those of one family where the other is never answered for', async () => {
    await using server = await startResolver({
      'a.test': (query) => (query.type === 'A' ? { addresses: ['192.0.2.1'] } : { drop: true }),
    });
    expect((await lookup(server)).addresses).toEqual(['192.0.2.1']);
  });

  it('are missing for the reason of the family that says more', async () => {
    await using server = await startResolver({
      'a.test': (query) => (query.type === 'A' ? { rcode: 'NXDOMAIN' } : { rcode: 'SERVFAIL' }),
    });
    await expect(lookup(server)).rejects.toMatchObject({ code: 'ESERVFAIL' });
    await using agreed = await startResolver({});
    await expect(lookup(agreed)).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });
});
