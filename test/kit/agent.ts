/**
 * Clients of the proxy: raw connections, CONNECT tunnels, TLS and HTTP/2 over them. Verification is always on.
 */
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { AgentSocket } from './agent-socket.ts';
import type { Reply } from './http1-reply.ts';
import type { KeyPair } from './pki.ts';
import { KIT_DEADLINE_MS, within } from './within.ts';

/** Where a proxy (or an origin, for the direct way) listens. */
export interface Door {
  readonly port: number;
  readonly host?: string;
}

export interface AgentOptions {
  /** Source address: 127.0.0.2, 127.0.0.3 ... are other agents to the proxy. */
  readonly localAddress?: string;
}

export interface TlsOptions {
  /** PEM that is trusted, alone. */
  readonly ca: string;
  /** SNI, and the name that the certificate must carry; '' sends none and verifies against `verifyName`. */
  readonly servername: string;
  readonly verifyName?: string;
  readonly alpn?: readonly string[];
  readonly minVersion?: tls.SecureVersion;
  readonly maxVersion?: tls.SecureVersion;
  readonly client?: KeyPair;
  readonly session?: Buffer;
}

/** A TCP connection to the proxy. */
export async function openAgent(door: Door, options: AgentOptions = {}): Promise<AgentSocket> {
  const socket = net.connect({ port: door.port, host: door.host ?? '127.0.0.1', allowHalfOpen: true, ...options });
  await within(once(socket, 'connect'), KIT_DEADLINE_MS, 'a TCP connection');
  return new AgentSocket(socket);
}

export interface Tunnel extends AsyncDisposable {
  readonly agent: AgentSocket;
  /** What the proxy answered to CONNECT. */
  readonly reply: Reply;
}

/** Sends CONNECT and reads the answer, whatever it is. `headers` are lines `Name: value` after Host. */
export async function connectTunnel(
  door: Door,
  target: string,
  options: AgentOptions & { readonly headers?: readonly string[] } = {},
): Promise<Tunnel> {
  const { headers = [], ...rest } = options;
  const agent = await openAgent(door, rest);
  const reply = await agent.request({ method: 'CONNECT', target, headers: [`Host: ${target}`, ...headers] });
  return { agent, reply, [Symbol.asyncDispose]: () => agent[Symbol.asyncDispose]() };
}

/** As connectTunnel, but rejects unless the tunnel opened; gives the connection that is now a tunnel. */
export async function openTunnel(door: Door, target: string, options: AgentOptions = {}): Promise<AgentSocket> {
  const { agent, reply } = await connectTunnel(door, target, options);
  if (reply.status === 200) return agent;
  await agent[Symbol.asyncDispose]();
  throw new Error(`CONNECT ${target}: ${reply.status} ${reply.body.toString()}`);
}

/**
 * A TLS handshake as client over a tunnel or any other stream. Rejects with the handshake's error. Nobody reads from
 * the result yet: hand it to `new AgentSocket` or to `openH2`.
 */
export async function startTls(under: AgentSocket | Duplex, options: TlsOptions): Promise<tls.TLSSocket> {
  const socket = tls.connect({
    socket: under instanceof AgentSocket ? under.release() : under,
    ca: options.ca,
    servername: options.servername,
    ...(options.servername === '' ? { checkServerIdentity: identityOf(options.verifyName ?? '') } : {}),
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
    ...(options.minVersion === undefined ? {} : { minVersion: options.minVersion }),
    ...(options.maxVersion === undefined ? {} : { maxVersion: options.maxVersion }),
    ...(options.client === undefined ? {} : { cert: options.client.certPem, key: options.client.keyPem }),
    ...(options.session === undefined ? {} : { session: options.session }),
  });
  const failed = new Promise<never>((_, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed during the TLS handshake')));
  });
  failed.catch(() => undefined);
  await within(Promise.race([once(socket, 'secureConnect'), failed]), KIT_DEADLINE_MS, 'a TLS handshake');
  socket.on('error', () => undefined);
  return socket;
}

/** CONNECT and TLS in one: an HTTP/1.1 client inside a tunnel. SNI is the target's host unless given. */
export async function openHttps(
  door: Door,
  target: string,
  options: Omit<TlsOptions, 'servername'> & AgentOptions & { readonly servername?: string },
): Promise<AgentSocket> {
  const { localAddress, ...tlsOptions } = options;
  const tunnel = await openTunnel(door, target, localAddress === undefined ? {} : { localAddress });
  try {
    const servername = target.slice(0, target.lastIndexOf(':'));
    return new AgentSocket(await startTls(tunnel, { servername, ...tlsOptions }), tunnel.socket);
  } catch (error) {
    await tunnel[Symbol.asyncDispose]();
    throw error;
  }
}

export interface H2Reply {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
  readonly trailers: http2.IncomingHttpHeaders;
  /** RFC 9113 section 7; 0 when the stream ended well. */
  readonly rstCode: number;
}

/** An HTTP/2 client over a TLS socket that negotiated h2. Close it with `await using`. */
export class H2Agent implements AsyncDisposable {
  readonly session: http2.ClientHttp2Session;

  constructor(socket: tls.TLSSocket, authority: string, settings: http2.Settings = {}) {
    this.session = http2.connect(`https://${authority}`, { createConnection: () => socket, settings });
    this.session.on('error', () => undefined);
  }

  /** One exchange; rejects when the stream dies without a response. */
  async request(headers: http2.OutgoingHttpHeaders, body?: string | Buffer): Promise<H2Reply> {
    const stream = this.session.request(headers, { endStream: body === undefined });
    if (body !== undefined) stream.end(body);
    return readH2Reply(stream);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.session.destroyed) return;
    const closed = once(this.session, 'close');
    this.session.destroy();
    await closed;
  }
}

/** Reads one HTTP/2 response to its end. */
export async function readH2Reply(stream: http2.ClientHttp2Stream): Promise<H2Reply> {
  let headers: http2.IncomingHttpHeaders | undefined;
  let trailers: http2.IncomingHttpHeaders = {};
  let error: Error | undefined;
  const chunks: Buffer[] = [];
  stream.on('response', (fields) => (headers = fields));
  stream.on('trailers', (fields) => (trailers = fields));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', (cause) => (error = cause));
  if (!stream.closed) await within(new Promise((r) => stream.once('close', r)), KIT_DEADLINE_MS, 'the end of a stream');
  if (headers === undefined) throw error ?? new Error(`no response; stream code ${stream.rstCode}`);
  const status = Number(headers[':status']);
  return { status, headers, body: Buffer.concat(chunks), trailers, rstCode: stream.rstCode ?? 0 };
}

function identityOf(name: string): (host: string, cert: tls.PeerCertificate) => Error | undefined {
  return (_, cert) => tls.checkServerIdentity(name, cert);
}
