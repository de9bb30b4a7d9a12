/**
 * The operator's doors: the admin socket always, its API and the metrics on TCP where the options name addresses.
 */
import type { AdminBackend } from '../admin/backend.ts';
import { type AdminServer, openAdminServer } from '../admin/server.ts';
import { openAdminTcp, openMetricsTcp, type TcpServer } from '../admin/tcp-server.ts';
import { readToken, TokenFailure } from '../admin/token.ts';
import { hostInUrl } from '../domain/hostname.ts';
import type { HostAndPort } from './option-checks.ts';
import type { DaemonOptions } from './options.ts';
import { listenText, StartRefused } from './start-checks.ts';

export class OperatorPorts {
  /** `address:port` as they are open; undefined for those that are not asked for. */
  admin: string | undefined;
  metrics: string | undefined;
  readonly #open: (AdminServer | TcpServer)[] = [];
  readonly #ports: number[] = [];

  /** Rejects with StartRefused, or SocketFailure for the socket. */
  async open(options: DaemonOptions, backend: AdminBackend): Promise<void> {
    const { adminSocket, adminListen, adminTokenFile, metricsListen } = options;
    this.#open.push(await openAdminServer(adminSocket, backend));
    if (adminListen !== undefined && adminTokenFile !== undefined) {
      const token = tokenOf(adminTokenFile);
      this.admin = await this.#listen('--admin-listen', adminListen, () => openAdminTcp(adminListen, token, backend));
    }
    if (metricsListen !== undefined) {
      this.metrics = await this.#listen('--metrics-listen', metricsListen, () =>
        openMetricsTcp(metricsListen, backend),
      );
    }
  }

  /** The TCP ports, which the proxy dials on no address of ours. */
  get ports(): readonly number[] {
    return this.#ports;
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((server) => server.close()));
  }

  async #listen(flag: string, { host, port }: HostAndPort, open: () => Promise<TcpServer>): Promise<string> {
    const server = await open().catch((error: NodeJS.ErrnoException) => {
      const why = listenText(error.code ?? error.message);
      throw new StartRefused([`${flag}: cannot listen on ${hostInUrl(host)}:${port}: ${why}`]);
    });
    this.#open.push(server);
    this.#ports.push(server.port);
    return `${hostInUrl(host)}:${server.port}`;
  }
}

function tokenOf(file: string): ReturnType<typeof readToken> {
  try {
    return readToken(file);
  } catch (error) {
    if (error instanceof TokenFailure) throw new StartRefused([error.message]);
    throw error;
  }
}
