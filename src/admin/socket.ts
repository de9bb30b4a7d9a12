/**
 * The Unix socket of the admin API on disk. Who may open it is decided by its mode and folder alone, so both are right
 * before the first connection can come (threats row 24: not on any network). Speaks no HTTP.
 */
import { chmodSync, mkdirSync } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';

/** The operator's user and group. */
const SOCKET_MODE = 0o660;
const FOLDER_MODE = 0o750;
/** All that socket(7) would give to others. */
const SOCKET_UMASK = 0o117;

/** The socket cannot be opened; the message is for the operator. */
class SocketFailure extends Error {}

/**
 * Lets `server` listen on `socketPath` with mode 0660; makes its folder (0750) if absent; removes a socket that a dead
 * daemon left behind. Rejects with SocketFailure when another daemon answers there or the place cannot be used.
 */
export async function listenOnSocket(server: net.Server, socketPath: string): Promise<void> {
  try {
    mkdirSync(path.dirname(socketPath), { recursive: true, mode: FOLDER_MODE });
    await removeStale(socketPath);
    await bind(server, socketPath);
    chmodSync(socketPath, SOCKET_MODE);
  } catch (error) {
    if (error instanceof SocketFailure) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new SocketFailure(
      `cannot open the admin socket ${socketPath}: ${code ?? message}; write --admin-socket with a path that this user may create`,
    );
  }
}

async function removeStale(socketPath: string): Promise<void> {
  const found = await lstat(socketPath).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket())
    throw new SocketFailure(
      `cannot open the admin socket ${socketPath}: there is a file that is no socket; remove it, or write another --admin-socket`,
    );
  if (await somebodyAnswers(socketPath))
    throw new SocketFailure(
      `another outcalld already answers on ${socketPath}; stop it, or write another --admin-socket`,
    );
  await unlink(socketPath);
}

/** Only a refused connection proves that nobody is there: a socket that we may not open is somebody else's. */
async function somebodyAnswers(socketPath: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = net.connect(socketPath);
  probe.once('connect', () => resolve(true));
  probe.once('error', (error: NodeJS.ErrnoException) =>
    resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
  );
  const answers = await promise;
  probe.destroy();
  return answers;
}

async function bind(server: net.Server, socketPath: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  // bind(2) happens within listen(); the mask makes the socket closed to others from its first moment.
  const before = process.umask(SOCKET_UMASK);
  server.listen(socketPath, resolve);
  process.umask(before);
  await promise;
  server.off('error', reject);
}
