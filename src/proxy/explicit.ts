/**
 * The explicit proxy's door (S006): CONNECT, absolute-form HTTP, and pages of our own.
 */
import type { RequestHead } from '../wire/http1-head.ts';
import { serveConnect } from './connect.ts';
import type { Flow } from './flow.ts';
import { H1Connection, type SpecialRequest } from './h1-connection.ts';
import { ownPage } from './own-pages.ts';
import { absoluteSite } from './site.ts';

/** Serves a fresh connection to the proxy port. */
export function serveExplicit(flow: Flow): void {
  const connection = new H1Connection(flow, flow.raw, absoluteSite(flow), () => true);
  connection.special = special;
  connection.start(undefined);

  function special(head: RequestHead): SpecialRequest | undefined {
    if (head.method === 'CONNECT') return { kind: 'takeover', serve: (rest) => serveConnect(flow, head, rest) };
    const bytes = ownPage(flow, head);
    return bytes === undefined ? undefined : { kind: 'answer', bytes };
  }
}
