/**
 * A CA that somebody brings: one certificate and its key as PEM in one text, in any order. Told apart in the bytes they came
 * in, since a string of the key could not be wiped; checked as those on disk are. Writes nothing (row 35).
 */
import { caCertificateFrom } from './ca-certificate.ts';
import { CaError } from './ca-error.ts';
import { caKeyFrom } from './ca-key.ts';

/** An RSA-16384 key is 13 KB. */
export const MAX_MATERIAL_BYTES = 65_536;
/** What was brought, in messages such as `CA key that was sent is encrypted`. */
const SENT = 'that was sent';

export interface CaMaterial {
  readonly certPem: string;
  /** The caller's to wipe. */
  readonly keyPem: Buffer;
}

/** Wipes `bytes`. Throws CaError, kind `unfit`, with what is wrong with it; `now`: milliseconds since the epoch. */
export function readCaMaterial(bytes: Buffer, now: number): CaMaterial {
  try {
    const { certificates, keys } = blocksOf(bytes);
    const [certificate, key] = [only(certificates, 'CA certificate'), only(keys, 'CA key')];
    const loaded = caCertificateFrom(SENT, certificate, now);
    const keyPem = Buffer.allocUnsafeSlow(key.length + 1);
    key.copy(keyPem);
    keyPem[key.length] = 0x0a;
    caKeyFrom(SENT, key, loaded.certificate); // wipes that copy of it
    return { certPem: loaded.info.certPem, keyPem };
  } finally {
    bytes.fill(0);
  }
}

function blocksOf(bytes: Buffer): { certificates: readonly Buffer[]; keys: readonly Buffer[] } {
  if (bytes.length > MAX_MATERIAL_BYTES) {
    throw new CaError(
      'unfit',
      `what was sent is larger than ${MAX_MATERIAL_BYTES} bytes; send one certificate and its key`,
    );
  }
  const certificates: Buffer[] = [];
  const keys: Buffer[] = [];
  for (let from = bytes.indexOf('-----BEGIN '); from !== -1; from = bytes.indexOf('-----BEGIN ', from + 1)) {
    const block = blockAt(bytes, from);
    if (block === undefined)
      throw new CaError('unfit', 'a block of what was sent has no END line; send whole PEM files');
    if (block.label === 'CERTIFICATE') certificates.push(block.bytes);
    else if (block.label.endsWith('PRIVATE KEY')) keys.push(block.bytes);
  }
  return { certificates, keys };
}

/** The label is no secret, the rest of the block stays bytes. */
function blockAt(bytes: Buffer, from: number): { readonly label: string; readonly bytes: Buffer } | undefined {
  const labelEnd = bytes.indexOf('-----', from + '-----BEGIN '.length);
  if (labelEnd === -1 || labelEnd - from > 80) return undefined;
  const label = bytes.toString('latin1', from + '-----BEGIN '.length, labelEnd);
  const end = `-----END ${label}-----`;
  const endsAt = bytes.indexOf(end, labelEnd);
  return endsAt === -1 ? undefined : { label, bytes: bytes.subarray(from, endsAt + end.length) };
}

function only(blocks: readonly Buffer[], what: string): Buffer {
  const [first] = blocks;
  if (first !== undefined && blocks.length === 1) return first;
  const words = `one ${what} in PEM is needed, but what was sent has ${blocks.length}`;
  throw new CaError('unfit', `${words}; send the root's certificate and its key`);
}
