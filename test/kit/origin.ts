/**
 * A real HTTP/1.1 and HTTP/2 origin on loopback that records what reached it: connections, handshakes, application
 * bytes, requests. Its routes are in origin-routes.ts; an origin that breaks HTTP is raw-origin.ts.
 */
import { createHash } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { SecureVersion, TLSSocket, Server as TlsServer } from 'node:tls';
import { answer } from './origin-routes.ts';
import { acceptWebSockets } from './origin-websocket.ts';
import type { KeyPair, TestCa } from './pki.ts';
import { Seen } from './seen.ts';

/** Enough for the largest head a test sends on purpose; node's own default is 16 KiB. */
const MAX_HEAD_BYTES = 1024 * 1024;
const MAX_HEADER_PAIRS = 1024;
/** Bodies above this are counted and hashed but not kept. */
const MAX_KEPT_BODY_BYTES = 4 * 1024 * 1024;

export type OriginAlpn = 'h2' | 'http/1.1';
export type OriginReply = http.ServerResponse;

export interface OriginTls {
  readonly ca: TestCa;
  readonly names: readonly string[];
  /** What the origin speaks, in its order of preference. Default: http/1.1 alone. */
  readonly alpn?: readonly OriginAlpn[];
  /** Asks for a client certificate of this CA and refuses those who have none. */
  readonly requireClientCert?: TestCa;
  readonly minVersion?: SecureVersion;
  readonly maxVersion?: SecureVersion;
  /** Used as it is, in the place of one issued for `names`. */
  readonly certificate?: KeyPair;
  /** Of key exchange, as `X25519:P-384`. */
  readonly groups?: string;
  /** OCSP response (DER) for clients that ask for one. */
  readonly staple?: Buffer;
}

export interface OriginOptions {
  readonly tls?: OriginTls;
  /** Answers in the place of the built-in routes when it returns true. */
  readonly handler?: (request: OriginRequest, reply: OriginReply) => boolean;
  /** Offers RFC 8441 (WebSocket over HTTP/2). */
  readonly connectProtocol?: boolean;
  /** Milliseconds an idle keep-alive connection is kept; default: for ever. */
  readonly keepAliveMs?: number;
  readonly host?: string;
}

/** One request as it reached the origin. Fields of the body fill up until `ended`. */
export class OriginRequest {
  readonly method: string;
  readonly url: string;
  /** Flat name, value list as received; with the pseudo-header fields on HTTP/2. */
  readonly headers: readonly string[];
  readonly httpVersion: string;
  readonly sni: string | undefined;
  /** Ordinal of the connection at this origin, from 1. */
  readonly connection: number;
  /** The body's reader; paused by the slow-read route. */
  readonly incoming: http.IncomingMessage;
  body: Buffer = Buffer.alloc(0);
  bodyBytes = 0;
  bodySha256 = '';
  trailers: readonly string[] = [];
  ended = false;

  constructor(incoming: http.IncomingMessage, connection: number) {
    this.incoming = incoming;
    this.method = incoming.method ?? '';
    this.url = incoming.url ?? '';
    this.headers = incoming.rawHeaders;
    this.httpVersion = incoming.httpVersion;
    this.sni = sniOf(incoming.socket as TLSSocket);
    this.connection = connection;
  }

  /** The values of one field, in order. */
  header(name: string): string[] {
    const lower = name.toLowerCase();
    return this.headers.filter((_, i) => i % 2 === 1 && this.headers[i - 1]?.toLowerCase() === lower);
  }
}

/** A response whose body the test writes. */
export interface LiveReply {
  readonly request: OriginRequest;
  /** Writes and resolves when the origin's kernel took it; rejects when the connection is gone. */
  send(chunk: string | Buffer): Promise<void>;
  end(chunk?: string): void;
  /** Breaks the exchange off: RST of the connection (HTTP/1.1) or of the stream (HTTP/2). */
  reset(): void;
  /** Resolves when the response is over, however it came to that: true when it was complete. */
  readonly closed: Promise<boolean>;
}

export class Origin implements AsyncDisposable {
  readonly port: number;
  /** Heads as they arrive, bodies perhaps still on the way. */
  readonly heads = new Seen<OriginRequest>('request head at the origin');
  /** Complete requests. */
  readonly requests = new Seen<OriginRequest>('complete request at the origin');
  /** Requests broken off before their end. */
  readonly aborted = new Seen<OriginRequest>('broken-off request at the origin');
  /** Responses under the test's control: /live, /sse. */
  readonly live = new Seen<LiveReply>('live response at the origin');
  /** One entry per TCP connection: its ordinal. */
  readonly accepted = new Seen<number>('connection at the origin');
  /** Ordinals of connections that are over. */
  readonly closed = new Seen<number>('closed connection at the origin');
  /** Texts of TLS handshakes that failed at the origin. */
  readonly failedHandshakes = new Seen<string>('failed handshake at the origin');
  /** Messages that reached /ws. */
  readonly messages = new Seen<Buffer>('WebSocket message at the origin');
  /** Completed TLS handshakes. */
  readonly secured = new Seen<{ readonly sni: string | undefined; readonly resumed: boolean }>('TLS handshake');
  readonly #server: Server;
  readonly #host: string;
  readonly #raw = new Map<string, Connection>();
  readonly #application = new Set<Socket>();

  constructor(server: Server, options: OriginOptions) {
    this.#server = server;
    this.#host = options.host ?? '127.0.0.1';
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket: Socket) => this.#track(socket, options.tls !== undefined));
    server.on('secureConnection', (socket: TLSSocket) => this.#trackTls(socket));
    server.on('tlsClientError', (error: Error) => this.failedHandshakes.push(error.message));
    const { staple } = options.tls ?? {};
    if (staple !== undefined) server.on('OCSPRequest', (_certificate, _issuer, done) => done(null, staple));
    const serve = (request: http.IncomingMessage, response: http.ServerResponse) =>
      answer(this, this.#record(request), response, options.handler);
    server.on('request', serve);
    server.on('checkContinue', serve);
    acceptWebSockets(this, server, (request) => this.#record(request));
  }

  get connections(): number {
    return this.accepted.count;
  }

  get handshakes(): number {
    return this.secured.count;
  }

  /** Application bytes received: what TLS carried, or all of plain TCP. On HTTP/2 the preface and settings count too. */
  get bytes(): number {
    let sum = 0;
    for (const socket of this.#application) sum += socket.bytesRead;
    return sum;
  }

  /** `host:port` for the address itself. */
  get address(): string {
    return `${this.#host}:${this.port}`;
  }

  /** Shows another certificate from the next connection on. */
  present({ certPem, keyPem }: KeyPair): void {
    (this.#server as TlsServer).setSecureContext({ cert: certPem, key: keyPem });
  }

  nextRequest(): Promise<OriginRequest> {
    return this.requests.next();
  }

  /** Ends all connections now: FIN, or RST when `reset`. */
  dropConnections(reset = false): void {
    for (const { socket } of this.#raw.values()) reset ? socket.resetAndDestroy() : socket.destroy();
  }

  /** Resets the TCP connection that a request came on. */
  resetConnection(request: OriginRequest): void {
    for (const { ordinal, socket } of this.#raw.values()) if (ordinal === request.connection) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.dropConnections();
    await closed;
  }

  #track(socket: Socket, tls: boolean): void {
    // The HTTP/1.1 server inside an HTTP/2 one announces the same connection once more, as its TLS socket.
    const ports = portsOf(socket);
    if (this.#raw.has(ports)) return;
    const ordinal = this.accepted.count + 1;
    this.#raw.set(ports, { ordinal, socket });
    if (!tls) this.#application.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#raw.delete(ports);
      this.closed.push(ordinal);
    });
    this.accepted.push(ordinal);
  }

  #trackTls(socket: TLSSocket): void {
    this.#application.add(socket);
    socket.on('error', () => undefined);
    this.secured.push({ sni: sniOf(socket), resumed: socket.isSessionReused() });
  }

  #record(incoming: http.IncomingMessage): OriginRequest {
    const request = new OriginRequest(incoming, this.#raw.get(portsOf(incoming.socket))?.ordinal ?? 0);
    const hash = createHash('sha256');
    const kept: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => {
      request.bodyBytes += chunk.length;
      hash.update(chunk);
      if (request.bodyBytes <= MAX_KEPT_BODY_BYTES) kept.push(chunk);
      this.heads.recheck();
    });
    incoming.once('end', () => {
      // The HTTP/2 compatibility API ends a request that was reset as it ends a whole one.
      if (wasReset(incoming)) return;
      request.body = Buffer.concat(kept);
      request.bodySha256 = hash.digest('hex');
      request.trailers = incoming.rawTrailers;
      request.ended = true;
      this.requests.push(request);
    });
    incoming.on('error', () => undefined);
    incoming.once('close', () => {
      if (!request.ended) this.aborted.push(request);
    });
    this.heads.push(request);
    return request;
  }
}

function wasReset(incoming: http.IncomingMessage): boolean {
  return (incoming as { stream?: { aborted?: boolean } }).stream?.aborted === true;
}

function sniOf(socket: TLSSocket): string | undefined {
  const name = socket.servername as string | false | null | undefined;
  return typeof name === 'string' ? name : undefined;
}

interface Connection {
  readonly ordinal: number;
  /** The TCP socket, also under TLS: only this one can be reset. */
  readonly socket: Socket;
}

/** A connection's ports, on which every view of it (TCP, TLS, HTTP/2) agrees. */
function portsOf(socket: Socket): string {
  return `${socket.localPort}<${socket.remoteAddress}:${socket.remotePort}`;
}

/** Starts an origin on an ephemeral port of loopback. */
export async function startOrigin(options: OriginOptions = {}): Promise<Origin> {
  const server = createServer(options);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, options.host ?? '127.0.0.1', resolve);
  });
  return new Origin(server, options);
}

function createServer(options: OriginOptions): Server {
  const timeouts = { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: options.keepAliveMs ?? 0 };
  const common = { ...timeouts, maxHeaderSize: MAX_HEAD_BYTES, requireHostHeader: false };
  const { tls } = options;
  if (tls === undefined) return http.createServer(common);
  const alpn = tls.alpn ?? ['http/1.1'];
  const secure = { ...common, ...tlsOptions(tls), ALPNProtocols: [...alpn] };
  if (!alpn.includes('h2')) return https.createServer(secure);
  const settings = { enableConnectProtocol: options.connectProtocol === true };
  const limits = { maxHeaderListPairs: MAX_HEADER_PAIRS };
  return http2.createSecureServer({ ...secure, ...limits, settings, allowHTTP1: alpn.includes('http/1.1') });
}

function tlsOptions(tls: OriginTls): https.ServerOptions {
  const pair = tls.certificate ?? tls.ca.issue({ names: tls.names });
  return {
    cert: pair.certPem,
    key: pair.keyPem,
    ...(tls.groups === undefined ? {} : { ecdhCurve: tls.groups }),
    ...(tls.minVersion === undefined ? {} : { minVersion: tls.minVersion }),
    ...(tls.maxVersion === undefined ? {} : { maxVersion: tls.maxVersion }),
    ...(tls.requireClientCert === undefined
      ? {}
      : { requestCert: true, rejectUnauthorized: true, ca: tls.requireClientCert.certPem }),
  };
}
