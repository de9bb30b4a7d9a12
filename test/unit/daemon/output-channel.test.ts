import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { openOutputChannel } from '../../../src/daemon/output-channel.ts';

/** Runs `script` with its standard output on a channel; gives what came, once the channel has ended. */
async function outputOf(script: string): Promise<Buffer> {
  const taken: Buffer[] = [];
  const { ours, theirs } = await openOutputChannel((bytes) => taken.push(Buffer.from(bytes)));
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', theirs, 'inherit'] });
  theirs.destroy();
  await Promise.all([once(child, 'exit'), once(ours, 'close')]);
  return Buffer.concat(taken);
}

describe('an output channel', () => {
  it('gives all that a process and those it started wrote, in order, and ends with the last of them', async () => {
    expect((await outputOf('echo one; (echo two) & wait; echo three')).toString()).toBe('one\ntwo\nthree\n');
    const long = await outputOf('seq 1 300000');
    expect(long.toString().split('\n').slice(0, -1).map(Number)).toEqual(
      Array.from({ length: 300_000 }, (_, i) => i + 1),
    );
  });

  it('gives nothing while it is paused, and the rest after', async () => {
    let taken = '';
    const { ours, theirs } = await openOutputChannel((bytes) => {
      taken += bytes.toString();
    });
    const write = (text: string): Promise<void> => new Promise((resolve) => theirs.write(text, () => resolve()));
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    await write('a');
    while (taken === '') await turn();
    ours.pause();
    await write('b');
    for (let turns = 0; turns < 10; turns++) await turn();
    expect(taken).toBe('a');
    ours.resume();
    theirs.end('c');
    await once(ours, 'close');
    expect(taken).toBe('abc');
  });
});
