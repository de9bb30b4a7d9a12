import { describe, expect, it } from 'vitest';
import { HpackDecoder } from '../../../src/wire/hpack-decoder.ts';
import { HpackEncoder, worstCaseBytes } from '../../../src/wire/hpack-encoder.ts';
import { APPENDIX_C, octets } from './hpack-vectors.ts';

const REQUEST = [':method', 'POST', ':scheme', 'https', ':authority', 'api.test', ':path', '/v1', 'x-team', 'blue'];
const INDEX_OCTETS = REQUEST.length / 2;

/** An encoder, and the decoder of its peer. */
class Pair {
  readonly encoder = new HpackEncoder();
  readonly decoder = new HpackDecoder({ maxTableBytes: 65_536, maxListBytes: 1 << 20, maxFields: 1_000 });

  /** The block; the peer has read from it what was written. */
  send(list: readonly string[], neverIndexed?: ReadonlySet<string>): Buffer {
    const out = Buffer.alloc(worstCaseBytes(list) + 2, 0xee);
    const end = this.encoder.encode(list, neverIndexed, out, 1);
    expect([out[0], out[end]]).toEqual([0xee, 0xee]);
    const block = out.subarray(1, end);
    const read = this.decoder.decode(block);
    expect(read).toMatchObject({ kind: 'fields', list });
    return Buffer.from(block);
  }
}

describe('a list', () => {
  it('is an octet for each field once it was sent, be it the same object or another of the same fields', () => {
    const pair = new Pair();
    expect(pair.send(REQUEST).length).toBeGreaterThan(INDEX_OCTETS);
    expect(pair.send(REQUEST)).toHaveLength(INDEX_OCTETS);
    const block = pair.send(REQUEST);
    expect(pair.send([...REQUEST])).toEqual(block);
    expect(pair.send(REQUEST)).toEqual(block);
  });

  it('is the block of RFC 7541 section C.3, where nothing in it may come but once', () => {
    const pair = new Pair();
    for (const { block, list } of APPENDIX_C.find(({ section }) => section === 'C.3')?.blocks ?? []) {
      expect(pair.send(list)).toEqual(octets(block));
    }
  });

  it('goes with each octet as it is, in text of any length', () => {
    const pair = new Pair();
    const every = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i));
    for (const length of [0, 1, 19, 20, 21, 126, 127, 128, 254, 255, 256]) pair.send([every.slice(0, length), every]);
    pair.send(['x', 'y'.repeat(40_000), 'z'.repeat(40_000), '']);
    pair.send([]);
  });

  it('that was kept is not sent as it was, once the table has changed or the peer has another', () => {
    const pair = new Pair();
    pair.send(REQUEST);
    const block = pair.send(REQUEST);
    pair.send(['x-other', '1']);
    expect(pair.send(REQUEST)).not.toEqual(block);
    pair.encoder.limitTable(0);
    expect(pair.send(REQUEST).length).toBeGreaterThan(INDEX_OCTETS);
    pair.send(REQUEST);
  });

  it('that was kept is not sent as it was for other names that must not be indexed', () => {
    const pair = new Pair();
    pair.send(REQUEST);
    pair.send(REQUEST);
    expect(pair.send(REQUEST, new Set(['x-team'])).length).toBeGreaterThan(INDEX_OCTETS);
    expect(pair.send(REQUEST)).toHaveLength(INDEX_OCTETS);
  });
});

describe('a field', () => {
  it.each([
    ['a path with a query', ':path', '/a?b', '/a-b'],
    ['a content length', 'content-length', '5', undefined],
    ['a date', 'date', 'Mon, 21 Oct 2013 20:13:21 GMT', undefined],
    ['a cookie that is set', 'set-cookie', 'a=b', undefined],
  ])('%s takes no place in the table, and others do', (_, name, value, indexed) => {
    const pair = new Pair();
    pair.send([name, value]);
    expect(pair.send([name, value]).length).toBeGreaterThan(1);
    const twin = indexed === undefined ? ['x-team', value] : [name, indexed];
    pair.send(twin);
    expect(pair.send(twin)).toHaveLength(1);
  });

  it('that must not be indexed is a literal that says so, even where the table has it', () => {
    const pair = new Pair();
    const secret = ['authorization', 'Bearer x'];
    pair.send(secret);
    expect(pair.send(secret)).toHaveLength(1);
    pair.send(secret, new Set(['authorization']));
    const out = Buffer.alloc(100);
    const end = pair.encoder.encode(secret, new Set(['authorization']), out, 0);
    expect(pair.decoder.decode(out, 0, end)).toMatchObject({ list: secret, neverIndexed: new Set(['authorization']) });
    expect(pair.send(secret)).toHaveLength(1);
  });

  it('of a name whose values never come again gets four entries, and leaves the others theirs', () => {
    const pair = new Pair();
    pair.send(REQUEST);
    for (let i = 0; i < 1_000; i++) pair.send(['x-request-id', `id-${i}`, 'x-team', 'blue']);
    expect(pair.send(['x-team', 'blue', 'x-request-id', 'id-3'])).toHaveLength(2);
    expect(pair.send(['x-request-id', 'id-999']).length).toBeGreaterThan(2);
    expect(pair.send(REQUEST)).toHaveLength(INDEX_OCTETS);
  });

  it('over half the table takes no place in it, and one of half does', () => {
    const pair = new Pair();
    pair.send(REQUEST);
    pair.send(['x', 'y'.repeat(2_016)]);
    expect(pair.send(REQUEST)).toHaveLength(INDEX_OCTETS);
    pair.send(['x', 'y'.repeat(2_015)]);
    expect(pair.send(['x', 'y'.repeat(2_015)])).toHaveLength(1);
  });
});

describe('the table', () => {
  it('stays in step with the peer however often it is turned over', () => {
    const pair = new Pair();
    for (let i = 0; i < 2_000; i++) pair.send([`x-${i % 300}`, `${i % 7}`, 'x-team', 'blue']);
  });

  it.each([
    ['smaller', [100], '3f45'],
    ['none', [0], '20'],
    ['none and then some', [0, 200], '20 3fa901'],
    ['smaller, smaller still, and larger', [200, 100, 300], '3f45 3f8d02'],
    ['smaller and back again', [100, 4_096], '3f45 3fe11f'],
    ['larger than we use', [65_536], ''],
    ['as it is', [4_096], ''],
  ])('that the peer makes %s is announced with the next block alone', (_, sizes, announced) => {
    const pair = new Pair();
    pair.send(REQUEST);
    for (const size of sizes) pair.encoder.limitTable(size);
    const block = pair.send([':method', 'GET']);
    expect(block).toEqual(octets(`${announced} 82`));
    expect(pair.send([':method', 'GET'])).toEqual(octets('82'));
    for (let i = 0; i < 50; i++) pair.send([`x-${i % 9}`, `${i % 7}`]);
    pair.encoder.limitTable(4_096);
    for (let i = 0; i < 50; i++) pair.send([`x-${i % 9}`, `${i % 7}`]);
  });

  it('is not announced again to a peer that says the same', () => {
    const pair = new Pair();
    pair.encoder.limitTable(100);
    pair.send([':method', 'GET']);
    pair.encoder.limitTable(100);
    expect(pair.send([':method', 'GET'])).toEqual(octets('82'));
  });
});
