/**
 * The DNS door: UDP and TCP on one address and port, on the agents' side alone. Opens and closes the sockets; what is
 * said on them is the query handler's. Threats 15, 16.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net, { isIPv6 } from 'node:net';
import type { DnsFilterDeps } from './deps.ts';
import { DNS_LIMITS, type DnsLimits } from './limits.ts';
import { QueryHandler } from './query-handler.ts';
import { Sources } from './sources.ts';
import { StreamDoor } from './stream-door.ts';

/** Room for a burst of many agents while the process does something else; the kernel may give less. */
const RECEIVE_BUFFER_BYTES = 1_048_576;
/** With port 0: how often to look for one that is free for both. */
const FREE_PORT_TRIES = 20;

export class DnsFilter {
  readonly #deps: DnsFilterDeps;
  readonly #limits: DnsLimits;
  readonly #handler: QueryHandler;
  readonly #sources: Sources;
  readonly #streams: StreamDoor;
  #udp: dgram.Socket | undefined;
  #tcp: net.Server | undefined;

  constructor(deps: DnsFilterDeps) {
    this.#deps = deps;
    this.#limits = { ...DNS_LIMITS, ...deps.limits };
    this.#handler = new QueryHandler(deps);
    this.#sources = new Sources(deps.agentsSubnet, this.#limits, deps.clock);
    this.#streams = new StreamDoor(this.#limits, (message, source) => this.#handler.handle(message, source, 'tcp'));
  }

  /** The port of both; 0 before start. */
  get port(): number {
    return this.#udp?.address().port ?? 0;
  }

  /** Resolves when both sockets are open; rejects with the error of the one that is not, and then none is. */
  async start(): Promise<void> {
    const { host, port } = this.#deps.listen;
    for (let left = port === 0 ? FREE_PORT_TRIES : 1; ; left--) {
      try {
        const tcp = await this.#openTcp(host, port);
        this.#udp = await this.#openUdp(host, (tcp.address() as net.AddressInfo).port);
        return;
      } catch (error) {
        await this.stop();
        if (left <= 1) throw error;
      }
    }
  }

  /** Closes both; queries under way get no answer. */
  async stop(): Promise<void> {
    const [udp, tcp] = [this.#udp, this.#tcp];
    this.#udp = undefined;
    this.#tcp = undefined;
    this.#streams.close();
    await Promise.all([
      udp === undefined ? undefined : new Promise<void>((resolve) => udp.close(resolve)),
      tcp === undefined ? undefined : new Promise<void>((resolve) => tcp.close(() => resolve())),
    ]);
  }

  async #openTcp(host: string, port: number): Promise<net.Server> {
    const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      this.#streams.accept(socket, this.#sources.of(socket.remoteAddress ?? ''));
    });
    server.listen(port, host);
    await once(server, 'listening');
    server.on('error', (error) => this.#deps.log.error({ event: 'dns_socket', err: error }, 'DNS over TCP failed'));
    this.#tcp = server;
    return server;
  }

  async #openUdp(host: string, port: number): Promise<dgram.Socket> {
    const family = isIPv6(host) ? 6 : 4;
    const socket = dgram.createSocket({
      type: `udp${family}`,
      recvBufferSize: RECEIVE_BUFFER_BYTES,
      // Addresses alone are sent to; the default would cost a turn of the event loop each.
      lookup: (address, _options, callback) => callback(null, address, family),
    });
    try {
      // With that lookup it may listen before bind returns.
      const listening = once(socket, 'listening');
      socket.bind(port, host);
      await listening;
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.on('error', (error) => this.#deps.log.error({ event: 'dns_socket', err: error }, 'DNS over UDP failed'));
    socket.on('message', (message, from) => this.#receive(socket, message, from));
    return socket;
  }

  #receive(socket: dgram.Socket, message: Buffer, from: dgram.RemoteInfo): void {
    const reply = this.#handler.handle(message, this.#sources.of(from.address), 'udp');
    if (reply instanceof Promise) void reply.then((answer) => this.#send(socket, answer, from));
    else this.#send(socket, reply, from);
  }

  /** An answer that cannot be sent is as one that got lost: the client asks again, and nobody is called back. */
  #send(socket: dgram.Socket, answer: Buffer | undefined, from: dgram.RemoteInfo): void {
    if (answer !== undefined && socket === this.#udp) socket.send(answer, from.port, from.address);
  }
}
