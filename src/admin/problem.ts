/**
 * Every answer of the admin API that is no success: a problem document (RFC 9457), sent where it was thrown for.
 */
import http from 'node:http';
import type { ProblemDocument, ProblemView } from '../domain/admin-api.ts';

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
export function sendProblem(response: http.ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const problem = error instanceof AdminProblem ? error : new AdminProblem(500, messageOf(error));
  const document: ProblemDocument = {
    type: 'about:blank', // RFC 9457 section 4.2.1: the status says it all
    title: http.STATUS_CODES[problem.status] ?? 'Error',
    status: problem.status,
    detail: problem.message,
    ...(problem.problems === undefined ? {} : { problems: problem.problems }),
  };
  response.writeHead(problem.status, { 'Content-Type': 'application/problem+json', ...problem.headers });
  response.end(`${JSON.stringify(document)}\n`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
