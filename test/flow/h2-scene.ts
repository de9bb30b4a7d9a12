/**
 * The usual scene of interception over HTTP/2: an origin that speaks h2 as api.test, and a proxy with a CA whose one rule
 * intercepts api.test. Clients trust the proxy's CA alone, so that a client that gets an answer has been intercepted.
 */
import type http2 from 'node:http2';
import { type AgentOptions, H2Agent, type H2Reply, openTunnel, startTls } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { type Fields, type Frame, H2Wire, headersFrame } from '../kit/h2-wire.ts';
import { type Origin, type OriginOptions, type OriginTls, startOrigin } from '../kit/origin.ts';
import { type TestCa, testCa } from '../kit/pki.ts';
import { type ProxyTestOptions, startProxy, type TestProxy } from '../kit/proxy.ts';
import { type RawOrigin, type Script, startRawOrigin } from '../kit/raw-origin.ts';
import { INTERCEPT_API } from './intercept-scene.ts';

const NAMES = ['api.test', 'other.test'];
const ZONE = { 'api.test': '127.0.0.1', 'other.test': '127.0.0.1' };

export interface H2Scene<O> extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly origin: O;
  readonly originCa: TestCa;
  /** `api.test:<port of origin>`. */
  readonly api: string;
  /** An HTTP/2 client of api.test, through the proxy. */
  open(options?: AgentOptions & { readonly settings?: http2.Settings }): Promise<H2Agent>;
  /** The same, frame by frame. */
  openWire(options?: AgentOptions): Promise<H2Wire>;
}

export type H2SceneOptions = Partial<ProxyTestOptions> & {
  readonly origin?: Omit<OriginOptions, 'tls'>;
  readonly tls?: Partial<OriginTls>;
};

export async function startH2Scene({ origin, tls, ...proxy }: H2SceneOptions = {}): Promise<H2Scene<Origin>> {
  const originCa = tls?.ca ?? testCa();
  const secure = { names: NAMES, alpn: ['h2'] as const, ...tls, ca: originCa };
  return withProxy(await startOrigin({ ...origin, tls: secure }), originCa, proxy);
}

/** Before an origin that negotiates h2 and then leaves every byte to the test, or to its script. */
export async function startRawH2Scene(
  options: Partial<ProxyTestOptions> = {},
  script?: Script,
): Promise<H2Scene<RawOrigin>> {
  const originCa = testCa();
  const origin = await startRawOrigin({ tls: { ca: originCa, names: NAMES, alpn: ['h2'] }, ...(script && { script }) });
  return withProxy(origin, originCa, options);
}

export async function withProxy<O extends AsyncDisposable & { readonly port: number }>(
  origin: O,
  originCa: TestCa,
  options: Partial<ProxyTestOptions>,
): Promise<H2Scene<O>> {
  const stack = new AsyncDisposableStack();
  stack.use(origin);
  const defaults = { rules: INTERCEPT_API, ca: true, trust: [originCa.certPem] };
  const proxy = stack.use(await startProxy({ ...defaults, ...options, zone: { ...ZONE, ...options.zone } }));
  const api = `api.test:${origin.port}`;
  const openSecure = async (agent: AgentOptions) =>
    startTls(await openTunnel(proxy, api, agent), { ca: proxy.caPem, servername: 'api.test', alpn: ['h2'] });
  return {
    proxy,
    origin,
    originCa,
    api,
    open: async ({ settings, ...agent } = {}) => new H2Agent(await openSecure(agent), api, settings),
    openWire: async (agent = {}) => new H2Wire(new AgentSocket(await openSecure(agent))).startClient(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The header section of a request to api.test, for an H2Wire; `more` comes after the pseudo-header fields. */
export function fieldsOf(method: string, path: string, more: Fields = []): Fields {
  return [[':method', method], [':scheme', 'https'], [':authority', 'api.test'], [':path', path], ...more];
}

/** Status and the reason that a refusal names: of the block, or of the failure. */
export function refusalOf({ status, headers }: Pick<H2Reply, 'status' | 'headers'>): readonly [number, unknown] {
  return [status, headers['x-outcall-block-reason'] ?? headers['x-outcall-failure-reason']];
}

/** A round trip: what the agent sent before it has been read. */
export function pingOf(agent: H2Agent): Promise<void> {
  return new Promise((resolve, reject) => agent.session.ping((error) => (error ? reject(error) : resolve())));
}

/** An agent and its origin, both frame by frame, over one connection on each side. */
export async function openBoth(scene: H2Scene<RawOrigin>): Promise<{ wire: H2Wire; origin: H2Wire }> {
  const opening = scene.openWire();
  const origin = await nextOrigin(scene);
  return { wire: await opening, origin };
}

export async function nextOrigin(scene: H2Scene<RawOrigin>): Promise<H2Wire> {
  return new H2Wire(await scene.origin.peers.next()).startServer();
}

/** A GET on stream `stream`, as it reached the origin. */
export async function askThrough(wire: H2Wire, origin: H2Wire, stream: number): Promise<Frame> {
  await wire.send(headersFrame(stream, fieldsOf('GET', `/${stream}`)));
  return origin.next('headers');
}
