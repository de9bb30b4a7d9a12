/**
 * One request through each way into the proxy: absolute form, plain HTTP inside a CONNECT, and inside TLS over HTTP/1.1
 * and HTTP/2, before origins that are all named api.test and other.test. Clients trust the proxy's CA alone.
 */
import { connectTunnel, H2Agent, openAgent, openTunnel, startTls } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { fieldOf } from '../kit/http1-reply.ts';
import { type Origin, startOrigin } from '../kit/origin.ts';
import { testCa } from '../kit/pki.ts';
import { type ProxyTestOptions, startProxy, type TestProxy } from '../kit/proxy.ts';

const NAMES = ['api.test', 'other.test'];

/** What is asked, the same through each door. */
export interface Ask {
  readonly method?: string;
  readonly path: string;
  /** The host that the request names; default: the one it is for. */
  readonly host?: string;
  /** Flat name, value list. */
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string;
  /** Another agent to the proxy. */
  readonly localAddress?: string;
}

/** Status, and the reason that a refusal names. */
export type Answer = readonly [number, string | undefined];

export interface Doors extends AsyncDisposable {
  readonly proxy: TestProxy;
  /** The origin that each door leads to. */
  readonly origins: Readonly<Record<Door, Origin>>;
  ask(door: Door, ask: Ask): Promise<Answer>;
  /** The answer to a CONNECT alone; for the absolute form, to a GET. */
  knock(door: Door, host: string): Promise<Answer>;
}

export const DOORS = ['absolute form', 'CONNECT + plain text', 'CONNECT + TLS', 'CONNECT + TLS, HTTP/2'] as const;
export type Door = (typeof DOORS)[number];

export async function startDoors(options: Partial<ProxyTestOptions> & Pick<ProxyTestOptions, 'rules'>): Promise<Doors> {
  const stack = new AsyncDisposableStack();
  const ca = testCa();
  const plain = stack.use(await startOrigin());
  const h1 = stack.use(await startOrigin({ tls: { ca, names: NAMES } }));
  const h2 = stack.use(await startOrigin({ tls: { ca, names: NAMES, alpn: ['h2'] } }));
  const zone = { 'api.test': '127.0.0.1', 'other.test': '127.0.0.1', ...options.zone };
  const proxy = stack.use(await startProxy({ ca: true, trust: [ca.certPem], ...options, zone }));
  const origins = {
    'absolute form': plain,
    'CONNECT + plain text': plain,
    'CONNECT + TLS': h1,
    'CONNECT + TLS, HTTP/2': h2,
  };
  return {
    proxy,
    origins,
    ask: (door, ask) => ASK[door](proxy, origins[door].port, ask),
    knock: async (door, host) => {
      const { port } = origins[door];
      if (door === 'absolute form') return ASK[door](proxy, port, { path: '/' }, host);
      await using tunnel = await connectTunnel(proxy, `${host}:${port}`);
      return [tunnel.reply.status, reasonIn(tunnel.reply.headers)];
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

type AskThrough = (proxy: TestProxy, port: number, ask: Ask, host?: string) => Promise<Answer>;

const ASK: Readonly<Record<Door, AskThrough>> = {
  'absolute form': async (proxy, port, ask, host = 'api.test') => {
    await using agent = await openAgent(proxy, from(ask));
    return await send(agent, `http://${host}:${port}${ask.path}`, port, { ...ask, host: ask.host ?? host });
  },
  'CONNECT + plain text': async (proxy, port, ask) => {
    await using agent = await openTunnel(proxy, `api.test:${port}`, from(ask));
    return await send(agent, ask.path, port, ask);
  },
  'CONNECT + TLS': async (proxy, port, ask) => {
    await using agent = new AgentSocket(await secure(proxy, port, ask, ['http/1.1']));
    return await send(agent, ask.path, port, ask);
  },
  'CONNECT + TLS, HTTP/2': async (proxy, port, ask) => {
    const { method = 'GET', path, host = 'api.test', headers = [], body } = ask;
    await using agent = new H2Agent(await secure(proxy, port, ask, ['h2']), `api.test:${port}`);
    const fields = Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));
    const section = { ':method': method, ':path': path, ':authority': `${host}:${port}`, ...fields };
    const reply = await agent.request(section, body);
    return [reply.status, reasonIn(Object.entries(reply.headers).flatMap(([name, value]) => [name, String(value)]))];
  },
};

async function secure(proxy: TestProxy, port: number, ask: Ask, alpn: readonly string[]) {
  const tunnel = await openTunnel(proxy, `api.test:${port}`, from(ask));
  return startTls(tunnel, { ca: proxy.caPem, servername: 'api.test', alpn });
}

async function send(agent: AgentSocket, target: string, port: number, ask: Ask): Promise<Answer> {
  const { method = 'GET', host = 'api.test', headers = [], body } = ask;
  const fields = [`Host: ${host}:${port}`, ...headers.map(([name, value]) => `${name}: ${value}`)];
  const reply = await agent.request({ method, target, headers: fields, ...(body === undefined ? {} : { body }) });
  return [reply.status, reasonIn(reply.headers)];
}

function from({ localAddress }: Ask): { readonly localAddress?: string } {
  return localAddress === undefined ? {} : { localAddress };
}

function reasonIn(headers: readonly string[]): string | undefined {
  return fieldOf(headers, 'x-outcall-block-reason') ?? fieldOf(headers, 'x-outcall-failure-reason');
}
