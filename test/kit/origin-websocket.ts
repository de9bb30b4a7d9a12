/**
 * WebSocket at the test origin: `/ws` echoes messages over HTTP/1.1, and bytes over an RFC 8441 stream of HTTP/2;
 * `/ws-101-raw` answers 101 and then echoes raw bytes, which are no WebSocket frames. Other upgrades get 400.
 */
import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Origin, OriginRequest } from './origin.ts';

export function acceptWebSockets(
  origin: Origin,
  server: Server,
  record: (request: IncomingMessage) => OriginRequest,
): void {
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] ?? false });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => undefined);
    origin.requests.push(record(request));
    const path = request.url?.split('?')[0];
    if (path === '/ws') sockets.handleUpgrade(request, socket, head, (peer) => echoMessages(origin, peer));
    else if (path === '/ws-101-raw') echoRaw(socket);
    else socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n');
  });
  server.on('connect', (request: Http2ServerRequest, response: Http2ServerResponse) => {
    if (request.headers[':protocol'] === 'websocket') echoStream(request, record);
    else response.writeHead(405).end();
  });
}

function echoMessages(origin: Origin, peer: WebSocket): void {
  peer.on('error', () => undefined);
  peer.on('message', (data: Buffer, binary: boolean) => {
    origin.messages.push(data);
    peer.send(data, { binary });
  });
}

function echoStream(request: Http2ServerRequest, record: (request: IncomingMessage) => OriginRequest): void {
  record(request as unknown as IncomingMessage);
  request.stream.respond({ ':status': 200 });
  request.stream.on('error', () => undefined);
  request.stream.pipe(request.stream);
}

function echoRaw(socket: Duplex): void {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
  socket.pipe(socket);
}
