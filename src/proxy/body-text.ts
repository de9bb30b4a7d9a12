/**
 * Turns a held request body into the text that rules with match_body see (threats 29, 30; S011-FR-013, FR-014).
 * The body that is forwarded later is the bytes as they came, never this text.
 */
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib';
import type { HeaderList } from '../domain/facts.ts';
import { FlowFailure } from '../domain/failure.ts';
import { dechunk } from '../wire/http1-body.ts';
import type { Framing } from '../wire/http1-head.ts';

/** `bytesWritten`: how much of the input was decoded. */
type Decoded = { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };
type Decoder = (bytes: Buffer, options: { maxOutputLength: number; info: true }) => Promise<Decoded>;

// Node's types do not know what `info` makes of the result.
const DECODERS: ReadonlyMap<string, Decoder> = new Map<string, Decoder>([
  ['gzip', promisify(gunzip) as unknown as Decoder],
  ['x-gzip', promisify(gunzip) as unknown as Decoder],
  ['deflate', promisify(inflate) as unknown as Decoder],
  ['br', promisify(brotliDecompress) as unknown as Decoder],
  ['zstd', promisify(zstdDecompress) as unknown as Decoder],
]);

/**
 * The body as text (UTF-8, U+FFFD for what is not), or null where its encoding is unknown, nested, ends before the body
 * does, or decodes to more than `capBytes`. Rejects with `body_decode_failed` where the bytes are not what
 * Content-Encoding says.
 */
export async function bodyText(
  raw: Buffer,
  framing: Framing,
  headers: HeaderList,
  capBytes: number,
): Promise<string | null> {
  const payload = framing.kind === 'chunked' ? dechunk(raw) : raw;
  const encoding = contentEncoding(headers);
  if (encoding === undefined) return payload.toString('utf8');
  const decode = DECODERS.get(encoding);
  if (decode === undefined) return null;
  try {
    const { buffer, engine } = await decode(payload, { maxOutputLength: Math.max(1, capBytes), info: true });
    // Node stops at the end of the first frame, where an origin may read on (RFC 8878 section 3.1): that is not hidden.
    return engine.bytesWritten === payload.length ? buffer.toString('utf8') : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') return null;
    throw new FlowFailure('body_decode_failed', { detail: `not ${encoding}`, cause: error });
  }
}

/** The one Content-Encoding in lower case; undefined for none or identity; two or more come out joined, and unknown. */
function contentEncoding(headers: HeaderList): string | undefined {
  const codings: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if ((headers[i] as string).toLowerCase() !== 'content-encoding') continue;
    codings.push((headers[i + 1] as string).trim().toLowerCase());
  }
  const joined = codings.join(',');
  return joined === '' || joined === 'identity' ? undefined : joined;
}
