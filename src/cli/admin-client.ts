/**
 * The CLI's side of the admin API: HTTP over the Unix socket, through undici. Turns every way in which the daemon may
 * be out of reach into words that say which socket and what to do.
 */
import { Agent, type Dispatcher, request, upgrade } from 'undici';
import type { ProblemDocument } from '../domain/admin-api.ts';
import { CliError, EXIT_FAILURE, EXIT_NOT_FOUND } from './io.ts';

/** The daemon answers from memory; only a reload of many rules takes seconds. */
const ANSWER_TIMEOUT_MS = 30_000;

export type AdminMethod = 'GET' | 'POST' | 'DELETE';

export interface AdminClient {
  /** The JSON value; where the answer is a certificate, its text. */
  get<T>(path: string): Promise<T>;
  post<T>(path: string): Promise<T>;
  /** The JSON value that `method` answers; `body`: JSON text. `timeoutMs`: how long the daemon may take for it. */
  change<T>(method: AdminMethod, path: string, body: string | undefined, timeoutMs: number): Promise<T>;
  /** Changes the protocol and sends `bytes` under it; resolves to the JSON document that comes back. */
  upload<T>(path: string, protocol: string, bytes: Buffer): Promise<T>;
  /** The answer as it came. `body`: JSON text. */
  raw(method: AdminMethod, path: string, body?: string): Promise<string>;
  /** Lines as they come, until the daemon ends or `signal` is aborted (then it ends without an error). */
  stream(path: string, signal: AbortSignal): AsyncIterable<string>;
}

/** The daemon refused; `document` says why, with all problems where there are any. */
export class AdminError extends CliError {
  readonly document: ProblemDocument;

  constructor(document: ProblemDocument) {
    super(document.status === 404 ? EXIT_NOT_FOUND : EXIT_FAILURE, document.detail);
    this.document = document;
  }
}

/** Methods reject with CliError: exit 1 when nobody answers, AdminError when the daemon refuses. */
export function adminClient(socketPath: string): AdminClient {
  const agent = new Agent({ connect: { socketPath }, headersTimeout: ANSWER_TIMEOUT_MS, bodyTimeout: 0 });
  const ask = (method: AdminMethod, path: string, { signal = null, body = null, timeoutMs }: Partial<Asked> = {}) =>
    send(agent, socketPath, { method, path, signal, body, timeoutMs });
  return {
    get: async <T>(path: string) => (await content(await ask('GET', path))) as T,
    post: async <T>(path: string) => (await content(await ask('POST', path))) as T,
    change: async <T>(method: AdminMethod, path: string, body: string | undefined, timeoutMs: number) =>
      (await content(await ask(method, path, { body: body ?? null, timeoutMs }))) as T,
    upload: <T>(path: string, protocol: string, bytes: Buffer) =>
      sendUpgraded<T>(agent, socketPath, { path, protocol, bytes }),
    raw: async (method, path, body = '') => (await ask(method, path, { body: body || null })).body.text(),
    stream: (path, signal) => lines(() => ask('GET', path, { signal }), signal),
  };
}

interface Asked {
  readonly method: AdminMethod;
  readonly path: string;
  readonly signal: AbortSignal | null;
  readonly body: string | null;
  readonly timeoutMs?: number | undefined;
}

async function send(dispatcher: Agent, socketPath: string, asked: Asked): Promise<Dispatcher.ResponseData> {
  const response = await request(`http://outcalld${asked.path}`, {
    method: asked.method,
    signal: asked.signal,
    body: asked.body,
    headers: asked.body === null ? {} : { 'content-type': 'application/json' },
    ...(asked.timeoutMs === undefined ? {} : { headersTimeout: asked.timeoutMs }),
    dispatcher,
  }).catch((error: unknown) => {
    throw unreachable(socketPath, error);
  });
  if (response.statusCode < 400) return response;
  throw new AdminError((await response.body.json()) as ProblemDocument);
}

async function sendUpgraded<T>(
  dispatcher: Agent,
  socketPath: string,
  { path, protocol, bytes }: { path: string; protocol: string; bytes: Buffer },
): Promise<T> {
  const { socket } = await upgrade(`http://outcalld${path}`, { dispatcher, method: 'POST', protocol }).catch(
    (error: unknown) => {
      throw unreachable(socketPath, error);
    },
  );
  socket.end(bytes);
  let text = '';
  for await (const chunk of socket.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
  if (text === '') throw new CliError(EXIT_FAILURE, 'outcalld closed the connection without an answer; see its log');
  const document = JSON.parse(text) as T | ProblemDocument;
  if (typeof document === 'object' && document !== null && 'detail' in document) throw new AdminError(document);
  return document as T;
}

/** JSON as its value, anything else (a certificate) as its text. */
async function content({ headers, body }: Dispatcher.ResponseData): Promise<unknown> {
  return headers['content-type'] === 'application/json' ? body.json() : body.text();
}

async function* lines(open: () => Promise<Dispatcher.ResponseData>, signal: AbortSignal): AsyncIterable<string> {
  try {
    let rest = '';
    const { body } = await open();
    body.setEncoding('utf8');
    for await (const chunk of body as AsyncIterable<string>) {
      const complete = (rest + chunk).split('\n');
      rest = complete.pop() ?? '';
      yield* complete;
    }
  } catch (error) {
    if (!signal.aborted)
      throw error instanceof CliError ? error : new CliError(EXIT_FAILURE, 'outcalld ended the stream');
  }
}

function unreachable(socketPath: string, error: unknown): CliError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const words = WORDS[code] ?? `cannot be asked on ${socketPath} (${code})`;
  return new CliError(EXIT_FAILURE, `outcalld ${words.replace('SOCKET', socketPath)}`, { cause: error });
}

const START_IT = 'start it with: outcalld --rules PATH; or name its socket with --admin-socket';
const WORDS: Readonly<Record<string, string>> = {
  ENOENT: `is not running: there is no socket SOCKET; ${START_IT}`,
  ECONNREFUSED: `is not running: nobody answers on SOCKET; ${START_IT}`,
  EACCES: 'cannot be asked: this user may not open SOCKET; run as its owner, or in its group',
};
