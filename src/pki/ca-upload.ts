/**
 * A CA that comes over a connection of the admin socket, which the supervisor hands on unread: so the key is in no process
 * but the signer. What is sent is read here whole and wiped by its reader; nothing of it is kept (row 35).
 */
import type { Socket } from 'node:net';
import { CA_UPLOAD_PROTOCOL } from '../domain/admin-api.ts';
import { CaError } from './ca-error.ts';
import { MAX_MATERIAL_BYTES } from './ca-material.ts';

/** The CLI has the files before it asks. */
const UPLOAD_DEADLINE_MS = 10_000;
/** RFC 9110 section 15.2.2: what follows is no HTTP. */
const SWITCHED = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${CA_UPLOAD_PROTOCOL}\r\n\r\n`;

/** Says that it may be sent, and resolves to all of it. Rejects with CaError: too large, cut short, too slow. */
export async function receiveUpload(socket: Socket): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const bytes = Buffer.allocUnsafeSlow(MAX_MATERIAL_BYTES + 1);
  let length = 0;
  const fail = (words: string) => reject(new CaError('unfit', words));
  // The answer goes out after the other end has been closed.
  socket.allowHalfOpen = true;
  socket.on('data', (chunk: Buffer) => {
    length += chunk.copy(bytes, length);
    chunk.fill(0);
    if (length > MAX_MATERIAL_BYTES) fail(`what was sent is larger than ${MAX_MATERIAL_BYTES} bytes`);
  });
  socket.once('end', resolve);
  socket.once('close', () => fail('the connection was closed before all was sent'));
  const deadline = setTimeout(() => fail(`not all was sent in ${UPLOAD_DEADLINE_MS / 1000} s`), UPLOAD_DEADLINE_MS);
  socket.write(SWITCHED);
  try {
    await promise;
    return bytes.subarray(0, length);
  } catch (error) {
    bytes.fill(0);
    throw error;
  } finally {
    clearTimeout(deadline);
    socket.removeAllListeners('data');
  }
}
