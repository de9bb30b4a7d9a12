/**
 * HPACK blocks of any octets: our decoder never throws, keeps its limits, gives one answer wherever the block stands, and
 * calls broken what node:http2 (nghttp2) calls broken. What both accept is the same list.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HpackDecoder } from '../../src/wire/hpack-decoder.ts';
import { HpackEncoder, worstCaseBytes } from '../../src/wire/hpack-encoder.ts';
import { decodeHuffman } from '../../src/wire/hpack-huffman.ts';
import { FUZZ_TIMEOUT_MS, fuzzBudget } from './budget.ts';
import { nodeAsJudge } from './hpack-peers.ts';

const LIMITS = { maxTableBytes: 4_096, maxListBytes: 2_000, maxFields: 20 };
const WIDE = { maxTableBytes: 4_096, maxListBytes: 65_536, maxFields: 1_000 };
const PRINTABLE = /^[ -~]+$/;
const NAME = /^:?[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const VALUE = /^(?![ \t])[\t\x20-\x7e\x80-\xff]*(?<![ \t])$/;

const lists = fc.array(
  fc.tuple(
    fc.constantFrom('accept', 'x-a', 'x-b', 'cookie', 'date'),
    fc.constantFrom('', '1', 'a; b=c', 'gzip, deflate', 'v'.repeat(130)),
  ),
  { maxLength: 6 },
);
const change = fc.record({
  at: fc.nat({ max: 300 }),
  kind: fc.constantFrom<'replace' | 'insert' | 'delete' | 'end'>('replace', 'insert', 'delete', 'end'),
  octet: fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 0x10, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xbe, 0xff)),
});
const changes = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 2, arbitrary: fc.array(change, { minLength: 1, maxLength: 3 }) },
);
const anyOctets = fc.uint8Array({ maxLength: 200 }).map((octets) => Buffer.from(octets));
/** Blocks that one encoder would write, some with octets changed, and blocks of any octets. */
const blocks = fc
  .array(fc.oneof({ weight: 4, arbitrary: fc.tuple(lists, changes) }, { weight: 1, arbitrary: anyOctets }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((all) => {
    const encoder = new HpackEncoder();
    return all.map((one) => (Buffer.isBuffer(one) ? one : mutated(encoded(encoder, one[0].flat()), one[1])));
  });

describe('a header block of any octets', () => {
  it(
    'is a list within the limits or has a printable reason, and is the same wherever it stands and however often',
    () => {
      fc.assert(
        fc.property(blocks, anyOctets, (all, around) => {
          const readers = [new HpackDecoder(LIMITS), new HpackDecoder(LIMITS)] as const;
          for (const block of all) {
            const read = readers[0].decode(block);
            const input = Buffer.concat([around, block, around]);
            expect(readers[1].decode(input, around.length, around.length + block.length)).toEqual(read);
            if (read.kind === 'broken') {
              expect(read.detail).toMatch(PRINTABLE);
              return;
            }
            if (read.kind !== 'fields') continue;
            expect(read.list.length).toBeLessThanOrEqual(2 * LIMITS.maxFields);
            expect(sizeOf(read.list)).toBeLessThanOrEqual(LIMITS.maxListBytes);
          }
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );

  it(
    'is broken for us where it is for node:http2, and otherwise the same list',
    async () => {
      const seen = { list: 0, broken: 0 };
      await fc.assert(
        fc.asyncProperty(blocks, async (all) => {
          await using node = await nodeAsJudge();
          const reader = new HpackDecoder(WIDE);
          for (const block of all) {
            // With a request before it, so that node tells what it read.
            const whole = Buffer.concat([REQUEST, block]);
            const read = reader.decode(whole);
            const verdict = await node.judge(whole);
            if (verdict === 'broken' || read.kind === 'broken') {
              expect([read.kind, verdict]).toEqual(['broken', 'broken']);
              seen.broken++;
              return;
            }
            if (verdict === 'refused stream') continue;
            expect(read.kind === 'fields' && wellFormed(read.list)).toEqual(verdict.list);
            seen.list++;
          }
        }),
        fuzzBudget(),
      );
      expect(Math.min(seen.list, seen.broken)).toBeGreaterThan(0);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('a Huffman string of any octets', () => {
  it(
    'is refused or a text of at most eight fifths of its octets',
    () => {
      fc.assert(
        fc.property(anyOctets, (octets) => {
          const text = decodeHuffman(octets, 0, octets.length);
          if (text !== undefined) expect(text.length * 5).toBeLessThanOrEqual(octets.length * 8);
        }),
        fuzzBudget(),
      );
    },
    FUZZ_TIMEOUT_MS,
  );
});

/** GET https://a.test/, from the static table but for the authority. */
const REQUEST = Buffer.from([0x82, 0x87, 0x84, 0x01, 6, ...Buffer.from('a.test')]);

function encoded(encoder: HpackEncoder, list: readonly string[]): Buffer {
  const out = Buffer.alloc(worstCaseBytes(list));
  return out.subarray(0, encoder.encode(list, undefined, out, 0));
}

function mutated(block: Buffer, all: readonly { at: number; kind: string; octet: number }[]): Buffer {
  let out = block;
  for (const { at, kind, octet } of all) {
    const i = out.length === 0 ? 0 : at % out.length;
    const rest = kind === 'insert' ? out.subarray(i) : out.subarray(i + 1);
    const parts = kind === 'delete' ? [] : [Buffer.from([octet])];
    out = Buffer.concat([out.subarray(0, i), ...parts, ...(kind === 'end' ? [] : [rest])]);
  }
  return out;
}

/** The fields that nghttp2 does not drop: RFC 9113 section 8.2.1. */
function wellFormed(list: readonly string[]): readonly string[] {
  const isWell = (i: number): boolean => NAME.test(list[i] as string) && VALUE.test(list[i + 1] as string);
  return list.filter((_, i) => isWell(i - (i % 2)));
}

function sizeOf(list: readonly string[]): number {
  return list.reduce((sum, text) => sum + text.length, 16 * list.length);
}
