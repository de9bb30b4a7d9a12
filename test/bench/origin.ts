// The origin of every measurement: nginx with TLS on one port and plain HTTP on another, and a name server that says 127.0.0.1
// for every name. Neither is what is measured, so both do as little as they can.
import dgram from 'node:dgram';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Certificates } from './certificates.ts';
import { accepts, type Cores, freePort, type Running, startPinned, stopChild, untilReady } from './machine.ts';

const SMALL_BYTES = 1024;
const MEDIUM_BYTES = 100 * 1024;
const LARGE_BYTES = 100 * 1024 * 1024;
/** Small enough to stay in the processor's cache, large enough that requests do not count. */
const TUNNEL_BYTES = 16 * 1024 * 1024;

export interface Origin extends Running {
  readonly tlsPort: number;
  /** TLS with HTTP/2 for those who offer it. The other port has none, so that nobody chooses it there. */
  readonly h2Port: number;
  readonly plainPort: number;
}

/** Starts nginx (one process) on `core`, with files of the sizes above under /v1/. */
export async function startOrigin(
  folder: string,
  certificates: Certificates,
  cores: Cores,
  core: number,
): Promise<Origin> {
  const home = path.join(folder, `origin-${core}-${Date.now()}`);
  makeFiles(home);
  const ports = { tlsPort: await freePort(), h2Port: await freePort(), plainPort: await freePort() };
  const config = path.join(home, 'nginx.conf');
  writeFileSync(config, nginxConfig(home, certificates, ports));
  const child = startPinned(cores, core, ['nginx', '-p', home, '-c', config, '-e', path.join(home, 'error.log')], {
    stdio: 'ignore',
  });
  await untilReady(child, () => accepts(ports.tlsPort), 'nginx');
  return { pid: child.pid, ...ports, stop: () => stopChild(child) };
}

function makeFiles(home: string): void {
  const files = path.join(home, 'files', 'v1');
  mkdirSync(files, { recursive: true });
  writeFileSync(path.join(files, '100k'), Buffer.alloc(MEDIUM_BYTES, 'x'));
  for (const [name, bytes] of [
    ['100m', LARGE_BYTES],
    ['tunnel', TUNNEL_BYTES],
  ] as const) {
    writeFileSync(path.join(files, name), '');
    truncateSync(path.join(files, name), bytes); // sparse: no disk is read or used
  }
}

function nginxConfig(
  home: string,
  certificates: Certificates,
  ports: Pick<Origin, 'tlsPort' | 'h2Port' | 'plainPort'>,
): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${home};`);
  return `
daemon off; master_process off; pid ${home}/nginx.pid;
events { worker_connections 16384; }
http {
  access_log off; sendfile on; tcp_nodelay on; etag off; default_type application/octet-stream;
  keepalive_timeout 600s; keepalive_requests 1000000000; open_file_cache max=16;
  ${temporary.join(' ')}
  ssl_certificate ${certificates.origin.cert}; ssl_certificate_key ${certificates.origin.key};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:bench:10m; ssl_buffer_size 16k;
  server {
    listen 127.0.0.1:${ports.tlsPort} ssl backlog=4096; listen 127.0.0.1:${ports.plainPort} backlog=4096;
    listen 127.0.0.1:${ports.h2Port} ssl http2 backlog=4096;
    root ${home}/files;
    location = /v1/1k { return 200 "${'x'.repeat(SMALL_BYTES)}"; }
  }
}
`;
}

/** Starts a name server on a free UDP port of loopback: A is 127.0.0.1 for every name, any other type has no answer. */
export async function startNameServer(): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (query, peer) => socket.send(nameAnswer(query), peer.port, peer.address));
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  return { port: socket.address().port, stop: () => new Promise((resolve) => socket.close(() => resolve())) };
}

const DNS_HEADER_BYTES = 12; // RFC 1035 4.1.1
const TYPE_A = 1;

function nameAnswer(query: Buffer): Buffer {
  let end = DNS_HEADER_BYTES;
  while ((query[end] ?? 0) !== 0) end += (query[end] ?? 0) + 1;
  end += 5; // the root label, type, class
  const isA = query.readUInt16BE(end - 4) === TYPE_A;
  const head = Buffer.from(query.subarray(0, end));
  head.writeUInt16BE(0x8580, 2); // response, authoritative, recursion desired and available
  head.writeUInt16BE(isA ? 1 : 0, 6);
  head.writeUInt32BE(0, 8);
  // name by pointer to the question, A, IN, TTL 60 s, 4 bytes: 127.0.0.1
  const answer = Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
  return isA ? Buffer.concat([head, answer]) : head;
}
