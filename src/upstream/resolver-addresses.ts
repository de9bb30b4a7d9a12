/**
 * All addresses of a name, by our own resolver: both families at once, aliases followed. Only records on the way from
 * the name to its addresses count; whatever else an answer holds is not looked at (threat 3).
 */
import type { Host } from '../domain/hostname.ts';
import { RCODE, TYPE } from '../wire/dns-codes.ts';
import { type DnsResponse, readAddress, readAlias } from '../wire/dns-response.ts';
import { errorCode } from './errno.ts';
import type { StubResolver } from './resolver.ts';
import { ResolverError } from './resolver-error.ts';

export interface Answer {
  /** In some spelling, of both families, as they came. */
  readonly addresses: readonly string[];
  /** The shortest of all records on the way. */
  readonly ttlSeconds: number;
}

/** Content networks chain three or four; c-ares and unbound stop between 8 and 16. */
const MAX_ALIASES = 10;
/** How long one family's addresses wait for the other's: a broken server may never answer for AAAA (RFC 8305 section 3). */
const OTHER_FAMILY_MS = 500;

/**
 * Rejects with ResolverError `ENOTFOUND` (no such name), `ENODATA` (no address), `EBADRESP` (aliases without end), or
 * as StubResolver.ask does. The addresses of one family are an answer, whatever became of the other.
 */
export async function lookupAddresses(resolver: StubResolver, host: Host): Promise<Answer> {
  const families = [TYPE.A, TYPE.AAAA].map((type) => lookupType(resolver, host, type));
  const first = await Promise.any(families).catch(() => undefined);
  if (first === undefined) throw worseOf(await Promise.allSettled(families));
  const found = await settledWithin(families, OTHER_FAMILY_MS);
  return {
    addresses: found.flatMap(({ addresses }) => addresses),
    ttlSeconds: Math.min(...found.map(({ ttlSeconds }) => ttlSeconds)),
  };
}

async function lookupType(resolver: StubResolver, host: Host, type: number): Promise<Answer> {
  let name: string = host;
  let ttlSeconds = Number.POSITIVE_INFINITY;
  let aliases = 0;
  for (;;) {
    const response = await resolver.ask({ name, type });
    const asked = name;
    for (let alias = aliasOf(response, name); alias !== undefined; alias = aliasOf(response, name)) {
      if (++aliases > MAX_ALIASES) throw new ResolverError('EBADRESP', 'too many aliases');
      name = alias.target;
      ttlSeconds = Math.min(ttlSeconds, alias.ttlSeconds);
    }
    // Of the name at the end of the aliases (RFC 6604 section 3).
    if (response.rcode === RCODE.NXDOMAIN) throw new ResolverError('ENOTFOUND', 'no such name');
    const records = response.answers.filter((record) => record.owner === name && record.type === type);
    const addresses = records.map((record) => readAddress(response, record)).filter((text) => text !== undefined);
    if (addresses.length > 0) {
      return { addresses, ttlSeconds: Math.min(ttlSeconds, ...records.map((record) => record.ttlSeconds)) };
    }
    if (name === asked) throw new ResolverError('ENODATA', 'the name has no address');
  }
}

function aliasOf(response: DnsResponse, name: string): { target: string; ttlSeconds: number } | undefined {
  const record = response.answers.find(({ owner, type }) => owner === name && type === TYPE.CNAME);
  if (record === undefined) return undefined;
  const target = readAlias(response, record);
  if (target === undefined || target === '') throw new ResolverError('EBADRESP', 'an alias for what is no host name');
  return { target, ttlSeconds: record.ttlSeconds };
}

/** What was fulfilled, in order, when all are settled or the time is up. */
async function settledWithin<T>(promises: readonly Promise<T>[], ms: number): Promise<T[]> {
  const found: (T | undefined)[] = promises.map(() => undefined);
  const all = promises.map(async (promise, i) => {
    found[i] = await promise.catch(() => undefined);
  });
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  await Promise.race([Promise.all(all), late.promise]);
  clearTimeout(timer);
  return found.filter((value) => value !== undefined);
}

/** "No such name" of one family says little while the other family's answer is missing for another reason. */
function worseOf(results: readonly PromiseSettledResult<unknown>[]): unknown {
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  return errors.find((error) => !['ENOTFOUND', 'ENODATA'].includes(errorCode(error))) ?? errors[0];
}
