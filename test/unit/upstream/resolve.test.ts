import { describe, expect, it } from 'vitest';
import type { Host } from '../../../src/domain/hostname.ts';
import { NameResolver } from '../../../src/upstream/resolve.ts';
import { startResolver, type Zone } from '../../kit/resolver.ts';
import { failureOf, TestClock } from './support.ts';

describe('NameResolver with servers', () => {
  it('gives every address of both families, each once', async () => {
    await using dns = await fixture({ 'a.test': ['2001:db8::1', '192.0.2.1', '192.0.2.2', '192.0.2.1'] });
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1']);
  });

  it('follows aliases to the address at their end', async () => {
    await using dns = await fixture({
      'a.test': { cname: 'b.test' },
      'b.test': { cname: 'c.test' },
      'c.test': '192.0.2.9',
    });
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.9']);
  });

  it('writes a mapped address as the IPv4 address inside', async () => {
    await using dns = await fixture({ 'a.test': '::ffff:a00:1' });
    expect(await dns.resolve('a.test')).toEqual(['10.0.0.1']);
  });

  it('asks over TCP what does not fit into UDP', async () => {
    await using dns = await fixture({ 'a.test': { addresses: ['192.0.2.1'], truncate: true } });
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.1']);
    expect(dns.server.queries.all.map(({ transport }) => transport)).toContain('tcp');
  });

  it('does not ask about an address', async () => {
    await using dns = await fixture({ 'a.test': '192.0.2.1' });
    expect(await dns.resolve('192.0.2.7')).toEqual(['192.0.2.7']);
    expect(await dns.resolve('::ffff:a00:1')).toEqual(['10.0.0.1']);
    expect(dns.server.queries.count).toBe(0);
    await dns.resolve('a.test');
    expect(dns.server.queries.count).toBe(2);
  });

  it('asks once for all who ask at the same time', async () => {
    await using dns = await fixture({ 'a.test': '192.0.2.1' });
    const answers = await Promise.all([dns.resolve('a.test'), dns.resolve('a.test'), dns.resolve('a.test')]);
    expect(answers).toEqual([['192.0.2.1'], ['192.0.2.1'], ['192.0.2.1']]);
    expect(dns.server.asked('a.test')).toBe(2);
  });

  it('keeps an answer for as long as its shortest TTL says, and no longer', async () => {
    await using dns = await fixture({ 'a.test': { addresses: ['192.0.2.1'], ttlSeconds: 20 } });
    await dns.resolve('a.test');
    dns.server.set('a.test', '192.0.2.2');
    dns.clock.advance(19_999);
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.1']);
    dns.clock.advance(1);
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.2']);
  });

  it('keeps an answer for five minutes at most', async () => {
    await using dns = await fixture({ 'a.test': { addresses: ['192.0.2.1'], ttlSeconds: 86_400 } });
    await dns.resolve('a.test');
    dns.server.set('a.test', '192.0.2.2');
    dns.clock.advance(299_999);
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.1']);
    dns.clock.advance(1);
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.2']);
  });

  it('asks each time where the TTL is 0', async () => {
    await using dns = await fixture({
      'a.test': (_query, ordinal) => ({ addresses: [`192.0.2.${ordinal}`], ttlSeconds: 0 }),
    });
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.1']);
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.2']);
  });

  it('says dns_failed for a name that does not exist, and asks again after three seconds', async () => {
    await using dns = await fixture({});
    expect(await failureOf(dns.resolve('a.test'))).toBe('dns_failed: no such name');
    dns.server.set('a.test', '192.0.2.1');
    expect(await failureOf(dns.resolve('a.test'))).toBe('dns_failed: no such name');
    dns.clock.advance(3_000);
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.1']);
  });

  it('says dns_failed for a name without an address', async () => {
    await using dns = await fixture({ 'a.test': { addresses: [] } });
    expect(await failureOf(dns.resolve('a.test'))).toBe('dns_failed: the name has no address');
  });

  it.each(['SERVFAIL', 'REFUSED'] as const)('says dns_failed where the servers answer %s', async (rcode) => {
    await using dns = await fixture({ 'a.test': { rcode } });
    expect(await failureOf(dns.resolve('a.test'))).toMatch(/^dns_failed: the resolver answered with an error/);
  });

  it('makes do with the family that answers', async () => {
    await using dns = await fixture({
      'a.test': (query) => (query.type === 'A' ? { addresses: ['192.0.2.1'] } : { rcode: 'SERVFAIL' }),
    });
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.1']);
  });

  it('says dns_timeout where no server answers, and asks again at once', async () => {
    await using dns = await fixture({ 'a.test': { drop: true } }, 100);
    expect(await failureOf(dns.resolve('a.test'))).toMatch(/^dns_timeout: /);
    dns.server.set('a.test', '192.0.2.1');
    expect(await dns.resolve('a.test')).toEqual(['192.0.2.1']);
  });

  it('says dns_timeout where nothing listens at the address of the server', async () => {
    const { address } = await startThenStop();
    const names = new NameResolver({ dnsServers: [address], timeoutMs: 5_000, clock: new TestClock() });
    expect(await failureOf(names.resolve('a.test' as Host))).toBe('dns_timeout: no resolver answered (ECONNREFUSED)');
  });
});

describe('NameResolver by the way of the system', () => {
  it('reads the hosts file', async () => {
    const names = new NameResolver({ dnsServers: [], timeoutMs: 5_000, clock: new TestClock() });
    expect(await names.resolve('localhost' as Host)).toContain('127.0.0.1');
  });
});

async function fixture(zone: Zone, timeoutMs = 5_000) {
  const server = await startResolver(zone);
  const clock = new TestClock();
  const names = new NameResolver({ dnsServers: [server.address], timeoutMs, clock });
  return {
    server,
    clock,
    resolve: (host: string) => names.resolve(host as Host),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function startThenStop(): Promise<{ readonly address: string }> {
  await using server = await startResolver();
  return { address: server.address };
}
