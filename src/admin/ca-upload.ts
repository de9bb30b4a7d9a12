/**
 * The connection over which a CA comes with its key: handed on after its head, before a byte of the key is sent, so that no
 * process has it but the signer (threats row 35). Served on the Unix socket; a server without this answers 426.
 */
import type http from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ADMIN_PATHS, CA_UPLOAD_PROTOCOL, type ProblemDocument } from '../domain/admin-api.ts';
import type { AdminBackend, CaOutcome } from './backend.ts';

export function serveUploads(server: http.Server, backend: AdminBackend): void {
  server.on('upgrade', (request: http.IncomingMessage, connection: Duplex, head: Buffer) => {
    connection.on('error', () => connection.destroy());
    const refuse = (status: number, detail: string) => connection.end(refusal(status, detail));
    const protocol = request.headers.upgrade?.toLowerCase();
    const take = backend.uploadCa();
    if (request.method !== 'POST' || request.url !== ADMIN_PATHS.caUpload || protocol !== CA_UPLOAD_PROTOCOL) {
      refuse(400, `the only upgrade here is POST ${ADMIN_PATHS.caUpload} to ${CA_UPLOAD_PROTOCOL}`);
    } else if (head.length > 0 || !(connection instanceof Socket)) {
      head.fill(0);
      refuse(400, 'something was sent before the answer 101: if it was a key, use that key no more');
    } else if (take === undefined) {
      refuse(409, 'outcalld has no folder for a CA; start it with --ca-dir');
    } else {
      void take(connection, documentOf);
    }
  });
}

function documentOf(outcome: CaOutcome): string {
  return `${JSON.stringify(outcome.ok ? outcome.answer : problem(outcome.status, outcome.detail))}\n`;
}

function refusal(status: number, detail: string): string {
  const body = `${JSON.stringify(problem(status, detail))}\n`;
  const fields = `Content-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close`;
  return `HTTP/1.1 ${status} Refused\r\n${fields}\r\n\r\n${body}`;
}

function problem(status: number, detail: string): ProblemDocument {
  return { type: 'about:blank', title: 'The CA was not changed', status, detail };
}
