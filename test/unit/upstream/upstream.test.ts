import { describe, expect, it } from 'vitest';
import { CidrSet } from '../../../src/domain/ip.ts';
import type { UpstreamOptions } from '../../../src/upstream/upstream.ts';
import { startRawOrigin } from '../../kit/raw-origin.ts';
import { startResolver, type Zone } from '../../kit/resolver.ts';
import { cidrs, failureOf, requestFor, TestClock, testUpstream } from './support.ts';

const HOST = 'origin.test';

describe('Upstream.resolve', () => {
  it('leaves out the addresses that may not be dialled', async () => {
    await using site = await fixture({ [HOST]: ['10.0.0.1', '192.0.2.1', '8.8.8.8', 'fd12::1', '2606:4700::1'] });
    expect(await site.upstream.resolve(site.request())).toEqual(['8.8.8.8', '2606:4700::1']);
  });

  it.each([
    ['10.0.0.1', 'private address 10.0.0.1'],
    ['127.0.0.1', 'loopback address 127.0.0.1'],
    ['169.254.169.254', 'metadata address 169.254.169.254'],
    ['fd00:ec2::254', 'metadata address fd00:ec2::254'],
    ['::ffff:a9fe:a9fe', 'metadata address 169.254.169.254'],
    ['64:ff9b::a00:1', 'translated address 64:ff9b::a00:1'],
    ['0.0.0.0', 'unspecified address 0.0.0.0'],
    ['8.8.4.4', 'own address 8.8.4.4'],
  ])('says address_refused for a name that is %s, through an alias too', async (address, detail) => {
    const own = { ownAddresses: () => new Set(['8.8.4.4']) };
    await using site = await fixture({ [HOST]: address, 'alias.test': { cname: HOST }, 'good.test': '8.8.8.8' }, own);
    expect(await failureOf(site.upstream.resolve(site.request()))).toBe(`address_refused: ${detail}`);
    expect(await failureOf(site.upstream.resolve(requestFor('alias.test', 443)))).toBe(`address_refused: ${detail}`);
    expect(await site.upstream.resolve(requestFor('good.test', 443))).toEqual(['8.8.8.8']);
  });

  it('judges an address that stands for itself as it does an answer', async () => {
    await using site = await fixture({});
    for (const host of ['169.254.169.254', '::ffff:a9fe:a9fe', '::1', '64:ff9b::808:808']) {
      expect(await failureOf(site.upstream.resolve(requestFor(host, 80)))).toMatch(/^address_refused: /);
    }
    expect(await site.upstream.resolve(requestFor('8.8.8.8', 80))).toEqual(['8.8.8.8']);
  });

  it('judges a cached answer under the grant of each flow', async () => {
    await using site = await fixture({ [HOST]: '10.0.0.1' });
    expect(await failureOf(site.upstream.resolve(site.request()))).toBe('address_refused: private address 10.0.0.1');
    expect(await site.upstream.resolve(requestFor(HOST, 443, { allowPrivateIps: true }))).toEqual(['10.0.0.1']);
    expect(await failureOf(site.upstream.resolve(site.request()))).toBe('address_refused: private address 10.0.0.1');
    expect(site.dns.asked(HOST)).toBe(2);
  });
});

describe('Upstream.dial', () => {
  it('does not follow a name that changes its answer between the check and the connection', async () => {
    await using origin = await startRawOrigin();
    const changing: Zone = {
      [HOST]: (query, ordinal) => {
        const address = ordinal === 1 ? '127.0.0.2' : '127.0.0.1';
        return { ttlSeconds: 0, addresses: query.type === 'A' ? [address] : [] };
      },
    };
    await using site = await fixture(changing, { allowPrivate: cidrs('127.0.0.2') });
    const request = requestFor(HOST, origin.port);
    const pinned = await site.upstream.resolve(request);
    expect(pinned).toEqual(['127.0.0.2']);
    expect(await failureOf(site.upstream.dial(request))).toBe('address_refused: loopback address 127.0.0.1');
    expect(await failureOf(site.upstream.dial(request, pinned))).toBe('connect_failed: ECONNREFUSED from 127.0.0.2');
    expect(origin.connections).toBe(0);
    await using permitted = await fixture({ [HOST]: '127.0.0.1' }, { allowPrivate: cidrs('127.0.0.1') });
    (await permitted.upstream.dial(request)).destroy();
    await origin.peers.next();
    expect(origin.connections).toBe(1);
  });

  it('judges addresses that the caller resolved earlier once more, and does not ask again', async () => {
    await using origin = await startRawOrigin();
    await using site = await fixture({ [HOST]: '127.0.0.1' });
    const request = requestFor(HOST, origin.port);
    expect(await failureOf(site.upstream.dial(request, ['127.0.0.1']))).toBe(
      'address_refused: loopback address 127.0.0.1',
    );
    expect(site.dns.queries.count).toBe(0);
    expect(origin.connections).toBe(0);
    await using permitted = await fixture({}, { allowPrivate: cidrs('127.0.0.0/8') });
    (await permitted.upstream.dial(request, ['127.0.0.1'])).destroy();
    expect(permitted.dns.queries.count).toBe(0);
  });

  it('dials the address that is permitted where another of the same name is not', async () => {
    await using origin = await startRawOrigin();
    const zone: Zone = { [HOST]: ['169.254.169.254', '127.0.0.1', '10.0.0.1'] };
    await using site = await fixture(zone, { allowPrivate: cidrs('127.0.0.0/8') });
    const socket = await site.upstream.dial(requestFor(HOST, origin.port));
    expect(socket.remoteAddress).toBe('127.0.0.1');
    socket.destroy();
    await using strict = await fixture(zone);
    expect(await failureOf(strict.upstream.dial(requestFor(HOST, origin.port)))).toBe(
      'address_refused: metadata address 169.254.169.254, loopback address 127.0.0.1, private address 10.0.0.1',
    );
  });

  it('says dns_failed for a name that does not exist, and dials nothing', async () => {
    await using site = await fixture({});
    expect(await failureOf(site.upstream.dial(site.request()))).toBe('dns_failed: no such name');
    expect(await failureOf(site.upstream.dialPlain(site.request()))).toBe('dns_failed: no such name');
    expect(await failureOf(site.upstream.dialTls(site.request(), ['h2']))).toBe('dns_failed: no such name');
  });
});

async function fixture(zone: Zone, overrides: Partial<UpstreamOptions> = {}) {
  const dns = await startResolver(zone);
  const clock = new TestClock();
  const upstream = testUpstream({ dnsServers: [dns.address], allowPrivate: CidrSet.empty, clock, ...overrides });
  return {
    dns,
    upstream,
    clock,
    request: () => requestFor(HOST, 443),
    async [Symbol.asyncDispose]() {
      upstream.close();
      await dns[Symbol.asyncDispose]();
    },
  };
}
