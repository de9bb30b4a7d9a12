/**
 * The operator's API: HTTP on a Unix socket, never on the agents' network (threats row 24). Answers are the types of
 * domain/admin-api.ts, errors are application/problem+json. Gives out no key, header or body.
 */
import http from 'node:http';
import { ADMIN_PATHS, type ProblemDocument, type ProblemView } from '../domain/admin-api.ts';
import { readAgents } from './agents.ts';
import type { AdminBackend } from './backend.ts';
import { streamRecords } from './record-stream.ts';
import { listenOnSocket } from './socket.ts';

/** RFC 8555 section 9.1. */
const PEM_TYPE = 'application/pem-certificate-chain';

type Answer = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
  query: URLSearchParams,
) => void | Promise<void>;
type Routes = Readonly<Record<string, Readonly<Record<string, Answer>>>>;

export interface AdminServer {
  /** Stops answering, ends record streams, removes the socket. */
  close(): Promise<void>;
}

/** Opens the API on `socketPath`. Rejects with SocketFailure. */
export async function openAdminServer(socketPath: string, backend: AdminBackend): Promise<AdminServer> {
  const routes = routesOf(backend);
  const server = http.createServer((request, response) => {
    answer(routes, request, response).catch((error: unknown) => {
      sendProblem(response, 500, error instanceof Error ? error.message : String(error));
    });
  });
  await listenOnSocket(server, socketPath);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function routesOf(backend: AdminBackend): Routes {
  return {
    [ADMIN_PATHS.health]: { GET: (_, response) => sendHealth(response, backend) },
    [ADMIN_PATHS.status]: { GET: async (_, response) => sendJson(response, 200, await backend.status()) },
    [ADMIN_PATHS.rules]: { GET: (_, response) => sendJson(response, 200, backend.rules()) },
    [ADMIN_PATHS.reload]: { POST: (_, response) => reload(response, backend) },
    [ADMIN_PATHS.grants]: { GET: async (_, response) => sendJson(response, 200, await backend.grants()) },
    [ADMIN_PATHS.agents]: {
      GET: (_, response) => sendJson(response, 200, { agents: backend.agents.entries }),
      POST: (request, response) => tellAgents(request, response, backend),
      DELETE: (_, response, query) => forgetAgent(response, backend, query.get('id') ?? ''),
    },
    [ADMIN_PATHS.ca]: { GET: async (_, response) => sendJson(response, 200, await backend.ca()) },
    [ADMIN_PATHS.caBundle]: { GET: (_, response) => sendBundle(response, backend) },
    [ADMIN_PATHS.records]: { GET: (_, response, query) => streamRecords(response, backend.records, query) },
  };
}

async function answer(routes: Routes, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  request.resume(); // only POST of agents has a body, and takes it before this turn is over
  const [path = '', query = ''] = (request.url ?? '').split('?', 2);
  const methods = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (methods === undefined) return sendProblem(response, 404, `there is no ${path} here`);
  const handler = Object.hasOwn(methods, request.method ?? '') ? methods[request.method ?? ''] : undefined;
  if (handler !== undefined) return handler(request, response, new URLSearchParams(query));
  response.setHeader('Allow', Object.keys(methods).join(', '));
  sendProblem(response, 405, `${path} is for ${Object.keys(methods).join(', ')}`);
}

function sendHealth(response: http.ServerResponse, backend: AdminBackend): void {
  const health = backend.health();
  sendJson(response, health.state === 'ready' || health.state === 'degraded' ? 200 : 503, health);
}

async function reload(response: http.ServerResponse, backend: AdminBackend): Promise<void> {
  const result = await backend.reload();
  if (result.ok) return sendJson(response, 200, result.answer);
  sendProblem(response, 422, `the rules have errors; generation ${result.generation} stays in force`, result.problems);
}

async function tellAgents(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  backend: AdminBackend,
): Promise<void> {
  const read = await readAgents(request);
  if (!read.ok) return sendProblem(response, 400, read.wrong);
  backend.agents.tell(read.agents);
  sendJson(response, 200, { agents: backend.agents.entries });
}

function forgetAgent(response: http.ServerResponse, backend: AdminBackend, id: string): void {
  if (backend.agents.forget(id)) sendJson(response, 200, { agents: backend.agents.entries });
  else sendProblem(response, 404, `no agent with the id ${JSON.stringify(id)} is known`);
}

function sendBundle(response: http.ServerResponse, backend: AdminBackend): void {
  const pem = backend.caPem();
  if (pem === undefined) sendProblem(response, 404, 'no CA is loaded; start outcalld with --ca-cert and --ca-key');
  else response.writeHead(200, { 'Content-Type': PEM_TYPE }).end(pem);
}

function sendJson(response: http.ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
}

function sendProblem(
  response: http.ServerResponse,
  status: number,
  detail: string,
  problems?: readonly ProblemView[],
): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const document: ProblemDocument = {
    type: 'about:blank', // RFC 9457 section 4.2.1: the status says it all
    title: http.STATUS_CODES[status] ?? 'Error',
    status,
    detail,
    ...(problems === undefined ? {} : { problems }),
  };
  response.writeHead(status, { 'Content-Type': 'application/problem+json' }).end(`${JSON.stringify(document)}\n`);
}
