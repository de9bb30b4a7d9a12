import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { readDirectly, stopDirectReads } from '../../src/proxy/direct-reads.ts';

/** Two ends of one connection. */
async function connected(): Promise<{ readonly writer: Socket; readonly reader: Socket; close(): void }> {
  const server = net.createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const writer = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  const [reader] = (await once(server, 'connection')) as [Socket];
  const close = (): void => {
    writer.destroy();
    reader.destroy();
    server.close();
  };
  return { writer, reader, close };
}

describe('a socket that is read directly', () => {
  it('gives every byte once and in order, wherever it is paused, handed over and ended', async () => {
    const { writer, reader, close } = await connected();
    const sent = Array.from({ length: 2_000 }, (_, i) => randomBytes(1 + ((i * 7_919) % 30_000)));
    const got: Buffer[] = [];
    let chunks = 0;
    const take = (chunk: Buffer): void => {
      got.push(chunk);
      chunks++;
      if (chunks % 3 === 0) {
        reader.pause();
        setImmediate(() => reader.resume());
      }
      if (chunks % 50 === 0) {
        stopDirectReads(reader, take);
        if (chunks % 100 === 0) readDirectly(reader, take);
        else reader.on('data', take);
      }
    };
    readDirectly(reader, take);
    for (const piece of sent) writer.write(piece);
    writer.end();
    await once(reader, 'end');
    expect(Buffer.concat(got).equals(Buffer.concat(sent))).toBe(true);
    expect(chunks).toBeGreaterThan(100);
    close();
  });

  it('holds its sender back while it is paused, as any socket does, and takes the rest after', async () => {
    const { writer, reader, close } = await connected();
    const piece = Buffer.alloc(1024 * 1024, 'x');
    let taken = 0;
    readDirectly(reader, (chunk) => {
      if (taken === 0) reader.pause();
      taken += chunk.length;
    });
    for (let i = 0; i < 32; i++) writer.write(piece);
    while (taken === 0) await new Promise((resolve) => setImmediate(resolve));
    // Until the kernel and Readable are full and nothing moves any more.
    for (let before = -1; before !== writer.bytesWritten - writer.writableLength; ) {
      before = writer.bytesWritten - writer.writableLength;
      for (let turns = 0; turns < 200; turns++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(reader.bytesRead).toBeLessThan(512 * 1024);
    expect(reader.bytesRead - taken).toBe(reader.readableLength);
    reader.resume();
    writer.end();
    await once(reader, 'end');
    expect(taken).toBe(32 * piece.length);
    close();
  });
});
