/**
 * HTTP/2 clients that leave (curl does, Node does) as soon as they have read what Content-Length promised, while the
 * origin's END_STREAM is still on its way: for them the exchange was whole, and the record must not call it broken.
 */
import { readFileSync } from 'node:fs';
import { constants } from 'node:http2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { H2Agent, openTunnel, startTls } from '../kit/agent.ts';
import type { OriginReply, OriginRequest } from '../kit/origin.ts';
import { type ClientScene, startClientScene } from './scene.ts';

/** `/<declared>` promises so many bytes, sends four, and never ends. */
function unending(request: OriginRequest, reply: OriginReply): boolean {
  reply.writeHead(200, { 'content-length': request.url.slice(1) });
  reply.write('four');
  return true;
}

let scene: ClientScene;
beforeAll(async () => {
  scene = await startClientScene({ origin: { handler: unending } });
});
afterAll(() => scene[Symbol.asyncDispose]());

async function openH2(): Promise<H2Agent> {
  const target = `api.test:${scene.origin.port}`;
  const ca = readFileSync(scene.outcallCaFile, 'utf8');
  const socket = await startTls(await openTunnel(scene.daemon, target), { ca, servername: 'api.test', alpn: ['h2'] });
  return new H2Agent(socket, target);
}

/** Asks for `path`, reads four bytes, and leaves. */
async function readFour(path: string, leave: 'stream' | 'connection'): Promise<void> {
  const client = await openH2();
  const stream = client.session.request({ ':path': path });
  stream.on('error', () => undefined);
  await new Promise((resolve) => stream.once('data', resolve));
  if (leave === 'stream') stream.close(constants.NGHTTP2_CANCEL);
  await client[Symbol.asyncDispose]();
}

describe.each(['stream', 'connection'] as const)('an HTTP/2 client that ends its %s', (leave) => {
  it('with all bytes of Content-Length read is recorded as served, and one short of them as gone', async () => {
    await readFour('/4', leave);
    const served = await scene.daemon.records.next(({ path }) => path === '/4');
    expect(served).toMatchObject({ verdict: 'allow', reason: null, status: 200, bytes_down: 4 });
    await readFour('/5', leave);
    const gone = await scene.daemon.records.next(({ path }) => path === '/5');
    expect(gone).toMatchObject({ verdict: 'failed', reason: 'client_closed', status: 200, bytes_down: 4 });
  });
});
