/**
 * The usual scene of a flow test: a TLS origin `api.test`, a plain one `plain.test`, a resolver that knows both and
 * `other.test`, and a proxy whose rules allow `api.test` and `plain.test` and nothing else.
 */
import { openHttps } from '../kit/agent.ts';
import type { AgentSocket, RequestText } from '../kit/agent-socket.ts';
import type { Reply } from '../kit/http1-reply.ts';
import { type Origin, type OriginOptions, startOrigin } from '../kit/origin.ts';
import { type TestCa, testCa } from '../kit/pki.ts';
import { type ProxyTestOptions, startProxy, type TestProxy } from '../kit/proxy.ts';
import { allowHosts } from '../kit/rules.ts';

/** SC-002: everything of S006 holds the same with and without a CA. */
export const WITH_AND_WITHOUT_CA = [
  { title: 'without a CA', ca: false },
  { title: 'with a CA loaded', ca: true },
] as const;

const LOOPBACK_ZONE = { 'api.test': '127.0.0.1', 'plain.test': '127.0.0.1', 'other.test': '127.0.0.1' };

export interface Scene extends AsyncDisposable {
  readonly proxy: TestProxy;
  /** Speaks TLS as api.test, other.test, localhost and 127.0.0.1. */
  readonly origin: Origin;
  readonly plain: Origin;
  readonly originCa: TestCa;
  /** `api.test:<port of origin>`. */
  readonly api: string;
  /** `other.test:<port of origin>`: resolvable, reachable, and not allowed. */
  readonly other: string;
  /** `http://plain.test:<port of plain>`. */
  readonly plainUrl: string;
  /** An HTTP/1.1 client of `api` that trusts the origin's own CA: through a tunnel, never intercepted. */
  openApi(options?: { readonly localAddress?: string; readonly servername?: string }): Promise<AgentSocket>;
}

export async function startScene(
  options: Partial<ProxyTestOptions> & { readonly origin?: Omit<OriginOptions, 'tls'> } = {},
): Promise<Scene> {
  const stack = new AsyncDisposableStack();
  const originCa = testCa();
  const tls = { ca: originCa, names: ['api.test', 'other.test', 'localhost', '127.0.0.1'] };
  const origin = stack.use(await startOrigin({ ...options.origin, tls }));
  const plain = stack.use(await startOrigin(options.origin));
  const proxy = stack.use(
    await startProxy({
      rules: allowHosts('api.test', 'plain.test'),
      trust: [originCa.certPem],
      ...options,
      zone: { ...LOOPBACK_ZONE, ...options.zone },
    }),
  );
  const api = `api.test:${origin.port}`;
  return {
    proxy,
    origin,
    plain,
    originCa,
    api,
    other: `other.test:${origin.port}`,
    plainUrl: `http://plain.test:${plain.port}`,
    openApi: (extra = {}) => openHttps(proxy, api, { ca: originCa.certPem, ...extra }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** A request in absolute form to plain.test. */
export function askPlain(
  scene: Pick<Scene, 'plainUrl'>,
  agent: AgentSocket,
  path: string,
  { headers = [], ...rest }: Omit<RequestText, 'target'> = {},
): Promise<Reply> {
  const host = scene.plainUrl.slice('http://'.length);
  return agent.request({ ...rest, target: scene.plainUrl + path, headers: [`Host: ${host}`, ...headers] });
}

/** What must hold where a request was refused before anything went out for it. */
export function untouched(scene: Pick<Scene, 'proxy' | 'origin' | 'plain'>): {
  readonly connections: number;
  readonly queries: number;
} {
  return {
    connections: scene.origin.connections + scene.plain.connections,
    queries: scene.proxy.resolver.queries.count,
  };
}

export const NOTHING_WENT_OUT = { connections: 0, queries: 0 };
