/**
 * A worker's standard output: two connected sockets, of which the worker gets one and we read the other. Node would make
 * such a pair itself, but reads it into a new buffer each time; at full load those make the garbage collector stop this
 * process, and the core it is on, for 20 ms in every second. Here one buffer is used over and over.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net, { type Server, type Socket } from 'node:net';

/** As much as a Unix socket holds by default. */
const READ_BYTES = 208 * 1024;
const PROOF_BYTES = 16;

export interface OutputChannel {
  /** Gives what comes to `take`; pause() and resume() hold. Ends when all that have `theirs` are gone. */
  readonly ours: Socket;
  /** For the process's standard output; destroy it here once the process has it. */
  readonly theirs: Socket;
}

/** `take` must be done with the bytes when it returns. Rejects with the system's error where there are no descriptors. */
export async function openOutputChannel(take: (bytes: Buffer) => void): Promise<OutputChannel> {
  // A name of Linux's abstract namespace: no file is left behind, and none could be put in its place.
  const path = `\0outcall-output-${randomBytes(16).toString('hex')}`;
  const server = net.createServer();
  try {
    server.listen({ path });
    await once(server, 'listening');
    return await connectBoth(server, path, take);
  } finally {
    server.close();
  }
}

async function connectBoth(server: Server, path: string, take: (bytes: Buffer) => void): Promise<OutputChannel> {
  // The name can be seen by others on this machine for a moment, so the other end must show that it is ours.
  const proof = randomBytes(PROOF_BYTES);
  const proven = Promise.withResolvers<Socket>();
  const strangers = new Set<Socket>();
  server.on('connection', (socket) => {
    strangers.add(socket);
    socket.on('error', () => undefined);
    socket.once('data', (said) => proof.equals(said) && proven.resolve(socket));
  });
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const callback = (bytes: number): boolean => {
    take(buffer.subarray(0, bytes));
    return true;
  };
  const ours = net.connect({ path, onread: { buffer, callback } });
  await once(ours, 'connect');
  ours.on('error', () => undefined);
  ours.write(proof);
  const theirs = await proven.promise;
  theirs.pause();
  strangers.delete(theirs);
  for (const stranger of strangers) stranger.destroy();
  return { ours, theirs };
}
