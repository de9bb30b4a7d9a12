import { describe, expect, it } from 'vitest';
import { resetConnection } from '../../../src/upstream/reset.ts';
import { testCa } from '../../kit/pki.ts';
import { startRawOrigin } from '../../kit/raw-origin.ts';
import { nextTurn, within } from '../../kit/within.ts';
import { requestFor, testUpstream } from './support.ts';

const ca = testCa();

describe('resetConnection', () => {
  it('lets the peer of a TCP connection see a reset, where an end would be seen as an end', async () => {
    await using origin = await startRawOrigin();
    using upstream = testUpstream();
    const reset = await upstream.dialPlain(requestFor('127.0.0.1', origin.port));
    const first = await origin.peers.next();
    resetConnection(reset.raw, reset.socket);
    expect(await first.untilEnded()).toBe('ECONNRESET');
    const ended = await upstream.dialPlain(requestFor('127.0.0.1', origin.port));
    ended.socket.end();
    expect(await (await origin.peers.next()).untilEnded()).toBe('FIN');
    ended.socket.destroy();
  });

  it('lets the peer of a TLS connection see a reset, and destroys the TLS socket', async () => {
    await using origin = await startRawOrigin({ tls: { ca, names: ['127.0.0.1'] } });
    using upstream = testUpstream({ upstreamCaPem: [ca.certPem] });
    const session = await upstream.dialTls(requestFor('127.0.0.1', origin.port), ['http/1.1']);
    const peer = await origin.peers.next();
    session.socket.write('x');
    await peer.readExactly(1);
    const closed = new Promise((resolve) => session.socket.once('close', resolve));
    resetConnection(session.raw, session.socket);
    expect(await peer.untilEnded()).toBe('ECONNRESET');
    await within(closed, 5_000, 'the close of the TLS socket');
    expect(session.socket.destroyed).toBe(true);
  });

  it('is harmless in the middle of a write, twice, and on a connection that is gone', async () => {
    await using origin = await startRawOrigin({ tls: { ca, names: ['127.0.0.1'] } });
    using upstream = testUpstream({ upstreamCaPem: [ca.certPem] });
    const { raw, socket } = await upstream.dialTls(requestFor('127.0.0.1', origin.port), ['http/1.1']);
    const peer = await origin.peers.next();
    socket.write(Buffer.alloc(4 * 1024 * 1024));
    await peer.readExactly(1);
    resetConnection(raw, socket);
    resetConnection(raw, socket);
    expect(await peer.untilEnded()).toBe('ECONNRESET');
    await nextTurn();
    resetConnection(raw, socket);
    await nextTurn();
    expect([raw.destroyed, socket.destroyed]).toEqual([true, true]);
  });
});
