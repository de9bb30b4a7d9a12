/**
 * The routes of the test origin, by path. They run on node's HTTP/1.1 API and on its HTTP/2 compatibility API alike.
 */
import type { ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { pipeline, Readable } from 'node:stream';
import type { LiveReply, Origin, OriginReply, OriginRequest } from './origin.ts';

const LARGE_CHUNK_BYTES = 64 * 1024;

type Route = (exchange: Exchange) => void;
interface Exchange {
  readonly origin: Origin;
  readonly request: OriginRequest;
  readonly reply: OriginReply;
  readonly url: URL;
}

/** `/continue` sends 100 and reads on; every other route answers an Expect: 100-continue the same way but `/refuse`. */
const ROUTES: Readonly<Record<string, Route>> = {
  '/echo': echo,
  '/continue': echo,
  '/refuse': (exchange) => finish(exchange.reply, 417, 'no'),
  '/sse': (exchange) => live(exchange, 'text/event-stream'),
  '/live': (exchange) => live(exchange, 'application/octet-stream'),
  '/slow-read': slowRead,
  '/chunked': ({ reply }) => void chunked(reply),
  '/trailers': trailers,
  '/early-hints': earlyHints,
  '/early': (exchange) => finish(exchange.reply, 200, 'early'),
  '/large': large,
  '/redirect': ({ reply }) => reply.writeHead(302, { location: '/echo' }).end(),
  '/cookies': ({ reply }) => reply.writeHead(200, { 'set-cookie': ['a=1', 'b=2'] }).end(),
  '/reset': reset,
};

/** Answers one request: the test's own handler, `/status/<code>`, a route, or `ok`. */
export function answer(
  origin: Origin,
  request: OriginRequest,
  reply: OriginReply,
  handler: ((request: OriginRequest, reply: OriginReply) => boolean) | undefined,
): void {
  reply.on('error', () => undefined);
  if (handler?.(request, reply) === true) return;
  const url = new URL(request.url, 'http://origin.invalid');
  if (url.pathname !== '/refuse' && request.header('expect').length > 0) reply.writeContinue();
  if (url.pathname !== '/slow-read') request.incoming.resume();
  const status = /^\/status\/(\d{3})$/.exec(url.pathname)?.[1];
  if (status !== undefined) void reply.writeHead(Number(status)).end();
  else (ROUTES[url.pathname] ?? ok)({ origin, request, reply, url });
}

function finish(reply: ServerResponse, status: number, body: string): void {
  reply.writeHead(status, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(body) }).end(body);
}

function ok({ reply }: Exchange): void {
  finish(reply, 200, 'ok');
}

/** What arrived, as JSON, once all of it has. */
function echo({ request, reply }: Exchange): void {
  request.incoming.once('end', () => {
    const body = JSON.stringify({
      method: request.method,
      url: request.url,
      headers: request.headers,
      body: request.body.toString('latin1'),
      httpVersion: request.httpVersion,
      sni: request.sni ?? null,
      connection: request.connection,
    });
    reply.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
  });
}

/** The head at once; the body by the test, through `origin.live`. */
function live({ origin, request, reply }: Exchange, type: string): void {
  reply.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' });
  reply.flushHeaders();
  origin.live.push(liveReply(origin, request, reply));
}

/** As /live, and the request body stays unread until the test calls `request.incoming.resume()`. */
function slowRead(exchange: Exchange): void {
  exchange.request.incoming.pause();
  live(exchange, 'application/octet-stream');
}

function liveReply(origin: Origin, request: OriginRequest, reply: OriginReply): LiveReply {
  return {
    request,
    send: (chunk) =>
      new Promise((resolve, reject) => {
        reply.write(chunk, (error) => (error ? reject(error) : resolve()));
      }),
    end: (chunk) => void (chunk === undefined ? reply.end() : reply.end(chunk)),
    reset: () => breakOff(origin, request, reply),
    closed: new Promise((resolve) => reply.once('close', () => resolve(isComplete(reply)))),
  };
}

async function chunked(reply: OriginReply): Promise<void> {
  reply.writeHead(200, { 'content-type': 'text/plain' });
  for (const part of ['one', 'two', 'three']) {
    await new Promise((resolve) => reply.write(part, resolve));
  }
  reply.end();
}

/** Response trailers, one of which repeats the request's trailers as JSON. */
function trailers({ request, reply }: Exchange): void {
  request.incoming.once('end', () => {
    reply.writeHead(200, { 'content-type': 'text/plain', trailer: 'x-checksum, x-request-trailers' });
    reply.write('body before trailers');
    reply.addTrailers({ 'x-checksum': 'abc123', 'x-request-trailers': JSON.stringify(request.trailers) });
    reply.end();
  });
}

function earlyHints({ reply }: Exchange): void {
  reply.writeEarlyHints({ link: '</style.css>; rel=preload; as=style' });
  finish(reply, 200, 'after hints');
}

/** `?bytes=N` of one repeated byte, written no faster than they are read; `&chunked` leaves out Content-Length. */
function large({ reply, url }: Exchange): void {
  const bytes = Number(url.searchParams.get('bytes') ?? 0);
  reply.writeHead(200, url.searchParams.has('chunked') ? {} : { 'content-length': bytes });
  pipeline(Readable.from(repeated(bytes)), reply, () => undefined);
}

function* repeated(bytes: number): Generator<Buffer> {
  const chunk = Buffer.alloc(LARGE_CHUNK_BYTES, 'x');
  for (let left = bytes; left > 0; left -= chunk.length) yield left < chunk.length ? chunk.subarray(0, left) : chunk;
}

/** Ten bytes of a promised thousand, and then a reset. */
function reset({ origin, request, reply }: Exchange): void {
  reply.writeHead(200, { 'content-length': 1000 });
  reply.write('0123456789', () => breakOff(origin, request, reply));
}

function breakOff(origin: Origin, request: OriginRequest, reply: OriginReply): void {
  const stream = streamOf(reply);
  if (stream !== undefined)
    stream.close(2); // INTERNAL_ERROR, RFC 9113 section 7
  else origin.resetConnection(request);
}

/** node:http2 ends the writable side of a stream that is broken off, so there `aborted` is what tells. */
function isComplete(reply: OriginReply): boolean {
  const stream = streamOf(reply);
  return stream === undefined ? reply.writableFinished : !stream.aborted;
}

/** The stream under a response of the HTTP/2 compatibility API. */
function streamOf(reply: OriginReply): ServerHttp2Stream | undefined {
  return (reply as unknown as { stream?: ServerHttp2Stream }).stream;
}
