/**
 * The usual scene of interception over HTTP/1.1: a TLS origin that speaks HTTP/1.1 as api.test, other.test, localhost and
 * 127.0.0.1, and a proxy with a CA whose one rule intercepts api.test. Clients trust the proxy's CA alone, so that a
 * client that gets an answer has been intercepted.
 */
import { type AgentOptions, openHttps, type TlsOptions } from '../kit/agent.ts';
import type { AgentSocket, RequestText } from '../kit/agent-socket.ts';
import { fieldOf, type Reply } from '../kit/http1-reply.ts';
import { type Origin, type OriginOptions, type OriginTls, startOrigin } from '../kit/origin.ts';
import { type TestCa, testCa } from '../kit/pki.ts';
import { type ProxyTestOptions, startProxy, type TestProxy } from '../kit/proxy.ts';
import { type RawOrigin, type Script, startRawOrigin } from '../kit/raw-origin.ts';
import { rulesFile } from '../kit/rules.ts';

const NAMES = ['api.test', 'other.test', 'localhost', '127.0.0.1'];
const ZONE = { 'api.test': '127.0.0.1', 'other.test': '127.0.0.1', localhost: '127.0.0.1' };

export type ClientOptions = Partial<TlsOptions> & AgentOptions;

interface Parts<O> extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly origin: O;
  readonly originCa: TestCa;
  /** `api.test:<port of origin>`. */
  readonly api: string;
  /** An HTTP/1.1 client inside a tunnel to `target` (default: `api`) that trusts the proxy's CA alone. */
  open(options?: ClientOptions & { readonly target?: string }): Promise<AgentSocket>;
}

export type InterceptScene = Parts<Origin>;
export type RawInterceptScene = Parts<RawOrigin>;

/** An allow rule with mode intercept, in YAML's flow style; `egress` is what else stands in its egress. */
export function interceptRule(id: string, condition: string, egress = ''): string {
  return `{ id: ${id}, condition: '${condition}', action: allow, egress: { mode: intercept${egress} } }`;
}

export function blockRule(id: string, condition: string): string {
  return `{ id: ${id}, condition: '${condition}', action: block }`;
}

/** Everything to api.test, by interception. */
export const INTERCEPT_API = rulesFile(interceptRule('api', 'http.host == "api.test"'));

export type SceneOptions = Partial<ProxyTestOptions> & {
  readonly origin?: Omit<OriginOptions, 'tls'>;
  readonly tls?: Partial<OriginTls>;
};

export async function startInterceptScene({ origin, tls, ...proxy }: SceneOptions = {}): Promise<InterceptScene> {
  const originCa = tls?.ca ?? testCa();
  return withProxy(await startOrigin({ ...origin, tls: { names: NAMES, ...tls, ca: originCa } }), originCa, proxy);
}

/** The same before an origin that says the bytes of its script, inside verified TLS. */
export async function startRawInterceptScene(
  script: Script,
  options: Partial<ProxyTestOptions> = {},
): Promise<RawInterceptScene> {
  const originCa = testCa();
  return withProxy(await startRawOrigin({ tls: { ca: originCa, names: NAMES }, script }), originCa, options);
}

async function withProxy<O extends AsyncDisposable & { readonly port: number }>(
  origin: O,
  originCa: TestCa,
  options: Partial<ProxyTestOptions>,
): Promise<Parts<O>> {
  const stack = new AsyncDisposableStack();
  stack.use(origin);
  const proxy = stack.use(
    await startProxy({
      rules: INTERCEPT_API,
      ca: true,
      trust: [originCa.certPem],
      ...options,
      zone: { ...ZONE, ...options.zone },
    }),
  );
  const api = `api.test:${origin.port}`;
  return {
    proxy,
    origin,
    originCa,
    api,
    open: ({ target = api, ...client } = {}) => openHttps(proxy, target, { ca: proxy.caPem, ...client }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** One request whose Host is api.test; fields and body as given. */
export function ask(
  agent: AgentSocket,
  target: string,
  { headers = [], ...rest }: Omit<RequestText, 'target'> = {},
): Promise<Reply> {
  return agent.request({ ...rest, target, headers: ['Host: api.test', ...headers] });
}

/** Status and the reason that a refusal names: of the block, or of the failure. */
export function refusalOf(reply: Reply): readonly [number, string | undefined] {
  const named = ['x-outcall-block-reason', 'x-outcall-failure-reason'].map((name) => fieldOf(reply.headers, name));
  return [reply.status, named.find((value) => value !== undefined)];
}
