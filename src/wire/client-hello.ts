/**
 * The TLS ClientHello, read whole whatever records and segments it is split over (threats 1, 20).
 * Reads what the proxy decides on: SNI, ALPN, offered versions, encrypted ClientHello. Strict on every length,
 * so that there is no second reading of the name. Does not canonicalise the name and judges no value.
 */
import { ByteReader } from './byte-reader.ts';

export type HelloResult =
  | { readonly kind: 'incomplete' }
  /** The first byte is not that of a TLS handshake record. */
  | { readonly kind: 'not_tls' }
  | { readonly kind: 'malformed'; readonly detail: string }
  | ClientHello;

export interface ClientHello {
  readonly kind: 'hello';
  /** server_name as sent, one character per byte; undefined when absent. */
  readonly sni: string | undefined;
  readonly alpn: readonly string[];
  /** As offered, for instance 0x0304; the legacy version where supported_versions is absent. */
  readonly versions: readonly number[];
  /** An encrypted_client_hello extension is there, real or GREASE. */
  readonly ech: boolean;
  /** Bytes of `input` that carry the hello. */
  readonly bytes: number;
}

/** With its record headers. A real hello with post-quantum key shares is about 2 KiB; no stack sends one near this. */
const MAX_HELLO_BYTES = 65_536;
/** RFC 8446 section 5.1: a plaintext record holds at most 2^14 bytes. */
const MAX_RECORD_BYTES = 16_384;
const RECORD_HEADER_BYTES = 5;
const HANDSHAKE_HEADER_BYTES = 4;
const HANDSHAKE_RECORD = 22;
/** change_cipher_spec, application_data */
const SKIPPED_RECORDS: ReadonlySet<number> = new Set([20, 23]);
const CLIENT_HELLO_MESSAGE = 1;
/** SSL 3.0 and all of TLS carry 3 as the major version of records and of the hello. */
const MAJOR_VERSION = 3;

/** Newest first; what is not here is GREASE (RFC 8701), a draft, or SSL. */
const TLS_VERSIONS: readonly (readonly [number, string])[] = [
  [0x0304, '1.3'],
  [0x0303, '1.2'],
  [0x0302, '1.1'],
  [0x0301, '1.0'],
];

const RANDOM_BYTES = 32;
const MAX_SESSION_ID_BYTES = 32;

// Extension types (IANA TLS ExtensionType Values).
const SERVER_NAME = 0;
const ALPN = 16;
const SUPPORTED_VERSIONS = 43;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;
const HOST_NAME = 0;

const NOTHING = Buffer.alloc(0);

/** Reads the hello at the start of `input`, which may hold less than it or more. Never throws. */
export function readClientHello(input: Buffer): HelloResult {
  if (input.length === 0) return { kind: 'incomplete' };
  if (input[0] !== HANDSHAKE_RECORD) return { kind: 'not_tls' };
  const message = collectMessage(input);
  if (message.kind !== 'message') return message;
  return readMessage(message.body, message.bytes);
}

/**
 * The hello that answers a HelloRetryRequest. Before it may come change_cipher_spec records and early data that the server
 * skips (RFC 8446 appendix D.4, section 4.2.10); `bytes` counts them in. Never throws.
 */
export function readSecondHello(input: Buffer): HelloResult {
  let at = 0;
  while (SKIPPED_RECORDS.has(input[at] ?? 0)) {
    if (at + RECORD_HEADER_BYTES > input.length) return { kind: 'incomplete' };
    at += RECORD_HEADER_BYTES + input.readUInt16BE(at + 3);
    if (at > MAX_HELLO_BYTES) return malformed('more than 65536 bytes before the second ClientHello');
  }
  const hello = at > input.length ? INCOMPLETE : readClientHello(input.subarray(at));
  return hello.kind === 'hello' ? { ...hello, bytes: at + hello.bytes } : hello;
}

/** The newest version of TLS that the hello offers, as rules see it; empty for none that has a name. */
export function newestVersion(versions: readonly number[]): string {
  for (const [version, name] of TLS_VERSIONS) if (versions.includes(version)) return name;
  return '';
}

type NoMessage = { kind: 'incomplete' } | { kind: 'malformed'; detail: string };
type Collected = NoMessage | { kind: 'message'; body: Buffer; bytes: number };

const INCOMPLETE = { kind: 'incomplete' } as const;

/**
 * Finds the end of the first handshake message over any number of records. Nothing is copied before the message is
 * whole: this runs anew for each segment that comes, and a slow sender must not make that dear (threat 37).
 */
function collectMessage(input: Buffer): Collected {
  const header = Buffer.alloc(HANDSHAKE_HEADER_BYTES);
  let have = 0;
  let need = Number.POSITIVE_INFINITY;
  let at = 0;
  for (;;) {
    const length = fragmentBytes(input, at);
    if (typeof length !== 'number') return length;
    const start = at + RECORD_HEADER_BYTES;
    const end = start + length;
    const here = Math.min(end, input.length);
    if (have < HANDSHAKE_HEADER_BYTES) {
      input.copy(header, have, start, here);
      const bytes = messageBytes(header, have + here - start);
      if (typeof bytes !== 'number') return bytes;
      need = bytes;
    }
    if (have + length > need) return malformed('bytes after the ClientHello in its record');
    if (here < end) return INCOMPLETE;
    have += length;
    if (have === need) return { kind: 'message', body: joinFragments(input, end, have), bytes: end };
    if (end >= MAX_HELLO_BYTES) return malformed('a ClientHello of more than 65536 bytes');
    at = end;
  }
}

/** Length of what the record at `at` carries. */
function fragmentBytes(input: Buffer, at: number): number | NoMessage {
  const type = input[at];
  if (type !== undefined && type !== HANDSHAKE_RECORD) return malformed('another record inside the ClientHello');
  const major = input[at + 1];
  if (major !== undefined && major !== MAJOR_VERSION) return malformed('a record version that is not 3.x');
  if (at + RECORD_HEADER_BYTES > input.length) return INCOMPLETE;
  const length = input.readUInt16BE(at + 3);
  if (length === 0) return malformed('an empty handshake record');
  return length <= MAX_RECORD_BYTES ? length : malformed('a record longer than 16384 bytes');
}

/** Length of the message with its header, of which `have` bytes are there; Infinity while it cannot be known. */
function messageBytes(header: Buffer, have: number): number | NoMessage {
  if (have > 0 && header[0] !== CLIENT_HELLO_MESSAGE) return malformed('a handshake message other than ClientHello');
  if (have < HANDSHAKE_HEADER_BYTES) return Number.POSITIVE_INFINITY;
  const bytes = HANDSHAKE_HEADER_BYTES + header.readUIntBE(1, 3);
  return bytes <= MAX_HELLO_BYTES ? bytes : malformed('a ClientHello of more than 65536 bytes');
}

/** The message without its header, out of the records that end at `end`; a view where there is only one. */
function joinFragments(input: Buffer, end: number, messageLength: number): Buffer {
  if (end === RECORD_HEADER_BYTES + messageLength) {
    return input.subarray(RECORD_HEADER_BYTES + HANDSHAKE_HEADER_BYTES, end);
  }
  const message = Buffer.allocUnsafe(messageLength);
  let copied = 0;
  for (let at = 0; at < end; ) {
    const start = at + RECORD_HEADER_BYTES;
    at = start + input.readUInt16BE(at + 3);
    copied += input.copy(message, copied, start, at);
  }
  return message.subarray(HANDSHAKE_HEADER_BYTES);
}

/** RFC 8446 section 4.1.2. */
function readMessage(body: Buffer, bytes: number): HelloResult {
  const reader = new ByteReader(body);
  const legacyVersion = reader.uint16();
  reader.skip(RANDOM_BYTES);
  const sessionIdBytes = reader.uint8();
  reader.skip(sessionIdBytes);
  const cipherSuitesBytes = reader.uint16();
  reader.skip(cipherSuitesBytes);
  const compressionBytes = reader.uint8();
  reader.skip(compressionBytes);
  if (reader.failed) return malformed('a ClientHello shorter than its own lengths');
  if (legacyVersion >> 8 !== MAJOR_VERSION) return malformed('a ClientHello version that is not 3.x');
  if (sessionIdBytes > MAX_SESSION_ID_BYTES) return malformed('a session id longer than 32 bytes');
  if (cipherSuitesBytes < 2 || cipherSuitesBytes % 2 !== 0)
    return malformed('a list of cipher suites of odd or no length');
  if (compressionBytes === 0) return malformed('no compression methods');
  // TLS 1.2 and before may leave the extensions out altogether (RFC 5246 section 7.4.1.2).
  const extensions = reader.atEnd ? body.subarray(body.length) : reader.vector16();
  if (reader.failed || !reader.atEnd) return malformed('extensions that do not fill the ClientHello');
  return readExtensions(extensions, legacyVersion, bytes);
}

function readExtensions(extensions: Buffer, legacyVersion: number, bytes: number): HelloResult {
  const reader = new ByteReader(extensions);
  const seen = new Set<number>();
  let sni: string | undefined;
  let alpn: readonly string[] = [];
  let versions: readonly number[] = [legacyVersion];
  while (!reader.atEnd) {
    const type = reader.uint16();
    const length = reader.uint16();
    const read = type === SERVER_NAME || type === ALPN || type === SUPPORTED_VERSIONS;
    const data = read ? reader.take(length) : NOTHING;
    if (!read) reader.skip(length);
    if (reader.failed) return malformed('an extension longer than the list');
    if (seen.has(type)) return malformed(`extension ${type} twice`);
    seen.add(type);
    if (type === SERVER_NAME) {
      sni = serverName(data);
      if (sni === undefined) return malformed('a server_name list that is not one host name');
    } else if (type === ALPN) {
      const names = protocolNames(data);
      if (names === undefined) return malformed('a malformed ALPN list');
      alpn = names;
    } else if (type === SUPPORTED_VERSIONS) {
      const offered = offeredVersions(data);
      if (offered === undefined) return malformed('a malformed supported_versions list');
      versions = offered;
    }
  }
  return { kind: 'hello', sni, alpn, versions, ech: seen.has(ENCRYPTED_CLIENT_HELLO), bytes };
}

/** RFC 6066 section 3, with exactly one name: a second one is a second reading. */
function serverName(data: Buffer): string | undefined {
  const reader = new ByteReader(data);
  const list = new ByteReader(reader.vector16());
  const type = list.uint8();
  const name = list.vector16();
  if (reader.failed || list.failed || !reader.atEnd || !list.atEnd) return undefined;
  return type === HOST_NAME && name.length > 0 ? name.toString('latin1') : undefined;
}

/** RFC 7301 section 3.1. */
function protocolNames(data: Buffer): readonly string[] | undefined {
  const reader = new ByteReader(data);
  const list = new ByteReader(reader.vector16());
  const names: string[] = [];
  while (!list.atEnd && !list.failed) {
    const name = list.vector8();
    if (name.length === 0) return undefined;
    names.push(name.toString('latin1'));
  }
  return reader.failed || list.failed || !reader.atEnd || names.length === 0 ? undefined : names;
}

/** RFC 8446 section 4.2.1. */
function offeredVersions(data: Buffer): readonly number[] | undefined {
  const reader = new ByteReader(data);
  const list = reader.vector8();
  if (reader.failed || !reader.atEnd || list.length === 0 || list.length % 2 !== 0) return undefined;
  const versions: number[] = [];
  for (let i = 0; i < list.length; i += 2) versions.push(list.readUInt16BE(i));
  return versions;
}

function malformed(detail: string): { kind: 'malformed'; detail: string } {
  return { kind: 'malformed', detail };
}
