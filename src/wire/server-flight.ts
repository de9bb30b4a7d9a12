/**
 * What a TLS server says first, read off the wire: its ServerHello, and in TLS 1.2 its Certificate, over whatever
 * records and segments they are split (threats 1, 34). Takes no part in the handshake and judges no certificate.
 * Strict on each length and on the order of messages: what a client could read in another way is malformed.
 */
import { ByteReader } from './byte-reader.ts';

export type ServerFlight =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'malformed'; readonly detail: string }
  /** The server gives up; `description` as in RFC 8446 section 6. */
  | { readonly kind: 'alert'; readonly description: number }
  /** A version before TLS 1.2, as 0x0301. */
  | { readonly kind: 'outdated'; readonly version: number }
  /** TLS 1.2: the chain as it was sent, DER, the server's own first; at least one. */
  | { readonly kind: 'certificate'; readonly chain: readonly [Buffer, ...Buffer[]] }
  /** The handshake shows no certificate. */
  | { readonly kind: 'hidden'; readonly why: Hidden };

/**
 * tls13: encrypted. tls13_retry: the same, and the client is to send a second ClientHello (RFC 8446 section 4.1.4).
 * resumed: a TLS 1.2 session goes on. anonymous: a TLS 1.2 cipher suite without a certificate.
 */
export type Hidden = 'tls13' | 'tls13_retry' | 'resumed' | 'anonymous';

/** All bytes of the flight with their record headers. OpenSSL takes a chain of 100 KiB at most. */
const MAX_FLIGHT_BYTES = 131_072;
/** RFC 8446 section 5.1: a plaintext record holds at most 2^14 bytes. */
const MAX_RECORD_BYTES = 16_384;
const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;
/** What the buffers begin with: a usual flight is 3 to 5 KiB. */
const FIRST_BUFFER_BYTES = 8_192;

// Record types (RFC 8446 section 5.1).
const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const ALERT_BYTES = 2;
const WARNING = 1;
const CLOSE_NOTIFY = 0;

// Handshake messages (RFC 5246 section 7.4).
const SERVER_HELLO = 2;
const NEW_SESSION_TICKET = 4;
const CERTIFICATE = 11;
/** ServerKeyExchange, CertificateRequest, ServerHelloDone: what follows where there is no Certificate. */
const WITHOUT_CERTIFICATE: ReadonlySet<number> = new Set([12, 13, 14]);

const TLS12 = 0x0303;
const TLS13 = 0x0304;
const MAJOR_VERSION = 3;
const RANDOM_BYTES = 32;
const MAX_SESSION_ID_BYTES = 32;
/** RFC 8446 section 4.1.3: the random of a HelloRetryRequest, the SHA-256 of its name. */
const RETRY_RANDOM = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');

// Extension types (IANA TLS ExtensionType Values).
/** RFC 6091 and RFC 7250: another kind of certificate than X.509, which is 0 in both. */
const CERTIFICATE_TYPES: ReadonlySet<number> = new Set([9, 20]);
const SUPPORTED_VERSIONS = 43;

const INCOMPLETE = { kind: 'incomplete' } as const;

/** Type and length of the first message, its version, its random. */
const RETRY_HEAD_BYTES = MESSAGE_HEADER_BYTES + 2 + RANDOM_BYTES;
/** Nobody needs more than a record for them; who takes longer is not believed to ask for nothing. */
const MAX_BEFORE_HEAD_BYTES = 1_024;

/** Whether a flight begins with a HelloRetryRequest; undefined while too little is there. What is not TLS asks for nothing. */
export function asksForSecondHello(input: Buffer): boolean | undefined {
  const head = Buffer.alloc(RETRY_HEAD_BYTES);
  let have = 0;
  for (let at = 0; at + RECORD_HEADER_BYTES <= input.length && have < head.length; ) {
    const type = input[at];
    if (type !== HANDSHAKE && type !== ALERT && type !== CHANGE_CIPHER_SPEC) return false;
    const start = at + RECORD_HEADER_BYTES;
    at = start + input.readUInt16BE(at + 3);
    if (type === HANDSHAKE) have += input.copy(head, have, start, Math.min(at, input.length));
  }
  if (have > 0 && head[0] !== SERVER_HELLO) return false;
  if (have === head.length) return head.subarray(MESSAGE_HEADER_BYTES + 2).equals(RETRY_RANDOM);
  return input.length > MAX_BEFORE_HEAD_BYTES ? true : undefined;
}

export class ServerFlightReader {
  readonly #input = new GrowingBuffer();
  readonly #handshake = new GrowingBuffer();
  #recordAt = 0;
  #messageAt = 0;
  #helloRead = false;
  #result: ServerFlight = INCOMPLETE;

  /** All that was pushed, for whom it was meant for. */
  get bytes(): Buffer {
    return this.#input.bytes;
  }

  /** Takes what came next. Once the answer is not `incomplete` it stays, whatever else is pushed. */
  push(chunk: Buffer): ServerFlight {
    this.#input.append(chunk);
    while (this.#result.kind === 'incomplete') {
      const record = readRecord(this.#input.bytes, this.#recordAt);
      if (record === undefined) break;
      if ('kind' in record) this.#result = record;
      else this.#take(record);
    }
    return this.#result;
  }

  #take({ type, body }: WireRecord): void {
    this.#recordAt += RECORD_HEADER_BYTES + body.length;
    const between = this.#messageAt === this.#handshake.bytes.length;
    if (this.#recordAt > MAX_FLIGHT_BYTES) {
      this.#result = malformed('more than 131072 bytes');
    } else if (type === HANDSHAKE) {
      this.#handshake.append(body);
      this.#readMessages();
    } else if (!between) {
      this.#result = malformed('another record inside a handshake message');
    } else if (type === ALERT) {
      this.#result = this.#readAlert(body);
    } else {
      this.#result = this.#helloRead ? hidden('resumed') : malformed('change_cipher_spec before the ServerHello');
    }
  }

  /** RFC 6066 section 3 has servers warn of a name that they do not know, and go on. */
  #readAlert(body: Buffer): ServerFlight {
    const [level, description] = body;
    if (body.length !== ALERT_BYTES || description === undefined) return malformed('an alert that is not two bytes');
    const goesOn = level === WARNING && description !== CLOSE_NOTIFY && !this.#helloRead;
    return goesOn ? INCOMPLETE : { kind: 'alert', description };
  }

  #readMessages(): void {
    while (this.#result.kind === 'incomplete') {
      const rest = this.#handshake.bytes.subarray(this.#messageAt);
      if (rest.length < MESSAGE_HEADER_BYTES) return;
      const end = MESSAGE_HEADER_BYTES + rest.readUIntBE(1, 3);
      if (end > MAX_FLIGHT_BYTES) this.#result = malformed('a handshake message of more than 131072 bytes');
      if (rest.length < end) return;
      this.#messageAt += end;
      const body = rest.subarray(MESSAGE_HEADER_BYTES, end);
      this.#result = this.#readMessage(rest[0] as number, body, rest.length === end);
    }
  }

  #readMessage(type: number, body: Buffer, endsRecord: boolean): ServerFlight {
    if (!this.#helloRead) {
      if (type !== SERVER_HELLO) return malformed('a handshake message before the ServerHello');
      this.#helloRead = true;
      const result = readServerHello(body);
      const isLast = result.kind !== 'hidden' || endsRecord;
      return isLast ? result : malformed('bytes after the ServerHello in its record');
    }
    if (type === CERTIFICATE) return readCertificates(body);
    if (type === NEW_SESSION_TICKET) return hidden('resumed');
    return WITHOUT_CERTIFICATE.has(type) ? hidden('anonymous') : malformed('an unexpected message after ServerHello');
  }
}

interface WireRecord {
  readonly type: number;
  readonly body: Buffer;
}

/** The whole record at `at`, undefined while it is not all there. */
function readRecord(input: Buffer, at: number): WireRecord | ServerFlight | undefined {
  const type = input[at];
  if (type === undefined) return undefined;
  if (type !== HANDSHAKE && type !== ALERT && type !== CHANGE_CIPHER_SPEC) return malformed('not a TLS handshake');
  const major = input[at + 1];
  if (major !== undefined && major !== MAJOR_VERSION) return malformed('a record version that is not 3.x');
  if (at + RECORD_HEADER_BYTES > input.length) return undefined;
  const length = input.readUInt16BE(at + 3);
  if (length === 0) return malformed('an empty record');
  if (length > MAX_RECORD_BYTES) return malformed('a record longer than 16384 bytes');
  const start = at + RECORD_HEADER_BYTES;
  return start + length > input.length ? undefined : { type, body: input.subarray(start, start + length) };
}

/** RFC 5246 section 7.4.1.3, RFC 8446 section 4.1.3. */
function readServerHello(body: Buffer): ServerFlight {
  const reader = new ByteReader(body);
  const legacyVersion = reader.uint16();
  const random = reader.take(RANDOM_BYTES);
  const sessionId = reader.vector8();
  reader.skip(2); // the cipher suite
  const compression = reader.uint8();
  const extensions = reader.atEnd && !reader.failed ? body.subarray(body.length) : reader.vector16();
  if (reader.failed || !reader.atEnd) return malformed('a ServerHello that is not as long as its own lengths');
  if (sessionId.length > MAX_SESSION_ID_BYTES) return malformed('a session id longer than 32 bytes');
  if (compression !== 0) return malformed('a compression method');
  const version = readExtensions(extensions, legacyVersion);
  if (typeof version !== 'number') return version;
  if (version === TLS13) return hidden(random.equals(RETRY_RANDOM) ? 'tls13_retry' : 'tls13');
  if (version === TLS12) return INCOMPLETE;
  return version >> 8 === MAJOR_VERSION && version < TLS12 ? { kind: 'outdated', version } : malformed('a version');
}

/** The version that was chosen. */
function readExtensions(extensions: Buffer, legacyVersion: number): number | ServerFlight {
  const reader = new ByteReader(extensions);
  const seen = new Set<number>();
  let version = legacyVersion;
  while (!reader.atEnd) {
    const type = reader.uint16();
    const data = reader.vector16();
    if (reader.failed) return malformed('an extension longer than the list');
    if (seen.has(type)) return malformed(`extension ${type} twice`);
    seen.add(type);
    if (CERTIFICATE_TYPES.has(type) && !data.equals(X509)) return malformed('a certificate that is not X.509');
    if (type !== SUPPORTED_VERSIONS) continue;
    // RFC 8446 section 4.2.1: only 1.3 and later are chosen by this extension.
    if (data.length !== 2 || data.readUInt16BE(0) !== TLS13 || legacyVersion !== TLS12) {
      return malformed('a supported_versions that is not TLS 1.3');
    }
    version = TLS13;
  }
  return version;
}

const X509 = Buffer.from([0]);

/** RFC 5246 section 7.4.2. */
function readCertificates(body: Buffer): ServerFlight {
  const reader = new ByteReader(body);
  const list = new ByteReader(reader.vector24());
  const chain: Buffer[] = [];
  while (!list.atEnd && !list.failed) {
    const certificate = list.vector24();
    if (certificate.length === 0) return malformed('an empty certificate');
    chain.push(certificate);
  }
  if (reader.failed || list.failed || !reader.atEnd) return malformed('a malformed list of certificates');
  const [leaf, ...issuers] = chain;
  return leaf === undefined ? hidden('anonymous') : { kind: 'certificate', chain: [leaf, ...issuers] };
}

function hidden(why: Hidden): ServerFlight {
  return { kind: 'hidden', why };
}

function malformed(detail: string): ServerFlight & { kind: 'malformed' } {
  return { kind: 'malformed', detail };
}

/** Bytes that come bit by bit, copied a constant number of times each: a slow sender must not make them dear (threat 37). */
class GrowingBuffer {
  #all = Buffer.alloc(0);
  #length = 0;

  get bytes(): Buffer {
    return this.#all.subarray(0, this.#length);
  }

  append(chunk: Buffer): void {
    const length = this.#length + chunk.length;
    if (length > this.#all.length) {
      const grown = Buffer.allocUnsafe(Math.max(FIRST_BUFFER_BYTES, 2 * length));
      this.#all.copy(grown, 0, 0, this.#length);
      this.#all = grown;
    }
    chunk.copy(this.#all, this.#length);
    this.#length = length;
  }
}
