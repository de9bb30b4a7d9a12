/**
 * Our HPACK against node:http2's (nghttp2), both ways and in both roles: random header lists, table sizes that change under
 * way, fields that must not be indexed. What one writes the other reads as it was given. OUTCALL_FUZZ_MS lengthens it.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';
import { asClientOfNode, asServerOfNode, type HpackPeers, type TableSizes } from './hpack-peers.ts';

const names = fc.oneof(
  fc.constantFrom('accept', 'accept-encoding', 'authorization', 'cookie', 'date', 'etag', 'set-cookie', 'user-agent'),
  fc.constantFrom('x-a', 'x-b', 'x-c'),
  fc
    .string({ unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789-_.!~'), maxLength: 20 })
    .map((s) => `x-${s}`),
);
/** What RFC 9113 section 8.2.1 lets through, so that it is HPACK alone that is compared. */
const inner = fc.oneof(
  fc.constantFrom('1', '2', 'gzip, deflate', 'application/json'),
  fc.uint8Array({ maxLength: 60 }).map((octets) =>
    Buffer.from(octets)
      .toString('latin1')
      .replaceAll(/[\0-\x1f\x7f]/g, ''),
  ),
  fc.nat({ max: 2_500 }).map((length) => 'v'.repeat(length)),
);
const values = inner.map((text) => text.trim());
const fields = fc.array(fc.tuple(names, values), { maxLength: 12 }).map((all) => all.flat());
const paths = fc.oneof(
  fc.constantFrom('/', '/index.html', '/v1/messages', '/v1?a=b'),
  fc.webPath().map((path) => path || '/'),
);
const requests = fc
  .tuple(fc.constantFrom('GET', 'POST', 'DELETE'), paths, fields)
  .map(([method, path, more]) => [
    ':method',
    method,
    ':scheme',
    'https',
    ':authority',
    'a.test',
    ':path',
    path,
    ...more,
  ]);
const answers = fc
  .tuple(fc.constantFrom('200', '204', '302', '404', '500', '599'), fields)
  .map(([status, more]) => [':status', status, ...more]);
const tableSizes = fc.constantFrom(0, 31, 40, 100, 333, 1_024, 4_095, 4_096, 4_097, 65_536);

interface Step {
  readonly request: readonly string[];
  readonly answer: readonly string[];
  /** Names of fields that must not be indexed. */
  readonly never: readonly string[];
  /** Sizes that node announces before it. */
  readonly sizes: readonly number[];
  /** The lists are sent again. */
  readonly again: boolean;
}

const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    request: requests,
    answer: answers,
    never: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.constant(['x-a', 'cookie'])),
    sizes: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, fc.array(tableSizes, { minLength: 1, maxLength: 3 })),
    again: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
);

describe('what our HPACK and node:http2 write to each other', () => {
  it.each([
    ['as its client', asClientOfNode, 'fromOurs'],
    ['as its server', asServerOfNode, 'fromNodes'],
  ] as const)(
    'is read as it was given: %s',
    async (_, connect, requesting) => {
      let lists = 0;
      await fc.assert(
        fc.asyncProperty(fc.record({ ours: tableSizes, nodes: tableSizes }), steps, async (sizes: TableSizes, all) => {
          await using peers = await connect(sizes);
          for (const step of all) {
            for (const size of step.sizes) await peers.resize(size);
            for (let turn = 0; turn < (step.again ? 3 : 1); turn++) lists += await exchange(peers, step, requesting);
          }
        }),
        fuzzBudget(),
      );
      expect(lists).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});

/** One request and its answer; gives the number of lists that were compared. */
async function exchange(peers: HpackPeers, step: Step, requesting: 'fromOurs' | 'fromNodes'): Promise<number> {
  const answering = requesting === 'fromOurs' ? 'fromNodes' : 'fromOurs';
  for (const [send, list] of [
    [peers[requesting], step.request],
    [peers[answering], step.answer],
  ] as const) {
    const read = await send(list, step.never);
    expect(read.list).toEqual(list);
    const secret = step.never.filter((name) => list.includes(name));
    expect(read.never).toEqual(expect.arrayContaining(secret));
  }
  return 2;
}
