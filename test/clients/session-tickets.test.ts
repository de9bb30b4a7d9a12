/**
 * Session tickets as clients meet them, with the daemon's own configuration of OpenSSL: one for each full handshake of
 * TLS 1.3, and a later connection resumes by it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type tls from 'node:tls';
import { describe, expect, it } from 'vitest';
import { openHttps } from '../kit/agent.ts';
import { type ClientScene, startClientScene } from './scene.ts';

const CONFIGURATION = join(import.meta.dirname, '../../images/appliance/openssl.cnf');
const QUICK = { tls: { alpn: ['http/1.1'] as const }, ca: { algorithm: 'ecdsa' } as const };

/** One request on a connection of its own. All tickets come before the answer. */
async function connect(scene: ClientScene, session?: Buffer): Promise<{ tickets: Buffer[]; resumed: boolean }> {
  const ca = readFileSync(scene.outcallCaFile, 'utf8');
  const target = `api.test:${scene.origin.port}`;
  await using agent = await openHttps(scene.daemon, target, { ca, ...(session === undefined ? {} : { session }) });
  const socket = agent.socket as tls.TLSSocket;
  const tickets: Buffer[] = [];
  socket.on('session', (ticket) => tickets.push(ticket));
  expect((await agent.request({ target: '/', headers: [`Host: ${target}`] })).status).toBe(200);
  return { tickets, resumed: socket.isSessionReused() };
}

describe('a full handshake of TLS 1.3', () => {
  it('gives one ticket, which a second worker takes too, and two without the configuration', async () => {
    await using scene = await startClientScene({
      ...QUICK,
      args: ['--workers', '2'],
      env: { OPENSSL_CONF: CONFIGURATION },
    });
    const { tickets, resumed } = await connect(scene);
    expect([tickets.length, resumed]).toEqual([1, false]);
    // Eight connections are on both workers, but for a chance of one in 128.
    for (let i = 0; i < 8; i++) expect((await connect(scene, tickets[0])).resumed).toBe(true);
    await using plain = await startClientScene(QUICK);
    expect((await connect(plain)).tickets.length).toBe(2);
  });
});
