/**
 * An origin that says exactly the bytes a test gives it, over TCP or TLS, and keeps all it received: for origins that
 * lie about lengths, reset in the middle, or speak no HTTP at all.
 */
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import { AgentSocket } from './agent-socket.ts';
import type { TestCa } from './pki.ts';
import { Seen } from './seen.ts';

/** What happens on each connection; `ordinal` counts from 1. What it throws is in `errors`. */
export type Script = (peer: RawPeer, ordinal: number) => Promise<void> | void;

export interface RawOriginOptions {
  readonly tls?: { readonly ca: TestCa; readonly names: readonly string[]; readonly alpn?: readonly string[] };
  readonly script?: Script;
}

/** One connection seen from the origin: reads and writes as an AgentSocket does. */
export class RawPeer extends AgentSocket {
  readonly #received: Buffer[] = [];

  constructor(socket: net.Socket, tcp: net.Socket) {
    super(socket, tcp);
    socket.on('data', (chunk: Buffer) => this.#received.push(chunk));
  }

  /** Every byte that came, read or not. */
  get received(): Buffer {
    return Buffer.concat(this.#received);
  }

  /** Reads one request head, then as many body bytes as its Content-Length says. */
  async readRequest(): Promise<Buffer> {
    const head = await this.readUntil('\r\n\r\n');
    const length = /^content-length: *(\d+)/im.exec(head.toString('latin1'))?.[1];
    return Buffer.concat([head, await this.readExactly(Number(length ?? 0))]);
  }
}

export class RawOrigin implements AsyncDisposable {
  readonly port: number;
  readonly peers = new Seen<RawPeer>('connection at the raw origin');
  /** TCP connections, TLS done or not. */
  connections = 0;
  readonly errors: unknown[] = [];
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();

  constructor(server: net.Server, options: RawOriginOptions) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    const context = options.tls === undefined ? undefined : secureContext(options.tls);
    server.on('connection', (tcp: net.Socket) => {
      this.connections += 1;
      this.#sockets.add(tcp);
      tcp.on('error', () => undefined);
      tcp.once('close', () => this.#sockets.delete(tcp));
      if (context === undefined) this.#serve(tcp, tcp, options.script);
      else this.#secure(tcp, context, options.script);
    });
  }

  /** Application bytes received on all connections. */
  get bytes(): number {
    return this.peers.all.reduce((sum, peer) => sum + peer.receivedBytes, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #secure(tcp: net.Socket, context: tls.TLSSocketOptions, script: Script | undefined): void {
    const secure = new tls.TLSSocket(tcp, { isServer: true, ...context });
    secure.on('error', () => undefined);
    secure.once('secure', () => this.#serve(secure, tcp, script));
  }

  #serve(socket: net.Socket, tcp: net.Socket, script: Script | undefined): void {
    const peer = new RawPeer(socket, tcp);
    this.peers.push(peer);
    const ordinal = this.peers.count;
    Promise.resolve(script?.(peer, ordinal)).catch((error: unknown) => this.errors.push(error));
  }
}

/** Starts a raw origin on an ephemeral port of 127.0.0.1. Without a script, drive `origin.peers.next()` by hand. */
export async function startRawOrigin(options: RawOriginOptions = {}): Promise<RawOrigin> {
  const server = net.createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return new RawOrigin(server, options);
}

/** A script that reads one request head, says `bytes` (text is latin1), and then ends as told. */
export function says(bytes: string | Buffer, then: 'open' | 'FIN' | 'RST' = 'open'): Script {
  return async (peer) => {
    await peer.readRequest();
    await peer.send(bytes);
    if (then === 'FIN') peer.finish();
    if (then === 'RST') peer.reset();
  };
}

function secureContext(options: NonNullable<RawOriginOptions['tls']>): tls.TLSSocketOptions {
  const pair = options.ca.issue({ names: options.names });
  return {
    secureContext: tls.createSecureContext({ cert: pair.certPem, key: pair.keyPem }),
    ALPNProtocols: [...(options.alpn ?? ['http/1.1'])],
  };
}
