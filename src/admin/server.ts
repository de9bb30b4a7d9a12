/**
 * The operator's API: HTTP on a Unix socket, never on the agents' network (threats row 24). What it serves is in routes.ts;
 * here a request finds its route. Gives out no key, header or body.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AdminBackend } from './backend.ts';
import { serveUploads } from './ca-upload.ts';
import { http } from './http.ts';
import { AdminProblem, sendProblem, sendUnreadable } from './problem.ts';
import { checkQuery, readBody } from './request.ts';
import type { Route } from './route.ts';
import { ROUTES } from './routes.ts';
import { listenOnSocket } from './socket.ts';

export interface AdminServer {
  /** Stops answering, ends record streams, removes the socket. */
  close(): Promise<void>;
}

/** Throws AdminProblem where the request may not be answered. */
export type Guard = (request: IncomingMessage) => void;

/** Opens the API on `socketPath`. Rejects with SocketFailure. */
export async function openAdminServer(socketPath: string, backend: AdminBackend): Promise<AdminServer> {
  const server = http.createServer((request, response) => void serve(backend, request, response));
  serveUploads(server, backend);
  server.on('clientError', sendUnreadable);
  await listenOnSocket(server, socketPath);
  return { close: () => closeServer(server) };
}

/** Answers one request. Never rejects. */
export async function serve(
  backend: AdminBackend,
  request: IncomingMessage,
  response: ServerResponse,
  guard?: Guard,
): Promise<void> {
  try {
    guard?.(request);
    const [path = '', text = ''] = (request.url ?? '').split('?', 2);
    const route = routeOf(request.method ?? '', path);
    const query = new URLSearchParams(text);
    checkQuery(query, route.query ?? []);
    const body = route.body === undefined ? '' : await readBody(request, route.body);
    await route.handle({ backend, query, body, response });
  } catch (error) {
    sendProblem(response, error);
  } finally {
    request.resume();
  }
}

/** Throws 404 and 405. */
function routeOf(method: string, path: string): Route {
  const there = ROUTES.filter((route) => route.path === path);
  const route = there.find((each) => each.method === method);
  if (route !== undefined) return route;
  if (there.length === 0) throw new AdminProblem(404, `there is no ${path} here`);
  const methods = there.map((each) => each.method).join(', ');
  throw new AdminProblem(405, `${path} is for ${methods}`, { headers: { Allow: methods } });
}

export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
