import { describe, expect, it } from 'vitest';
import { decodeHuffman } from '../../../src/wire/hpack-huffman.ts';
import { octets } from './hpack-vectors.ts';

const read = (hex: string) => decodeHuffman(octets(hex), 0, octets(hex).length);

/** Some codes of RFC 7541 appendix B, as they stand there: at least one of each length. */
const CODES: readonly (readonly [octet: number, bits: string])[] = [
  [48, '00000'],
  [116, '01001'],
  [32, '010100'],
  [117, '101101'],
  [58, '1011100'],
  [122, '1111011'],
  [38, '11111000'],
  [90, '11111101'],
  [33, '1111111000'],
  [63, '1111111100'],
  [39, '11111111010'],
  [124, '11111111100'],
  [35, '111111111010'],
  [0, '1111111111000'],
  [126, '1111111111101'],
  [94, '11111111111100'],
  [125, '11111111111101'],
  [60, '111111111111100'],
  [123, '111111111111110'],
  [92, '1111111111111110000'],
  [208, '1111111111111110010'],
  [128, '11111111111111100110'],
  [153, '111111111111111011100'],
  [129, '1111111111111111010010'],
  [1, '11111111111111111011000'],
  [9, '111111111111111111101010'],
  [199, '1111111111111111111101100'],
  [192, '11111111111111111111100000'],
  [255, '11111111111111111111101110'],
  [203, '111111111111111111111011110'],
  [2, '1111111111111111111111100010'],
  [249, '1111111111111111111111111110'],
  [10, '111111111111111111111111111100'],
  [22, '111111111111111111111111111110'],
];

/** Bits as octets, padded with ones. */
function packed(bits: string): Buffer {
  const whole = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1');
  return Buffer.from(whole.match(/.{8}/g)?.map((octet) => Number.parseInt(octet, 2)) ?? []);
}

describe('a string in the Huffman code', () => {
  it.each([
    ['f1e3 c2e5 f23a 6ba0 ab90 f4ff', 'www.example.com'],
    ['a8eb 1064 9cbf', 'no-cache'],
    ['25a8 49e9 5bb8 e8b4 bf', 'custom-value'],
    ['d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['9bd9 ab', 'gzip'],
    ['', ''],
  ])('%s is the text %j', (hex, text) => {
    expect(read(hex)).toBe(text);
  });

  it.each(CODES)('has octet %i as %s, at any bit and between any others', (octet, bits) => {
    const char = String.fromCharCode(octet);
    for (let before = 0; before < 8; before++) {
      const block = packed(`${'00000'.repeat(before)}${bits}${bits}11111000`);
      expect(decodeHuffman(block, 0, block.length)).toBe(`${'0'.repeat(before)}${char}${char}&`);
    }
  });

  it('is read from its place alone, whatever stands around it', () => {
    const block = octets('ff 9bd9ab ff');
    expect(decodeHuffman(block, 1, 4)).toBe('gzip');
    expect(decodeHuffman(octets('00 9bd9ab 00'), 1, 4)).toBe('gzip');
  });

  it.each([
    ['the end symbol', '3fffffffff', '3f'],
    ['the end symbol alone', 'ffffffff', ''],
    ['padding of eight ones', '1fff', '1f'],
    ['padding of a whole octet after a whole one', 'f8ff', 'f8'],
    ['padding of zeros', '18', '1f'],
    ['padding that is ones but for its last', '1e', '1f'],
    ['a long code that is cut off', '1fffff', '1f'],
    ['a code of 30 bits that is cut off before its last octet', 'ffffff', 'fffffff3'],
  ])('is refused with %s', (_, bad, good) => {
    expect(read(bad)).toBeUndefined();
    expect(read(good)).toBeTypeOf('string');
  });
});
