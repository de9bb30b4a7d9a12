/**
 * The internet of the lab, run in a network namespace that has every address of 198.18.0.0/15: HTTP on 80, HTTPS (1.1 and 2)
 * on 443 and 8443 with a certificate for whatever name is asked, a greeting echo on 853 and 9000, UDP echo, and DNS by a
 * zone that tests change. It writes down each contact and tells them on a Unix socket:
 *   GET /contacts   JSON array of Contact, oldest first; DELETE forgets them
 *   PUT /zone       JSON object of name -> address, addresses or null (forget it)
 *   --run DIR       where internet.sock and internet-ca.pem go
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import http2 from 'node:http2';
import net, { type Server, type Socket } from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { parseArgs } from 'node:util';
import { testCa } from '../../test/kit/pki.ts';
import { Resolver } from '../../test/kit/resolver.ts';

/** One thing that reached this internet; `what` says it in words. */
export interface Contact {
  readonly kind: 'connection' | 'handshake' | 'request' | 'data' | 'datagram' | 'query';
  /** address:port; empty for a query. */
  readonly from: string;
  readonly to: string;
  /** handshake: the SNI. request: `METHOD URL` with the authority asked for. query: `NAME TYPE`. Else the first bytes. */
  readonly what: string;
}

const HTTP_PORT = 80;
const HTTPS_PORTS = [443, 8443];
const GREETING_PORTS = [853, 9000];
/** QUIC, NTP, and one that means nothing. */
const DATAGRAM_PORTS = [443, 123, 9001];
/** UDP answers must come from the address that was asked, so these sockets have one each. */
const DATAGRAM_ADDRESSES = ['198.18.0.10', '198.18.0.20'];
const DNS_ADDRESSES = ['198.51.100.53', '198.18.0.53'];
const DNS_PORT = 53;
const KEPT_BYTES = 120;

const contacts: Contact[] = [];
const resolvers: Resolver[] = [];
/** How many queries of each resolver are forgotten. */
const forgotten: number[] = [];
const ca = testCa('Outcall lab, the internet');

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { run: { type: 'string' } } });
  if (values.run === undefined) throw new Error('--run is missing');
  writeFileSync(path.join(values.run, 'internet-ca.pem'), ca.certPem);
  await listen(http.createServer(answer), HTTP_PORT);
  for (const port of HTTPS_PORTS) await listen(secureServer(), port);
  for (const port of GREETING_PORTS) await listen(net.createServer(greet), port);
  for (const address of DATAGRAM_ADDRESSES) for (const port of DATAGRAM_PORTS) await echoDatagrams(address, port);
  for (const address of DNS_ADDRESSES) resolvers.push(await resolverAt(address));
  http
    .createServer((request, response) => void control(request, response))
    .listen(path.join(values.run, 'internet.sock'));
}

async function listen(server: Server, port: number): Promise<void> {
  server.on('connection', (socket: Socket) => {
    note('connection', socket, '');
    socket.on('error', () => undefined);
  });
  server.listen(port, '0.0.0.0');
  await once(server, 'listening');
}

function secureServer(): Server {
  const made = new Map<string, tls.SecureContext>();
  const contextFor = (name: string): tls.SecureContext => {
    const known = made.get(name);
    if (known !== undefined) return known;
    const { certPem, keyPem } = ca.issue({ names: [name] });
    const context = tls.createSecureContext({ cert: certPem, key: keyPem });
    made.set(name, context);
    return context;
  };
  const fallback = ca.issue({ names: DATAGRAM_ADDRESSES });
  const server = http2.createSecureServer({
    allowHTTP1: true,
    cert: fallback.certPem,
    key: fallback.keyPem,
    SNICallback: (name, done) => done(null, contextFor(name)),
  });
  server.on('secureConnection', (socket) => note('handshake', socket, socket.servername || '(no name)'));
  server.on('request', answer);
  return server;
}

function answer(
  request: IncomingMessage | http2.Http2ServerRequest,
  response: ServerResponse | http2.Http2ServerResponse,
): void {
  const host = request.headers[':authority'] ?? request.headers.host;
  const socket = request.socket as Socket;
  const scheme = socket instanceof tls.TLSSocket ? 'https' : 'http';
  note('request', socket, `${request.method} ${scheme}://${String(host)}${request.url}`);
  request.resume();
  request.on('end', () => {
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify({ host, did: `${request.method} ${request.url}`, at: socket.localAddress })}\n`);
  });
}

function greet(socket: Socket): void {
  socket.write(`hello from ${socket.localAddress}:${socket.localPort}\n`);
  socket.on('data', (bytes: Buffer) => {
    note('data', socket, shortText(bytes));
    socket.write(bytes);
  });
}

async function echoDatagrams(address: string, port: number): Promise<void> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (bytes, { address: peer, port: peerPort }) => {
    contacts.push({
      kind: 'datagram',
      from: `${peer}:${peerPort}`,
      to: `${address}:${port}`,
      what: shortText(bytes),
    });
    socket.send(bytes, peerPort, peer);
  });
  socket.bind(port, address);
  await once(socket, 'listening');
}

async function resolverAt(address: string): Promise<Resolver> {
  const tcp = net.createServer().listen(DNS_PORT, address);
  const udp = dgram.createSocket('udp4').bind(DNS_PORT, address);
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening')]);
  return new Resolver(udp, tcp, {});
}

async function control(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  if (request.method === 'PUT' && request.url === '/zone') {
    setZone(JSON.parse(Buffer.concat(chunks).toString()) as Record<string, string | readonly string[] | null>);
    response.writeHead(204).end();
  } else if (request.method === 'DELETE') {
    contacts.length = 0;
    forgotten.splice(0, Infinity, ...resolvers.map(({ queries: seen }) => seen.count));
    response.writeHead(204).end();
  } else {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify([...contacts, ...queries()]));
  }
}

function setZone(zone: Record<string, string | readonly string[] | null>): void {
  for (const { zone: names } of resolvers) {
    for (const [name, entry] of Object.entries(zone)) entry === null ? names.delete(name) : names.set(name, entry);
  }
}

function queries(): Contact[] {
  return resolvers.flatMap(({ queries: seen }, index) =>
    seen.all.slice(forgotten[index]).map(({ name, type, transport }) => ({
      kind: 'query' as const,
      from: '',
      to: `${DNS_ADDRESSES[index]}:${DNS_PORT}/${transport}`,
      what: `${name} ${type}`,
    })),
  );
}

function note(kind: Contact['kind'], socket: Socket, what: string): void {
  const from = `${socket.remoteAddress}:${socket.remotePort}`;
  contacts.push({ kind, from, to: `${socket.localAddress}:${socket.localPort}`, what });
}

function shortText(bytes: Buffer): string {
  return bytes.toString('latin1', 0, KEPT_BYTES);
}

await main();
