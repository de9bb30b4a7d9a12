/**
 * The scene of the client tests: the real daemon as a process, with a CA that `outcall ca init` made; a TLS origin that
 * speaks HTTP/2 and HTTP/1.1, a plain one, and a resolver. Its rules intercept api.test but for /admin, let
 * tunnel.test through unread, allow plain.test but for /admin, and say nothing of denied.test.
 */
import { join } from 'node:path';
import { type DaemonTestOptions, startDaemon, type TestDaemon } from '../kit/daemon.ts';
import { type Origin, type OriginOptions, type OriginTls, startOrigin } from '../kit/origin.ts';
import { type TestCa, testCa } from '../kit/pki.ts';
import { type Resolver, startResolver } from '../kit/resolver.ts';
import { rulesFile } from '../kit/rules.ts';
import { proxyEnv } from '../kit/run.ts';
import { TempFolder } from '../kit/temp.ts';

/** 81 characters: no common name can hold it (X.520 ub-common-name is 64). */
export const LONG_NAME = `${'a'.repeat(38)}.${'b'.repeat(37)}.test`;

const NAMES = ['api.test', 'tunnel.test', 'denied.test', 'other.test', 'localhost', LONG_NAME];

const SCENE_RULES = rulesFile(
  `{ id: no-admin, condition: 'http.host == "api.test" && http.path.startsWith("/admin")', action: block }`,
  `{ id: api, condition: 'http.host == "api.test"', action: allow, egress: { mode: intercept } }`,
  `{ id: tunnel, condition: 'http.host == "tunnel.test"', action: allow }`,
  `{ id: plain, condition: 'http.host == "plain.test" && http.path != "/admin"', action: allow }`,
);

export interface ClientScene extends AsyncDisposable {
  readonly daemon: TestDaemon;
  /** Speaks TLS under every name of the scene. */
  readonly origin: Origin;
  readonly plain: Origin;
  readonly resolver: Resolver;
  readonly originCa: TestCa;
  /** Files with what a client may trust: the CA of Outcall, and that of the origin. */
  readonly outcallCaFile: string;
  readonly originCaFile: string;
  /** A folder for what clients write. */
  readonly folder: TempFolder;
  /** The variables of an explicit proxy. */
  readonly proxyVariables: Readonly<Record<string, string>>;
  /** `http://127.0.0.1:<port>` of the daemon. */
  readonly proxyUrl: string;
  /** A URL at the TLS origin. */
  url(host: string, path?: string): string;
  /** A URL at the plain origin. */
  plainUrl(path: string): string;
}

export type ClientSceneOptions = Partial<DaemonTestOptions> & {
  readonly origin?: Omit<OriginOptions, 'tls'>;
  readonly tls?: Partial<OriginTls>;
};

export async function startClientScene({ origin, tls, ...daemon }: ClientSceneOptions = {}): Promise<ClientScene> {
  const stack = new AsyncDisposableStack();
  const originCa = testCa();
  const secure: OriginTls = { names: [...NAMES, '127.0.0.1'], alpn: ['h2', 'http/1.1'], ...tls, ca: originCa };
  const server = stack.use(await startOrigin({ ...origin, tls: secure }));
  const plain = stack.use(await startOrigin(origin));
  const resolver = stack.use(
    await startResolver(Object.fromEntries([...NAMES, 'plain.test'].map((name) => [name, '127.0.0.1']))),
  );
  const folder = stack.use(new TempFolder());
  const outcall = stack.use(
    await startDaemon({
      rules: SCENE_RULES,
      ca: true,
      dnsServers: [resolver.address],
      trust: originCa.certPem,
      ...daemon,
    }),
  );
  return {
    daemon: outcall,
    origin: server,
    plain,
    resolver,
    originCa,
    outcallCaFile: join(outcall.caFolder, 'ca.crt'),
    originCaFile: folder.write('origin-ca.pem', originCa.certPem),
    folder,
    proxyVariables: proxyEnv(outcall),
    proxyUrl: `http://127.0.0.1:${outcall.port}`,
    url: (host, path = '/') => `https://${host}:${server.port}${path}`,
    plainUrl: (path) => `http://plain.test:${plain.port}${path}`,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Paths of the requests whose heads reached the TLS origin, in order. */
export function pathsAt(scene: Pick<ClientScene, 'origin'>): string[] {
  return scene.origin.heads.all.map(({ url }) => url);
}
