/**
 * What real TLS servers send, byte for byte, up to the end of the client's handshake; and the records of it cut anew.
 */
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import type { KeyPair } from './pki.ts';

const HANDSHAKE = 22;
const RECORD_HEADER_BYTES = 5;

export interface FlightOptions {
  readonly server: KeyPair & tls.TlsOptions;
  readonly client: tls.ConnectionOptions;
}

/** All that the server sent until the client had what it needs. A client that gives up is no error. */
export async function serverBytes({ server, client }: FlightOptions): Promise<Buffer> {
  const { certPem, keyPem, ...options } = server;
  const listener = tls.createServer({ cert: certPem, key: keyPem, ...options });
  listener.on('tlsClientError', () => undefined);
  listener.on('secureConnection', (socket) => socket.on('error', () => undefined));
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const raw = net.connect((listener.address() as AddressInfo).port, '127.0.0.1');
  const chunks: Buffer[] = [];
  // Before the TLS socket takes the handle over, so that every byte is seen: TLS runs over the stream then.
  const wire = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => void raw.write(chunk, () => done()),
  });
  raw.on('error', () => undefined);
  raw.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    wire.push(chunk);
  });
  const secure = tls.connect({ ...client, socket: wire });
  const over = Promise.withResolvers<void>();
  secure.once('secureConnect', over.resolve);
  secure.once('error', () => over.resolve());
  await over.promise;
  secure.destroy();
  raw.destroy();
  listener.close();
  return Buffer.concat(chunks);
}

/** The handshake records at the start with `bytes` of payload each; what follows them is left as it is. */
export function recutHandshake(flight: Buffer, bytes: number): Buffer {
  const payloads: Buffer[] = [];
  let at = 0;
  while (flight[at] === HANDSHAKE) {
    const end = at + RECORD_HEADER_BYTES + flight.readUInt16BE(at + 3);
    payloads.push(flight.subarray(at + RECORD_HEADER_BYTES, end));
    at = end;
  }
  const handshake = Buffer.concat(payloads);
  const records: Buffer[] = [];
  for (let from = 0; from < handshake.length; from += bytes) {
    const part = handshake.subarray(from, from + bytes);
    records.push(Buffer.from([HANDSHAKE, 3, 3, part.length >> 8, part.length & 0xff]), part);
  }
  return Buffer.concat([...records, flight.subarray(at)]);
}
