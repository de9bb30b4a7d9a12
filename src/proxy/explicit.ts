/**
 * The explicit proxy's door (S006): CONNECT, absolute-form HTTP, and the health check.
 */
import type { RequestHead } from '../wire/http1-head.ts';
import { serveConnect } from './connect.ts';
import type { Flow } from './flow.ts';
import { H1Connection, type SpecialRequest } from './h1-connection.ts';
import { absoluteSite } from './site.ts';

const HEALTH_PATH = '/outcall-health';
const HEALTH_BODY = 'ok\n';

/** Serves a fresh connection to the proxy port. */
export function serveExplicit(flow: Flow): void {
  const connection = new H1Connection(flow, flow.raw, absoluteSite(flow), () => true);
  connection.special = special;
  connection.start(undefined);

  function special(head: RequestHead): SpecialRequest | undefined {
    if (head.method === 'CONNECT') return { kind: 'takeover', serve: (rest) => serveConnect(flow, head, rest) };
    if (head.target === HEALTH_PATH && head.method === 'GET') return { kind: 'answer', bytes: healthAnswer() };
    return undefined;
  }
}

function healthAnswer(): Buffer {
  return Buffer.from(
    `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${HEALTH_BODY.length}\r\nConnection: close\r\n\r\n${HEALTH_BODY}`,
  );
}
