/**
 * The operator's ports on TCP: the admin API with a token, and the metrics alone without one. Both answer few clients and
 * small requests. Who can reach them is settled before: options, lock, address guard (threats row 24).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type net from 'node:net';
import { type Host, hostInUrl } from '../domain/hostname.ts';
import type { AdminBackend } from './backend.ts';
import { http } from './http.ts';
import { AdminProblem, sendProblem, sendUnreadable } from './problem.ts';
import { METRICS_TYPE } from './routes.ts';
import { closeServer, type Guard, serve } from './server.ts';
import type { AdminToken } from './token.ts';

const MAX_CONNECTIONS = 64;
const HEADERS_TIMEOUT_MS = 10_000;
const MAX_HEADER_BYTES = 16_384;
/** As Prometheus asks for unless told otherwise. */
const METRICS_PATH = '/metrics';

export interface ListenAddress {
  /** An IP address. */
  readonly host: Host;
  /** 0 for one that is free. */
  readonly port: number;
}

export interface TcpServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * The admin API for whoever has the token and names this address: a page in a browser, sent here by a name of its own
 * (DNS rebinding), names another. Rejects with the error of listen(2).
 */
export async function openAdminTcp(
  listen: ListenAddress,
  token: AdminToken,
  backend: AdminBackend,
): Promise<TcpServer> {
  const hosts = new Set<string>();
  const guard: Guard = ({ headers }) => {
    if (!hosts.has((headers.host ?? '').toLowerCase())) {
      throw new AdminProblem(421, `ask for ${[...hosts].join(' or ')}`);
    }
    if (token.isIn(headers.authorization)) return;
    throw new AdminProblem(401, 'send Authorization: Bearer with the text of --admin-token-file', {
      headers: { 'WWW-Authenticate': 'Bearer realm="outcalld"' },
    });
  };
  const server = await open(listen, (request, response) => serve(backend, request, response, guard));
  for (const name of [hostInUrl(listen.host), 'localhost']) hosts.add(`${name}:${server.port}`);
  return server;
}

/** GET /metrics and nothing else. Rejects with the error of listen(2). */
export function openMetricsTcp(listen: ListenAddress, backend: Pick<AdminBackend, 'metrics'>): Promise<TcpServer> {
  // Scrapes at the same moment share one answer, so that asking often costs little.
  let underWay: Promise<string> | undefined;
  const metrics = () => {
    underWay ??= backend.metrics().finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
  return open(listen, async (request, response) => {
    request.resume();
    try {
      const [path = ''] = (request.url ?? '').split('?', 1);
      if (path !== METRICS_PATH) throw new AdminProblem(404, `there is ${METRICS_PATH} here and nothing else`);
      if (request.method !== 'GET') {
        throw new AdminProblem(405, `${METRICS_PATH} is for GET`, { headers: { Allow: 'GET' } });
      }
      const text = await metrics();
      response.writeHead(200, { 'Content-Type': METRICS_TYPE }).end(text);
    } catch (error) {
      sendProblem(response, error);
    }
  });
}

async function open(
  { host, port }: ListenAddress,
  answer: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<TcpServer> {
  const server = http.createServer(
    // The guard tells who sends no Host, as it tells who sends a wrong one.
    { headersTimeout: HEADERS_TIMEOUT_MS, maxHeaderSize: MAX_HEADER_BYTES, requireHostHeader: false },
    (request, response) => void answer(request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.on('clientError', sendUnreadable);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host, port, exclusive: true }, resolve);
  await promise;
  server.off('error', reject);
  return { port: (server.address() as net.AddressInfo).port, close: () => closeServer(server) };
}
