/**
 * Every answer of the admin API that is no success: a problem document (RFC 9457), sent where it was thrown for.
 */
import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ProblemDocument, ProblemView } from '../domain/admin-api.ts';
import { http } from './http.ts';

const PROBLEM_TYPE = 'application/problem+json';
/** As node:http answers them itself. */
const UNREADABLE: Readonly<Record<string, number>> = { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 };

/** Thrown by whoever answers a request; `detail` is for the operator, and says what to do. */
export class AdminProblem extends Error {
  readonly status: number;
  readonly problems: readonly ProblemView[] | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    detail: string,
    more: { readonly problems?: readonly ProblemView[]; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail);
    this.status = status;
    this.problems = more.problems;
    this.headers = more.headers ?? {};
  }
}

/** Anything else than an AdminProblem is a fault of ours, and 500. */
export function sendProblem(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const problem = error instanceof AdminProblem ? error : new AdminProblem(500, messageOf(error));
  response.writeHead(problem.status, { 'Content-Type': PROBLEM_TYPE, ...problem.headers });
  response.end(textOf(problem));
}

/** For what is no HTTP that can be read: 'clientError' of http.Server. */
export function sendUnreadable(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = UNREADABLE[error.code ?? ''] ?? 400;
  const body = textOf(new AdminProblem(status, `the request cannot be read (${error.code ?? error.message})`));
  socket.end(
    `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function textOf({ status, message, problems }: AdminProblem): string {
  const document: ProblemDocument = {
    type: 'about:blank', // RFC 9457 section 4.2.1: the status says it all
    title: http.STATUS_CODES[status] ?? 'Error',
    status,
    detail: message,
    ...(problems === undefined ? {} : { problems }),
  };
  return `${JSON.stringify(document)}\n`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
