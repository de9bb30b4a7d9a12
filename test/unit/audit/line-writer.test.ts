import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineWriter } from '../../../src/audit/line-writer.ts';

let folder: string;
const open: number[] = [];

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(tmpdir(), 'outcall-lines-'));
});

afterEach(() => {
  for (const fd of open.splice(0)) fs.closeSync(fd);
  fs.rmSync(folder, { recursive: true });
});

function fdOf(file: string, flags: string | number): number {
  const fd = fs.openSync(file, flags);
  open.push(fd);
  return fd;
}

/** A pipe with a name: both ends are ours, and nothing takes what is written until the test reads it. */
function fifo(): { readonly read: number; readonly write: number } {
  const file = path.join(folder, 'fifo');
  execFileSync('mkfifo', [file]);
  const read = fdOf(file, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  return { read, write: fdOf(file, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK) };
}

function drainOnce(fd: number): Buffer {
  const buffer = Buffer.alloc(1024 * 1024);
  try {
    return buffer.subarray(0, fs.readSync(fd, buffer));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return Buffer.alloc(0);
    throw error;
  }
}

describe('LineWriter', () => {
  it('writes lines whole and in order, strings and buffers mixed, in one file', async () => {
    const file = path.join(folder, 'out');
    const writer = new LineWriter(fdOf(file, 'w'));
    const expected: string[] = [];
    for (let i = 0; i < 5_000; i++) {
      const line = `line ${i} é${'x'.repeat(i % 50)}\n`;
      expected.push(line);
      writer.write(i % 3 === 0 ? Buffer.from(line) : line);
    }
    await writer.flush();
    expect(fs.readFileSync(file, 'utf8')).toBe(expected.join(''));
    expect(writer.waitingBytes).toBe(0);
    expect(writer.dropped).toBe(0);
  });

  it('writes nothing on the caller’s stack, and the line all the same without a flush', async () => {
    const file = path.join(folder, 'out');
    const { promise: written, resolve } = Promise.withResolvers<void>();
    const writer = new LineWriter(fdOf(file, 'w'), { onProgress: resolve });
    writer.write('one\n');
    expect(fs.readFileSync(file, 'utf8')).toBe('');
    await written;
    expect(fs.readFileSync(file, 'utf8')).toBe('one\n');
  });

  it('says blocked when a reader stalls, loses nothing below twice the cap, and recovers when it reads on', async () => {
    const { read, write } = fifo();
    const writer = new LineWriter(write, { capBytes: 256 * 1024 });
    const line = `${'y'.repeat(1023)}\n`;
    let written = 0;
    while (!writer.blocked) {
      writer.write(line);
      written++;
    }
    expect(written).toBeGreaterThan(255);
    const flushed = writer.flush();
    let received = 0;
    let done = false;
    void flushed.then(() => {
      done = true;
    });
    while (!done) {
      received += drainOnce(read).length;
      await new Promise((resolve) => setImmediate(resolve));
    }
    received += drainOnce(read).length;
    expect(received).toBe(written * line.length);
    expect(writer.blocked).toBe(false);
    expect(writer.dropped).toBe(0);
  });

  it('does not grow past twice the cap, and counts what it drops', () => {
    const { write } = fifo();
    const writer = new LineWriter(write, { capBytes: 64 * 1024 });
    const line = `${'z'.repeat(1023)}\n`;
    for (let i = 0; i < 1_000; i++) writer.write(line);
    expect(writer.waitingBytes).toBeLessThanOrEqual(2 * 64 * 1024 + line.length);
    expect(writer.dropped).toBeGreaterThan(0);
  });

  it('is blocked at once when the disk is full, tells it once, and keeps the lines', async () => {
    const { promise: trouble, resolve } = Promise.withResolvers<NodeJS.ErrnoException | undefined>();
    let calls = 0;
    const writer = new LineWriter(fdOf('/dev/full', 'w'), {
      onTrouble: (error) => {
        calls++;
        resolve(error);
      },
    });
    expect(writer.blocked).toBe(false);
    writer.write('a record\n');
    void writer.flush();
    expect((await trouble)?.code).toBe('ENOSPC');
    expect(writer.blocked).toBe(true);
    expect(writer.waitingBytes).toBe('a record\n'.length);
    expect(calls).toBe(1);
  });

  it('flushSync saves what waits when the process is about to end', () => {
    const file = path.join(folder, 'out');
    const writer = new LineWriter(fdOf(file, 'w'));
    writer.write('last words\n');
    writer.flushSync();
    expect(fs.readFileSync(file, 'utf8')).toBe('last words\n');
  });
});
