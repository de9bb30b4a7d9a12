/**
 * Reads nameConstraints (RFC 5280 section 4.2.1.10) off our own CA's certificate, which OpenSSL has parsed before. A walk of
 * DER by hand, so that supervisor and CLI need not load node-forge for it. Never reads what an agent or an origin sent.
 */
import type { NameConstraints } from '../domain/name-constraints.ts';

interface Item {
  readonly tag: number;
  readonly value: Buffer;
}

/** 2.5.29.30 */
const NAME_CONSTRAINTS = Buffer.from([0x55, 0x1d, 0x1e]);
const OBJECT_IDENTIFIER = 0x06;
const EXTENSIONS = 0xa3;
const PERMITTED = 0xa0;
const EXCLUDED = 0xa1;
/** GeneralName: dNSName [2], iPAddress [7], directoryName [4]. */
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;
const DIRECTORY_NAME = 0xa4;

/**
 * Undefined where there are none; `unsupported` where they bound something that we cannot keep to (the subject's name).
 * Constraints on addresses are taken as a whole: any bound on them is none allowed.
 */
export function readNameConstraints(certificate: Buffer): NameConstraints | 'unsupported' | undefined {
  const extension = extensionsOf(certificate).find(([type]) => type?.value.equals(NAME_CONSTRAINTS));
  const value = extension?.at(-1)?.value;
  if (value === undefined) return undefined;
  const parts = itemsOf(itemsOf(value)[0]?.value);
  const permitted = basesOf(parts, PERMITTED);
  const excluded = basesOf(parts, EXCLUDED);
  const all = [...permitted, ...excluded];
  if (all.some(({ tag }) => tag === DIRECTORY_NAME)) return 'unsupported';
  const names = namesOf(permitted);
  return {
    permitted: names.length === 0 ? undefined : names,
    excluded: namesOf(excluded),
    addresses: !all.some(({ tag }) => tag === IP_ADDRESS),
  };
}

/** Each as its parts: type, perhaps `critical`, value. */
function extensionsOf(certificate: Buffer): readonly (readonly Item[])[] {
  const [tbs] = itemsOf(itemsOf(certificate)[0]?.value);
  const extensions = itemsOf(tbs?.value).find(({ tag }) => tag === EXTENSIONS);
  const each = itemsOf(itemsOf(extensions?.value)[0]?.value).map(({ value }) => itemsOf(value));
  return each.filter(([type]) => type?.tag === OBJECT_IDENTIFIER);
}

function basesOf(parts: readonly Item[], tag: number): readonly Item[] {
  const subtrees = itemsOf(parts.find((part) => part.tag === tag)?.value);
  return subtrees.map(({ value }) => itemsOf(value)[0]).filter((base) => base !== undefined);
}

function namesOf(bases: readonly Item[]): readonly string[] {
  return bases.filter(({ tag }) => tag === DNS_NAME).map(({ value }) => value.toString('latin1').toLowerCase());
}

/** The values that follow each other in `bytes`; none of what does not fit. Tags here are of one byte, lengths definite. */
function itemsOf(bytes: Buffer | undefined): readonly Item[] {
  const items: Item[] = [];
  let rest = bytes ?? Buffer.alloc(0);
  while (rest.length >= 2) {
    const [tag, first] = [rest[0] as number, rest[1] as number];
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
    if (lengthBytes > 4 || rest.length < 2 + lengthBytes) break;
    const length = lengthBytes === 0 ? first : rest.readUIntBE(2, lengthBytes);
    const start = 2 + lengthBytes;
    items.push({ tag, value: rest.subarray(start, start + length) });
    rest = rest.subarray(start + length);
  }
  return items;
}
