/** The fake resolver, asked by node's own resolver (c-ares). */
import { Resolver as Client } from 'node:dns/promises';
import { describe, expect, it } from 'vitest';
import { startResolver } from '../../kit/resolver.ts';

function clientOf(resolver: { readonly address: string }): Client {
  const client = new Client({ timeout: 200, tries: 1 });
  client.setServers([resolver.address]);
  return client;
}

describe('the fake resolver', () => {
  it('answers addresses of both families and follows aliases', async () => {
    await using resolver = await startResolver({
      'api.test': ['127.0.0.1', '::1'],
      'alias.test': { cname: 'api.test' },
    });
    const client = clientOf(resolver);
    expect(await client.resolve4('api.test')).toEqual(['127.0.0.1']);
    expect(await client.resolve6('API.test')).toEqual(['::1']);
    expect(await client.resolve4('alias.test')).toEqual(['127.0.0.1']);
    expect(resolver.asked('api.test')).toBe(2);
  });

  it('rebinds: the answer may depend on how often it was asked', async () => {
    await using resolver = await startResolver({
      'turn.test': (_, ordinal) => ({ addresses: [ordinal === 1 ? '127.0.0.1' : '10.0.0.1'], ttlSeconds: 0 }),
    });
    const client = clientOf(resolver);
    expect(await client.resolve4('turn.test')).toEqual(['127.0.0.1']);
    expect(await client.resolve4('turn.test')).toEqual(['10.0.0.1']);
  });

  it('fails as told: NXDOMAIN for the unknown, SERVFAIL, silence, and TCP after a truncated answer', async () => {
    await using resolver = await startResolver({
      'broken.test': { rcode: 'SERVFAIL' },
      'silent.test': { drop: true },
      'long.test': { truncate: true, addresses: ['127.0.0.9'] },
    });
    const client = clientOf(resolver);
    await expect(client.resolve4('unknown.test')).rejects.toMatchObject({ code: 'ENOTFOUND' });
    await expect(client.resolve4('broken.test')).rejects.toMatchObject({ code: 'ESERVFAIL' });
    await expect(client.resolve4('silent.test')).rejects.toMatchObject({ code: 'ETIMEOUT' });
    expect(await client.resolve4('long.test')).toEqual(['127.0.0.9']);
    const last = resolver.queries.all.slice(-2).map((query) => query.transport);
    expect(last).toEqual(['udp', 'tcp']);
  });
});
