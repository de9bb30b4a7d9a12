/**
 * Strings in the Huffman code of HPACK (RFC 7541 section 5.2, appendix B), read bit by bit as they must be: the symbol of
 * the string's end, padding of a whole octet, and padding of other bits than its first are refused (threat 10).
 * There is no writer: we send strings as they are, since the fields of one connection are sent once and indexed then.
 */

/**
 * Bits of each octet's code in base 36, by octet (appendix B). The code is canonical: codes of one length go up with the
 * octets, and go on where the shorter ones end. That leaves 30 ones for the end of the string.
 */
const CODE_BITS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq';
const MAX_CODE_BITS = 30;
const END_SYMBOL = 256;
/** An entry of the tables below: the symbol above the length of its code. */
const SYMBOL_SHIFT = 5;
const LENGTH_MASK = 31;

/** Symbols in the order of their codes. */
const SYMBOLS = new Uint16Array(END_SYMBOL + 1);
/** By length: the first code, how many there are, and where their symbols begin. */
const FIRST_CODE = new Uint32Array(MAX_CODE_BITS + 1);
const CODE_COUNT = new Uint16Array(MAX_CODE_BITS + 1);
const FIRST_SYMBOL = new Uint16Array(MAX_CODE_BITS + 1);
/** By the next eight bits: the entry of the code that they begin with; 0 where it is longer. */
const SHORT_CODES = new Uint16Array(256);
fillTables();

/** The text of the octets from `start` to `end`, one char per octet; undefined where they are no string of the code. */
export function decodeHuffman(block: Buffer, start: number, end: number): string | undefined {
  const out = Buffer.allocUnsafe(Math.floor(((end - start) * 8) / 5));
  let length = 0;
  let bitsLeft = (end - start) * 8;
  while (bitsLeft > 0) {
    const at = end - ((bitsLeft + 7) >> 3);
    const bit = -bitsLeft & 7;
    const next = (((block[at] as number) << bit) | (octetAt(block, at + 1, end) >> (8 - bit))) & 0xff;
    const entry = SHORT_CODES[next] || longCode(block, at, end, bit);
    const codeBits = entry & LENGTH_MASK;
    if (codeBits > bitsLeft) return isPadding(next, bitsLeft) ? out.toString('latin1', 0, length) : undefined;
    const symbol = entry >> SYMBOL_SHIFT;
    if (symbol === END_SYMBOL) return undefined;
    out[length++] = symbol;
    bitsLeft -= codeBits;
  }
  return out.toString('latin1', 0, length);
}

/** Past the end come ones, as padding has them. */
function octetAt(block: Buffer, at: number, end: number): number {
  return at < end ? (block[at] as number) : 0xff;
}

/** At most seven bits, all of them ones. */
function isPadding(next: number, bitsLeft: number): boolean {
  return bitsLeft < 8 && next >> (8 - bitsLeft) === (1 << bitsLeft) - 1;
}

/** The entry of the code of more than eight bits that begins at bit `bit` of octet `at`. */
function longCode(block: Buffer, at: number, end: number, bit: number): number {
  let octets = 0;
  for (let i = at; i < at + 4; i++) octets = (octets << 8) | octetAt(block, i, end);
  const bits = ((octets << bit) | (octetAt(block, at + 4, end) >> (8 - bit))) >>> 0;
  for (let length = 9; length < MAX_CODE_BITS; length++) {
    const nth = (bits >>> (32 - length)) - (FIRST_CODE[length] as number);
    if (nth < (CODE_COUNT[length] as number)) return entryOf(nthSymbol(length, nth), length);
  }
  // What begins with no shorter code begins with one of these.
  return entryOf(nthSymbol(MAX_CODE_BITS, (bits >>> 2) - (FIRST_CODE[MAX_CODE_BITS] as number)), MAX_CODE_BITS);
}

function nthSymbol(codeBits: number, nth: number): number {
  return SYMBOLS[(FIRST_SYMBOL[codeBits] as number) + nth] as number;
}

function entryOf(symbol: number, codeBits: number): number {
  return (symbol << SYMBOL_SHIFT) | codeBits;
}

function fillTables(): void {
  let code = 0;
  let filled = 0;
  for (let length = 1; length <= MAX_CODE_BITS; length++) {
    code *= 2;
    FIRST_CODE[length] = code;
    FIRST_SYMBOL[length] = filled;
    for (let symbol = 0; symbol <= END_SYMBOL; symbol++) {
      if (codeBitsOf(symbol) !== length) continue;
      SYMBOLS[filled++] = symbol;
      if (length <= 8) {
        SHORT_CODES.fill(entryOf(symbol, length), code << (8 - length), (code + 1) << (8 - length));
      }
      code++;
    }
    CODE_COUNT[length] = filled - (FIRST_SYMBOL[length] as number);
  }
}

function codeBitsOf(symbol: number): number {
  return symbol === END_SYMBOL ? MAX_CODE_BITS : Number.parseInt(CODE_BITS[symbol] as string, 36);
}
