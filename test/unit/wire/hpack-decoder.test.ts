import { describe, expect, it } from 'vitest';
import { HpackDecoder } from '../../../src/wire/hpack-decoder.ts';
import { HpackReader } from '../../../src/wire/hpack-reader.ts';
import { APPENDIX_C, octets } from './hpack-vectors.ts';

const LIMITS = { maxTableBytes: 4_096, maxListBytes: 16_384, maxFields: 100 };
const FIRST_DYNAMIC = 62;
const FOO = '40 03 666f6f 03 626172';

const decoder = (limits: Partial<typeof LIMITS> = {}) => new HpackDecoder({ ...LIMITS, ...limits });
const fields = (list: readonly string[]) => ({ kind: 'fields', list, neverIndexed: undefined });
const isBroken = { kind: 'broken', detail: expect.stringMatching(/^[ -~]+$/) };

/** The entries of the dynamic table, newest first, read as a peer would: by their indices. */
function tableOf(reader: HpackDecoder, count: number): readonly string[] {
  const indices = Array.from({ length: count }, (_, i) => 0x80 | (FIRST_DYNAMIC + i));
  const all = reader.decode(Buffer.from(indices));
  return all.kind === 'fields' ? all.list : [];
}

function integer(hex: string, mask: number) {
  const reader = new HpackReader();
  reader.open(octets(hex), 0, octets(hex).length);
  return { value: reader.integer(mask), at: reader.at, problem: reader.problem };
}

describe('an integer', () => {
  it.each([
    ['10 (C.1.1)', '0a', 0x1f, 10],
    ['1337 (C.1.2)', '1f9a0a', 0x1f, 1_337],
    ['42 (C.1.3)', '2a', 0xff, 42],
    ['the prefix alone', '1f00', 0x1f, 31],
    ['2^31-1', 'ff80ffffff07', 0x7f, 2 ** 31 - 1],
    ['zeros behind it', '1f9a8a808000', 0x1f, 31 + 0x1a + (0x0a << 7)],
  ])('%s is read to its end and no further', (_, hex, mask, value) => {
    expect(integer(hex, mask)).toEqual({ value, at: hex.length / 2, problem: undefined });
    expect(integer(`${hex}ffff`, mask)).toEqual({ value, at: hex.length / 2, problem: undefined });
  });

  it.each([
    ['over 2^31-1', 'ff81ffffff07', 'ff80ffffff07'],
    ['of six octets beside the prefix', 'ff808080808000', 'ff8080808000'],
    ['cut off', 'ff80', 'ff8000'],
    ['cut off after the prefix', 'ff', 'ff00'],
  ])('%s is refused', (_, bad, good) => {
    expect(integer(bad, 0x7f)).toMatchObject({ value: -1, problem: expect.any(String) });
    expect(integer(good, 0x7f).problem).toBeUndefined();
  });
});

describe.each(APPENDIX_C)('the blocks of RFC 7541 section $section', ({ maxTableBytes, blocks }) => {
  it('are their lists, and leave the table that is shown', () => {
    const reader = decoder({ maxTableBytes });
    for (const { block, list, table, tableBytes } of blocks) {
      expect(reader.decode(octets(block))).toMatchObject({ kind: 'fields', list });
      expect(tableOf(reader, table.length / 2)).toEqual(table);
      const bytes = table.reduce((sum, text) => sum + text.length, 0) + (table.length / 2) * 32;
      expect(bytes).toBe(tableBytes);
    }
    const after = blocks.at(-1)?.table.length ?? 0;
    expect(reader.decode(Buffer.from([0x80 | (FIRST_DYNAMIC + after / 2)]))).toEqual(isBroken);
  });

  it('are broken, or a part of the list, wherever they are cut off', () => {
    for (let cut = 0; cut < octets(blocks[0]?.block ?? '').length; cut++) {
      const part = decoder({ maxTableBytes }).decode(octets(blocks[0]?.block ?? ''), 0, cut);
      if (part.kind === 'fields') expect(blocks[0]?.list.slice(0, part.list.length)).toEqual(part.list);
      else expect(part).toEqual(isBroken);
    }
  });

  it('are read from their place alone, whatever stands around them', () => {
    const block = octets(blocks[0]?.block ?? '');
    const around = Buffer.concat([Buffer.from([0x82]), block, Buffer.from([0x82])]);
    expect(decoder({ maxTableBytes }).decode(around, 1, 1 + block.length)).toMatchObject({ list: blocks[0]?.list });
  });
});

describe('a block', () => {
  it.each([
    ['index 0', '80', '81'],
    ['an index beyond the tables', 'be', `${FOO}be`],
    ['an index beyond the dynamic table', `${FOO}bf`, `${FOO}be`],
    ['a name beyond the tables', '7e 01 61', `${FOO}7e 01 61`],
    ['a name beyond the tables, never indexed', '1f2f 01 61', `${FOO}1f2f 01 61`],
    ['a name that is cut off', '40 03 6161', '40 02 6161 00'],
    ['no value', '40 02 6161', '40 02 6161 00'],
    ['a value that is cut off', '41 02 61', '41 01 61'],
    ['a length that is cut off', '41 ff80', '41 7f00'.concat('61'.repeat(127))],
    ['an index of too many octets', 'ff 8080808080 00', `${FOO}be`],
    ['a string that is not in the Huffman code', '41 84 ffffffff', '41 81 1f'],
    ['a table size after a field', '82 20', '20 82'],
    ['a table size over the one announced', '3f e2 1f', '3f e1 1f'],
    ['a table size that is cut off', '3f e1', '3f e1 1f'],
  ])('with %s breaks the connection', (_, bad, good) => {
    expect(decoder().decode(octets(bad))).toEqual(isBroken);
    expect(decoder().decode(octets(good))).toMatchObject({ kind: 'fields' });
  });

  it('without any octet is a list without fields', () => {
    expect(decoder().decode(Buffer.alloc(0))).toEqual(fields([]));
  });

  it('keeps names and values as they came, each octet a char', () => {
    expect(decoder().decode(octets('00 03 58e900 02 200a'))).toEqual(fields(['X\xe9\0', ' \n']));
  });

  it('tells the names that came as never indexed, and no others', () => {
    const read = decoder().decode(octets('10 01 61 01 62  00 01 63 01 64  1f08 01 65'));
    expect(read).toEqual({
      kind: 'fields',
      list: ['a', 'b', 'c', 'd', 'authorization', 'e'],
      neverIndexed: new Set(['a', 'authorization']),
    });
    expect(decoder().decode(octets('00 01 63 01 64'))).toEqual(fields(['c', 'd']));
  });
});

describe('a list object', () => {
  const block = octets(`82 ${FOO} be`);
  const indexed = octets('82 be');

  it('is the same for the same octets, as long as they mean the same', () => {
    const reader = decoder();
    reader.decode(block);
    const first = reader.decode(indexed);
    expect(reader.decode(Buffer.concat([block, indexed]), block.length)).toBe(first);
    reader.decode(octets('40 01 61 01 62'));
    expect(reader.decode(indexed)).toEqual(fields([':method', 'GET', 'a', 'b']));
  });

  it('is another after any other block, and after one that changes the table', () => {
    const reader = decoder();
    const first = reader.decode(block);
    expect(reader.decode(block)).not.toBe(first);
    const second = reader.decode(indexed);
    reader.decode(octets('83'));
    expect(reader.decode(indexed)).not.toBe(second);
    expect(reader.decode(octets('20 82'))).toEqual(fields([':method', 'GET']));
    expect(reader.decode(indexed)).toEqual(isBroken);
  });
});

describe('the dynamic table', () => {
  it('drops its oldest entries for a new one, and all for one that is larger than it', () => {
    const reader = decoder({ maxTableBytes: 3 * 34 });
    for (const name of ['61', '62', '63', '64']) reader.decode(octets(`40 01 ${name} 01 30`));
    expect(tableOf(reader, 3)).toEqual(['d', '0', 'c', '0', 'b', '0']);
    reader.decode(octets(`40 01 65 7f00 ${'30'.repeat(127)}`));
    expect(reader.decode(octets('be'))).toEqual(isBroken);
  });

  it('may name an entry that the new one drives out', () => {
    const reader = decoder({ maxTableBytes: 40 });
    reader.decode(octets('40 03 616263 01 30'));
    expect(reader.decode(octets('7e 02 3131'))).toEqual(fields(['abc', '11']));
    expect(tableOf(reader, 1)).toEqual(['abc', '11']);
  });

  it('shrinks and grows by the updates at the start of a block', () => {
    const reader = decoder();
    reader.decode(octets(`${FOO} 40 01 61 01 62`));
    expect(reader.decode(octets('3f 03 be'))).toEqual(fields(['a', 'b']));
    expect(reader.decode(octets('20 3f e1 1f'))).toEqual(fields([]));
    reader.decode(octets(FOO));
    expect(tableOf(reader, 1)).toEqual(['foo', 'bar']);
    expect(reader.decode(octets('bf'))).toEqual(isBroken);
  });

  it('holds as many entries as fit, over and over', () => {
    const reader = decoder();
    for (let i = 0; i < 1_000; i++) expect(reader.decode(octets('40 00 00')).kind).toBe('fields');
    expect(reader.decode(octets('ff 3e'))).toEqual(fields(['', '']));
    expect(reader.decode(octets('ff 3f'))).toEqual(isBroken);
  });
});

describe('a list over a limit', () => {
  it.each([
    ['of bytes', { maxListBytes: 3 * 38 }],
    ['of fields', { maxFields: 3 }],
  ])('%s is discarded, and the table is still in step', (_, limits) => {
    const reader = decoder(limits);
    expect(reader.decode(octets(`${FOO} be be be 40 01 61 01 62`))).toEqual({ kind: 'too_large' });
    expect(reader.decode(octets('be bf bf'))).toMatchObject({
      kind: 'fields',
      list: ['a', 'b', 'foo', 'bar', 'foo', 'bar'],
    });
  });

  it('is broken all the same where it is malformed', () => {
    expect(decoder({ maxFields: 1 }).decode(octets('82 82 80'))).toEqual(isBroken);
    expect(decoder({ maxFields: 1 }).decode(octets('82 82 82'))).toEqual({ kind: 'too_large' });
  });

  it('breaks the connection once it has unfolded to sixteen times what is allowed', () => {
    const bomb = Buffer.concat([octets(`40 01 61 7f d90f`), Buffer.alloc(2_136, 0x61), Buffer.alloc(3_000, 0xbe)]);
    const reader = decoder({ maxListBytes: 16_384 });
    expect(reader.decode(bomb)).toEqual(isBroken);
    expect(decoder().decode(bomb.subarray(0, 2_136 + 6 + 50))).toEqual({ kind: 'too_large' });
  });

  it('is the same for a block that puts into the table and uses nothing of it, and each time it is put there again', () => {
    const reader = decoder();
    const inserting = octets(`88 ${FOO} 40 01 61 01 62`);
    const first = reader.decode(inserting);
    expect(reader.decode(inserting)).toBe(first);
    expect(tableOf(reader, 4)).toEqual(['a', 'b', 'foo', 'bar', 'a', 'b', 'foo', 'bar']);
    expect(reader.decode(octets('c2'))).toEqual(isBroken);
    const small = decoder();
    small.decode(inserting);
    // Room for one of them: each time the second puts the first out.
    small.decode(octets(`3f 0f ${FOO} 40 01 61 01 62`));
    small.decode(octets(`${FOO} 40 01 61 01 62`));
    small.decode(octets(`${FOO} 40 01 61 01 62`));
    expect(tableOf(small, 1)).toEqual(['a', 'b']);
    expect(small.decode(octets('bf'))).toEqual(isBroken);
  });
});
