import { closeSync, openSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { listeningAddress } from '../../../src/daemon/inherited-socket.ts';
import { formatIpv4 } from '../../../src/domain/ipv4-range.ts';

async function listening(host: string): Promise<{ fd: number; port: number; server: net.Server }> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  return { fd, port: (server.address() as AddressInfo).port, server };
}

describe('the inherited socket', () => {
  it('is known by where it listens', async () => {
    const { fd, port, server } = await listening('127.0.0.7');
    const found = listeningAddress(fd);
    server.close();
    expect([found && formatIpv4(found.address), found?.port]).toEqual(['127.0.0.7', port]);
  });

  it('is none where the descriptor is closed, a file, over IPv6, or connected', async () => {
    const { fd, port, server } = await listening('::1');
    expect(listeningAddress(fd)).toBeUndefined();
    const client = net.connect(port, '::1');
    await new Promise((resolve) => client.once('connect', resolve));
    expect(listeningAddress((client as unknown as { _handle: { fd: number } })._handle.fd)).toBeUndefined();
    client.destroy();
    server.close();
    const file = openSync('/dev/null', 'r');
    expect(listeningAddress(file)).toBeUndefined();
    closeSync(file);
    expect(listeningAddress(file)).toBeUndefined();
  });
});
