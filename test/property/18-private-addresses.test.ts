/**
 * Property 18: a name that a rule allows leads to no special address, through any door, whatever record it hides in. The
 * origin listens where the answer points, so that a dial would be seen.
 */
import { describe, expect, it } from 'vitest';
import type { ZoneEntry } from '../kit/resolver.ts';
import { rulesFile } from '../kit/rules.ts';
import { DOORS, startDoors } from './doors.ts';

const RULES = rulesFile(
  `{ id: api, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept, allow_private_ips: true } }`,
);
const REFUSED = [403, 'address_refused'];

const ANSWERS: readonly (readonly [string, ZoneEntry])[] = [
  ['loopback (A)', '127.0.0.1'],
  ['loopback behind an alias (CNAME)', { cname: 'hidden.test' }],
  ['loopback (AAAA)', '::1'],
  ['both families', ['127.0.0.1', '::1']],
  ['unspecified', '0.0.0.0'],
  ['unspecified (AAAA)', '::'],
  ['metadata', '169.254.169.254'],
  ['metadata (AAAA)', 'fd00:ec2::254'],
  ['metadata of another cloud', '100.100.100.200'],
  ['link-local', '169.254.1.1'],
  ['link-local (AAAA)', 'fe80::1'],
  ['IPv4-mapped', '::ffff:127.0.0.1'],
  ['IPv4-mapped metadata', '::ffff:169.254.169.254'],
  ['IPv4-compatible', '::127.0.0.1'],
  ['NAT64', '64:ff9b::7f00:1'],
  ['6to4', '2002:7f00:1::1'],
  ['Teredo', '2001:0:7f00:1::1'],
  ['multicast', '224.0.0.1'],
  ['broadcast', '255.255.255.255'],
];

describe.each(DOORS)('an allowed name, through %s', (door) => {
  it.each(ANSWERS)('that leads to %s is refused, even with allow_private_ips', async (_, answer) => {
    const zone = { 'api.test': answer, 'hidden.test': '127.0.0.1' };
    await using doors = await startDoors({ rules: RULES, zone, allowPrivate: [] });
    expect(await doors.knock(door, 'api.test')).toEqual(REFUSED);
    expect(doors.origins[door].connections).toBe(0);
    expect(await doors.proxy.nextRecord()).toMatchObject({ reason: 'address_refused', rule: 'api', upstream: null });
  });

  it('that leads to loopback passes where --allow-private names that range, and not where it names another', async () => {
    const answer = async (allowPrivate: readonly string[]) => {
      await using doors = await startDoors({ rules: RULES, allowPrivate });
      return await doors.knock(door, 'api.test');
    };
    expect(await answer([])).toEqual(REFUSED);
    expect(await answer(['10.0.0.0/8'])).toEqual(REFUSED);
    expect(await answer(['127.0.0.0/8'])).toEqual([200, undefined]);
  });

  it.each(['10.255.255.1', '192.168.255.1', 'fd12::1'])(
    'that leads to the private address %s is refused, and is not with allow_private_ips',
    async (address) => {
      const reason = async (rules: string) => {
        const upstream = { connectTimeoutMs: 50 };
        await using doors = await startDoors({ rules, zone: { 'api.test': address }, allowPrivate: [], upstream });
        return (await doors.knock(door, 'api.test'))[1];
      };
      expect(await reason(RULES.replace(', allow_private_ips: true', ''))).toBe('address_refused');
      expect(await reason(RULES)).not.toBe('address_refused');
    },
  );

  it('that leads to an address of our own is refused, and to its neighbour is not', async () => {
    const at = async (own: string) => {
      const upstream = { ownAddresses: () => new Set([own]), connectTimeoutMs: 50 };
      const zone = { 'api.test': '10.255.255.1' };
      await using doors = await startDoors({ rules: RULES, zone, allowPrivate: [], upstream });
      return (await doors.knock(door, 'api.test'))[1];
    };
    expect(await at('10.255.255.1')).toBe('address_refused');
    expect(await at('10.255.255.2')).not.toBe('address_refused');
  });

  it('that first leads to a permitted address and then to metadata gains nothing', async () => {
    const turns = ['127.0.0.1', '169.254.169.254'];
    const zone = {
      'api.test': (query: { readonly type: string }, ordinal: number) => ({
        addresses: query.type === 'A' ? [turns[ordinal - 1] ?? '169.254.169.254'] : [],
        ttlSeconds: 0,
      }),
    };
    await using doors = await startDoors({ rules: RULES, zone });
    expect((await doors.knock(door, 'api.test'))[0]).toBe(200);
    // Without this, the absolute form would go over the resting connection to the address that was permitted.
    const origin = doors.origins[door];
    origin.dropConnections();
    await origin.closed.atLeast(origin.connections);
    const { connections } = origin;
    expect(await doors.knock(door, 'api.test')).toEqual(REFUSED);
    expect(origin.connections).toBe(connections);
  });
});
