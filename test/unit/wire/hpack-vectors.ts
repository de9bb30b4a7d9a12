/** RFC 7541 appendix C.2 to C.6: header blocks, the lists that they are, and the dynamic table after each. */

export interface HpackVector {
  readonly block: string;
  readonly list: readonly string[];
  /** Newest entry first. */
  readonly table: readonly string[];
  /** By section 4.1. */
  readonly tableBytes: number;
}

export interface HpackSeries {
  readonly section: string;
  readonly maxTableBytes: number;
  readonly blocks: readonly HpackVector[];
}

const AUTHORITY = [':authority', 'www.example.com'];
const NO_CACHE = ['cache-control', 'no-cache'];
const CUSTOM = ['custom-key', 'custom-value'];
const PRIVATE = ['cache-control', 'private'];
const DATE_21 = ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'];
const DATE_22 = ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'];
const LOCATION = ['location', 'https://www.example.com'];
const GZIP = ['content-encoding', 'gzip'];
const COOKIE = ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'];

const request = (scheme: string, path: string): string[] => [':method', 'GET', ':scheme', scheme, ':path', path];

function requests(section: string, blocks: readonly [string, string, string]): HpackSeries {
  const [first, second, third] = blocks;
  return {
    section,
    maxTableBytes: 4_096,
    blocks: [
      { block: first, list: [...request('http', '/'), ...AUTHORITY], table: AUTHORITY, tableBytes: 57 },
      {
        block: second,
        list: [...request('http', '/'), ...AUTHORITY, ...NO_CACHE],
        table: [...NO_CACHE, ...AUTHORITY],
        tableBytes: 110,
      },
      {
        block: third,
        list: [...request('https', '/index.html'), ...AUTHORITY, ...CUSTOM],
        table: [...CUSTOM, ...NO_CACHE, ...AUTHORITY],
        tableBytes: 164,
      },
    ],
  };
}

function responses(section: string, blocks: readonly [string, string, string]): HpackSeries {
  const [first, second, third] = blocks;
  return {
    section,
    maxTableBytes: 256,
    blocks: [
      {
        block: first,
        list: [':status', '302', ...PRIVATE, ...DATE_21, ...LOCATION],
        table: [...LOCATION, ...DATE_21, ...PRIVATE, ':status', '302'],
        tableBytes: 222,
      },
      {
        block: second,
        list: [':status', '307', ...PRIVATE, ...DATE_21, ...LOCATION],
        table: [':status', '307', ...LOCATION, ...DATE_21, ...PRIVATE],
        tableBytes: 222,
      },
      {
        block: third,
        list: [':status', '200', ...PRIVATE, ...DATE_22, ...LOCATION, ...GZIP, ...COOKIE],
        table: [...COOKIE, ...GZIP, ...DATE_22],
        tableBytes: 215,
      },
    ],
  };
}

function single(section: string, block: string, list: readonly string[], indexed: boolean): HpackSeries {
  const table = indexed ? list : [];
  const tableBytes = indexed ? 55 : 0;
  return { section, maxTableBytes: 4_096, blocks: [{ block, list, table, tableBytes }] };
}

export const APPENDIX_C: readonly HpackSeries[] = [
  single(
    'C.2.1',
    '40 0a 63 75 73 74 6f 6d 2d 6b 65 79 0d 63 75 73 74 6f 6d 2d 68 65 61 64 65 72',
    ['custom-key', 'custom-header'],
    true,
  ),
  single('C.2.2', '04 0c 2f 73 61 6d 70 6c 65 2f 70 61 74 68', [':path', '/sample/path'], false),
  single('C.2.3', '10 08 70 61 73 73 77 6f 72 64 06 73 65 63 72 65 74', ['password', 'secret'], false),
  single('C.2.4', '82', [':method', 'GET'], false),
  requests('C.3', [
    '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
    '8286 84be 5808 6e6f 2d63 6163 6865',
    '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
  ]),
  requests('C.4', [
    '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
    '8286 84be 5886 a8eb 1064 9cbf',
    '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
  ]),
  responses('C.5', [
    `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d
     546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
    '4803 3330 37c1 c0bf',
    `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f
     6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b
     2076 6572 7369 6f6e 3d31`,
  ]),
  responses('C.6', [
    `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7
     8f0b 97c8 e9ae 82ae 43d3`,
    '4883 640e ffc1 c0bf',
    `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335
     dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
  ]),
];

export function octets(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');
}
