/**
 * The pages that the explicit proxy answers by itself: for agents, of agents, and never of anything that is the
 * operator's (threat 24). Asked for in origin-form, or in absolute form under the very address and port that the agent
 * connected to, as clients with HTTP_PROXY set do; under any other name the URL is an origin's, and the rules decide.
 */
import { X509Certificate } from 'node:crypto';
import { fieldValue } from '../domain/facts.ts';
import { canonicalHost, hostInUrl } from '../domain/hostname.ts';
import { acceptedForm } from '../wire/accept.ts';
import type { RequestHead } from '../wire/http1-head.ts';
import { accessText } from './access-text.ts';
import type { Flow } from './flow.ts';

type Page = (flow: Flow, head: RequestHead) => Buffer;

const PAGES: ReadonlyMap<string, Page> = new Map<string, Page>([
  ['/outcall-health', () => page('text/plain', 'ok\n')],
  ['/policy', policyPage],
  ['/ca.crt', caPage],
]);
/** RFC 8555 section 9.1; RFC 2585 section 3. */
const PEM_TYPE = 'application/pem-certificate-chain';
const DER_TYPE = 'application/pkix-cert';
const ABSOLUTE = 'http://';
/** How a socket that serves IPv4 and IPv6 names an IPv4 address. */
const MAPPED = /^::ffff:/;

/** The answer, which ends the connection; undefined where the request is for no page of ours. */
export function ownPage(flow: Flow, head: RequestHead): Buffer | undefined {
  if (head.method !== 'GET') return undefined;
  const { target } = head;
  const path = target.startsWith('/') ? 0 : target.indexOf('/', ABSOLUTE.length);
  const answer = PAGES.get(target.slice(path));
  if (answer === undefined || (path > 0 && target.slice(0, path) !== ownAddress(flow))) return undefined;
  return answer(flow, head);
}

/** What this very agent may use: JSON, or text for who names that. */
function policyPage(flow: Flow, head: RequestHead): Buffer {
  const access = flow.deps.rules().accessOf(flow.agent);
  return acceptedForm(fieldValue(head.headers, 'accept')) === 'text'
    ? page('text/plain; charset=utf-8', accessText(access))
    : page('application/json', `${JSON.stringify(access)}\n`);
}

/** What to trust here, which is public: PEM of all, or DER of the CA that signs where the client names that alone. */
function caPage({ deps }: Flow, { headers }: RequestHead): Buffer {
  const bundle = deps.caBundle();
  if (bundle === undefined) return page('text/plain', 'There is no CA here: nothing is decrypted.\n', '404 Not Found');
  return fieldValue(headers, 'accept') === DER_TYPE
    ? page(DER_TYPE, new X509Certificate(bundle).raw)
    : page(PEM_TYPE, bundle);
}

function ownAddress({ raw }: Flow): string | undefined {
  const address = canonicalHost((raw.localAddress ?? '').replace(MAPPED, ''));
  return address === undefined ? undefined : `${ABSOLUTE}${hostInUrl(address)}:${raw.localPort}`;
}

function page(contentType: string, content: string | Buffer, status = '200 OK'): Buffer {
  const body = Buffer.from(content);
  const head = `HTTP/1.1 ${status}\r\nContent-Type: ${contentType}\r\nContent-Length: ${body.length}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}
