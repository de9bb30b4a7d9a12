/**
 * The scene of the tests of metadata rules: an origin with a certificate of the test's choosing, a proxy whose one rule for
 * it is given as the body of `egress.tls`, and both doors to it. Clients verify the origin themselves, or do not look.
 */
import { once } from 'node:events';
import net from 'node:net';
import tls, { type SecureVersion } from 'node:tls';
import type { Host } from '../../src/domain/hostname.ts';
import { openAgent, openTunnel } from '../kit/agent.ts';
import { AgentSocket } from '../kit/agent-socket.ts';
import { type Origin, type OriginTls, startOrigin } from '../kit/origin.ts';
import { type KeyPair, type TestCa, testCa } from '../kit/pki.ts';
import { type ProxyTestOptions, startProxy, type TestProxy } from '../kit/proxy.ts';
import { rulesFile } from '../kit/rules.ts';
import { KIT_DEADLINE_MS, within } from '../kit/within.ts';

export const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
export const DOORS = ['CONNECT', 'transparent'] as const;
export type Way = (typeof DOORS)[number];

const SYNTHETIC = '127.1.0.1';

/** One rule for api.test, with this in its `egress.tls`. */
export function metadataRule(match: string, more = ''): string {
  return `{ id: api, condition: 'http.host == "api.test"', action: allow, egress: { mode: proxy, tls: { ${match} }${more} } }`;
}

export interface MetadataScene extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly origin: Origin;
  readonly ca: TestCa;
  /** TCP to the origin's name through a door: a CONNECT that was answered, or the synthetic address. */
  open(way?: Way, host?: string): Promise<AgentSocket>;
  /**
   * A TLS session with whoever answers, and one GET in it. The client takes any certificate, as an agent that wants
   * to get out would: what refuses is the proxy. Rejects with the handshake's error.
   */
  get(options?: ClientOptions): Promise<number>;
  /** The session of such a client, kept open. */
  hold(options?: ClientOptions): Promise<AgentSocket>;
}

export interface ClientOptions {
  readonly way?: Way;
  readonly maxVersion?: SecureVersion;
  readonly servername?: string;
  readonly ciphers?: string;
  readonly ecdhCurve?: string;
  readonly ALPNProtocols?: string[];
  readonly host?: string;
  readonly client?: KeyPair;
  readonly session?: Buffer;
  readonly onSession?: (session: Buffer) => void;
}

export interface MetadataOptions extends Partial<ProxyTestOptions> {
  readonly certificate?: KeyPair;
  readonly tls?: Partial<OriginTls>;
  /** Default: the proxy trusts this CA as it does the public ones. */
  readonly originCa?: TestCa;
}

export async function startMetadataScene(
  rule: string | readonly string[],
  options: MetadataOptions = {},
): Promise<MetadataScene> {
  const { certificate, tls: originTls, originCa: ca = testCa(), ...proxyOptions } = options;
  const stack = new AsyncDisposableStack();
  const secure = { ca, names: ['api.test'], ...(certificate === undefined ? {} : { certificate }), ...originTls };
  const origin = stack.use(await startOrigin({ tls: secure }));
  const proxy = stack.use(
    await startProxy({
      rules: typeof rule === 'string' ? rulesFile(rule) : rulesFile(...rule),
      trust: [ca.certPem],
      zone: { 'api.test': '127.0.0.1', 'other.test': '127.0.0.1' },
      ...proxyOptions,
    }),
  );
  const names = { hostOf: async () => 'api.test' as Host };
  const door = net.createServer({ allowHalfOpen: true }, (socket) => proxy.server.acceptTransparent(socket, names));
  stack.defer(() => void door.close());
  door.listen(origin.port, SYNTHETIC);
  await once(door, 'listening');
  const open = (way: Way = 'CONNECT', host = 'api.test'): Promise<AgentSocket> =>
    way === 'CONNECT' ? openTunnel(proxy, `${host}:${origin.port}`) : openAgent({ port: origin.port, host: SYNTHETIC });
  return {
    proxy,
    origin,
    ca,
    open,
    get: (client) => get(open, client),
    hold: (client) => hold(open, client),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function hold(open: MetadataScene['open'], options: ClientOptions = {}): Promise<AgentSocket> {
  const { way, host = 'api.test', servername = host, client: own, onSession, ...rest } = options;
  const under = await open(way, host);
  const socket = tls.connect({
    ...rest,
    socket: under.release(),
    servername,
    // Whoever wants out does not look.
    rejectUnauthorized: false,
    ...(own === undefined ? {} : { cert: own.certPem, key: own.keyPem }),
  });
  if (onSession !== undefined) socket.on('session', onSession);
  const failed = new Promise<never>((_, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });
  failed.catch(() => undefined);
  try {
    await within(Promise.race([once(socket, 'secureConnect'), failed]), KIT_DEADLINE_MS, 'a TLS handshake');
    return new AgentSocket(socket, under.socket);
  } catch (error) {
    await under[Symbol.asyncDispose]();
    throw error;
  }
}

async function get(open: MetadataScene['open'], options: ClientOptions = {}): Promise<number> {
  await using agent = await hold(open, options);
  return (await agent.request({ target: '/echo', headers: [`Host: ${options.host ?? 'api.test'}`] })).status;
}
