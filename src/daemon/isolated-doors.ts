/** A worker's listeners on networks of one agent: opened and closed as the supervisor says where the proxy listens. */
import net from 'node:net';
import type { Log } from '../audit/log.ts';
import type { Host } from '../domain/hostname.ts';

export class IsolatedDoors {
  readonly #open: Omit<net.ListenOptions, 'host'>;
  readonly #accept: (socket: net.Socket) => void;
  readonly #log: Log;
  readonly #servers = new Map<Host, net.Server>();

  constructor(open: Omit<net.ListenOptions, 'host'>, accept: (socket: net.Socket) => void, log: Log) {
    this.#open = open;
    this.#accept = accept;
    this.#log = log;
  }

  /** At these addresses and at no other; connections that are open go on. */
  listenAt(addresses: readonly Host[]): void {
    for (const [address, server] of this.#servers) {
      if (addresses.includes(address)) continue;
      this.#servers.delete(address);
      server.close();
    }
    for (const address of addresses) if (!this.#servers.has(address)) this.#listen(address);
  }

  #listen(host: Host): void {
    const server = net.createServer({ allowHalfOpen: true }, this.#accept);
    this.#servers.set(host, server);
    server.on('error', (error: NodeJS.ErrnoException) => {
      // Told anew with the next change; until then its agent has no proxy there.
      if (this.#servers.get(host) === server) this.#servers.delete(host);
      this.#log.error({ event: 'listen_failed', address: host, code: error.code }, error.message);
    });
    server.listen({ ...this.#open, host });
  }
}
