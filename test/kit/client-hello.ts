/**
 * ClientHellos for tests: made by a real TLS stack, cut into records and segments in the ways a peer may.
 */
import { randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import tls from 'node:tls';

const RECORD_HEADER_BYTES = 5;

/** The first flight of a real client, exactly as it goes on the wire (one record). '' as servername: no SNI. */
export async function clientHello(options: {
  readonly servername: string;
  readonly alpn?: readonly string[];
  readonly maxVersion?: tls.SecureVersion;
}): Promise<Buffer> {
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  const wire = new Duplex({
    read: () => undefined,
    write(chunk: Buffer, _encoding, done) {
      resolve(chunk);
      done();
    },
  });
  const client = tls.connect({
    socket: wire,
    servername: options.servername,
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
    ...(options.maxVersion === undefined ? {} : { maxVersion: options.maxVersion }),
  });
  client.on('error', () => undefined);
  const hello = await promise;
  client.destroy();
  return hello;
}

/** The same handshake message over as many TLS records as it takes with `bytes` of payload each (RFC 8446 section 5.1). */
export function splitRecords(hello: Buffer, bytes: number): Buffer {
  const records: Buffer[] = [];
  for (let at = RECORD_HEADER_BYTES; at < hello.length; at += bytes) {
    const part = hello.subarray(at, at + bytes);
    const header = Buffer.from(hello.subarray(0, RECORD_HEADER_BYTES));
    header.writeUInt16BE(part.length, 3);
    records.push(header, part);
  }
  return Buffer.concat(records);
}

/**
 * The hello with one extension more: encrypted_client_hello filled with random bytes, as browsers send it to servers of
 * which they know no ECH configuration (RFC 9849 section 6.2). A handshake cannot be completed on it.
 */
export function withGreaseEch(hello: Buffer): Buffer {
  const kdfAndAead = [0, 1, 0, 1];
  const body = Buffer.concat([
    Buffer.from([0, ...kdfAndAead, randomBytes(1)[0] as number]),
    vector16(randomBytes(32)),
    vector16(randomBytes(176)),
  ]);
  const extra = Buffer.concat([Buffer.from([0xfe, 0x0d]), vector16(body)]);
  const extensionsAt = extensionsOffset(hello);
  const grown = Buffer.concat([hello, extra]);
  grown.writeUInt16BE(hello.readUInt16BE(extensionsAt) + extra.length, extensionsAt);
  grown.writeUInt16BE(hello.readUInt16BE(3) + extra.length, 3);
  grown.writeUIntBE(hello.readUIntBE(6, 3) + extra.length, 6, 3);
  return grown;
}

/** Where the length of the extensions stands: after version, random, session id, cipher suites and compression methods. */
function extensionsOffset(hello: Buffer): number {
  const sessionIdAt = RECORD_HEADER_BYTES + 4 + 2 + 32;
  const ciphersAt = sessionIdAt + 1 + hello.readUInt8(sessionIdAt);
  const compressionAt = ciphersAt + 2 + hello.readUInt16BE(ciphersAt);
  return compressionAt + 1 + hello.readUInt8(compressionAt);
}

function vector16(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

/** Cuts bytes into pieces of `bytes` each. */
export function pieces(all: Buffer, bytes: number): Buffer[] {
  const count = Math.ceil(all.length / bytes);
  return Array.from({ length: count }, (_, i) => all.subarray(i * bytes, (i + 1) * bytes));
}

/**
 * A stream over `under` for startTls: the first flight goes out as the pieces `cut` makes of it, one segment each;
 * everything after passes unchanged.
 */
export function cutFirstFlight(under: Duplex, cut: (flight: Buffer) => readonly Buffer[]): Duplex {
  let first = true;
  const over = new Duplex({
    read: () => void under.resume(),
    async write(chunk: Buffer, _encoding, done) {
      const parts = first ? cut(chunk) : [chunk];
      first = false;
      for (const part of parts) {
        await new Promise((resolve) => under.write(part, resolve));
        await new Promise((resolve) => setImmediate(resolve));
      }
      done();
    },
    final: (done) => void under.end(done),
    destroy: (error, done) => {
      under.destroy();
      done(error);
    },
  });
  under.on('data', (chunk) => {
    if (!over.push(chunk)) under.pause();
  });
  under.once('end', () => over.push(null));
  under.once('error', (error) => over.destroy(error));
  under.once('close', () => over.destroy());
  return over;
}
