/**
 * The internet of the jail: HTTP, HTTPS, TCP services where the server speaks first or echoes, UDP echoes and a DNS
 * server, on every address. Tells its parent each contact.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { Resolver, type Zone } from '../kit/resolver.ts';
import { RESOLVER } from './network.ts';

export interface InetStart {
  readonly certPem: string;
  readonly keyPem: string;
  readonly zone: Zone;
}

/** `what` is `http`, `https`, `tcp`, `udp` or `dns`; `where` the address and port that was asked, or the name. */
export interface Contact {
  readonly what: string;
  readonly where: string;
  readonly from: string;
  readonly said: string;
}

/** TCP services beside the web: a greeting first, as ssh and SMTP do; then what is sent comes back. */
export const GREETING_PORTS = [22, 25, 9000] as const;
/** TCP services that wait for the client, as Postgres does. */
export const WAITING_PORTS = [5432, 853, 8443] as const;
export const UDP_PORTS = [123, 443, 853, 9001] as const;

function tell(contact: Contact): void {
  process.send?.(contact);
}

function whereOf(socket: net.Socket): Pick<Contact, 'where' | 'from'> {
  return { where: `${socket.localAddress}:${socket.localPort}`, from: socket.remoteAddress ?? '' };
}

function serveWeb(start: InetStart): net.Server[] {
  const answer = (what: string) => (request: http.IncomingMessage, response: http.ServerResponse) => {
    tell({ what, ...whereOf(request.socket), said: `${request.method} ${request.headers.host}${request.url}` });
    response.end(`${what} origin\n`);
  };
  return [
    http.createServer(answer('http')).listen(80, '0.0.0.0'),
    https.createServer({ cert: start.certPem, key: start.keyPem }, answer('https')).listen(443, '0.0.0.0'),
  ];
}

function serveTcp(port: number, greeting: string): net.Server {
  const server = net.createServer((socket) => {
    tell({ what: 'tcp', ...whereOf(socket), said: '' });
    socket.on('error', () => undefined);
    socket.write(greeting);
    socket.on('data', (data) => {
      tell({ what: 'tcp', ...whereOf(socket), said: data.toString('latin1') });
      socket.write(data);
    });
  });
  return server.listen(port, '0.0.0.0');
}

async function serveUdp(port: number): Promise<void> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (data, from) => {
    tell({ what: 'udp', where: `port ${port}`, from: from.address, said: data.toString('latin1') });
    socket.send(data, from.port, from.address);
  });
  socket.bind(port, '0.0.0.0');
  await once(socket, 'listening');
}

async function serveDns(zone: Zone): Promise<void> {
  const tcp = net.createServer().listen(53, RESOLVER);
  const udp = dgram.createSocket('udp4');
  udp.bind(53, RESOLVER);
  await Promise.all([once(tcp, 'listening'), once(udp, 'listening')]);
  const { queries } = new Resolver(udp, tcp, zone);
  const push = queries.push.bind(queries);
  queries.push = (query) => {
    tell({ what: 'dns', where: query.name, from: '', said: query.type });
    push(query);
  };
}

async function open(start: InetStart): Promise<void> {
  const servers = [
    ...serveWeb(start),
    ...GREETING_PORTS.map((port) => serveTcp(port, 'SSH-2.0-jail\r\n')),
    ...WAITING_PORTS.map((port) => serveTcp(port, '')),
  ];
  await Promise.all([
    ...servers.map((server) => once(server, 'listening')),
    serveDns(start.zone),
    ...UDP_PORTS.map(serveUdp),
  ]);
  process.send?.('ready');
}

process.once('message', (start: InetStart) => void open(start));
process.once('disconnect', () => process.exit(0));
