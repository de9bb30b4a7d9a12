import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { Seen } from '../../kit/seen.ts';
import { TempFolder } from '../../kit/temp.ts';
import { allowPath, countingOrigin, getThrough } from './through-proxy.ts';

const DAEMON = path.join(import.meta.dirname, '../../../src/daemon/main.ts');

interface LogLine {
  readonly event?: string;
  readonly listen?: string;
}

/** A daemon whose standard output is this descriptor. */
function daemonWritingTo(
  folder: TempFolder,
  stdout: number | 'pipe',
): { readonly child: ChildProcess; readonly log: Seen<LogLine> } {
  const rules = folder.write('rules.yaml', allowPath('/'));
  const args = ['--listen', '127.0.0.1:0', '--rules', rules, '--admin-socket', path.join(folder.path, 'admin.sock')];
  const child = spawn(
    process.execPath,
    [DAEMON, ...args, '--workers', '1', '--allow-private', '127.0.0.0/8', '--drain-secs', '0'],
    {
      stdio: ['ignore', stdout, 'pipe'],
      env: { PATH: process.env['PATH'] ?? '' },
    },
  );
  const log = new Seen<LogLine>('line of the log');
  if (child.stderr !== null)
    createInterface({ input: child.stderr }).on('line', (line) => log.push(JSON.parse(line) as LogLine));
  return { child, log };
}

async function portOf(log: Seen<LogLine>): Promise<number> {
  const { listen } = await log.some(({ event }) => event === 'ready');
  return Number(listen?.split(':')[1]);
}

async function ended(child: ChildProcess): Promise<number | null> {
  const code = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  return code;
}

describe('when audit records cannot be written', () => {
  it('because the disk is full, nothing new is let through, and the daemon still ends when told', async () => {
    using folder = new TempFolder();
    await using origin = await countingOrigin();
    const full = openSync('/dev/full', 'w');
    const { child, log } = daemonWritingTo(folder, full);
    closeSync(full);
    const port = await portOf(log);
    const url = `http://127.0.0.1:${origin.port}/`;
    expect((await getThrough(port, `${url}first`)).status).toBe(200); // its record is what finds the disk full
    await log.some(({ event }) => event === 'audit_failed');
    expect(await getThrough(port, `${url}second`)).toMatchObject({ status: 503, failure: 'audit_unavailable' });
    expect(origin.paths).toEqual(['/first']);
    expect(await ended(child)).toBe(0);
  });

  it('because their reader is gone, nothing new is let through', async () => {
    using folder = new TempFolder();
    await using origin = await countingOrigin();
    const { child, log } = daemonWritingTo(folder, 'pipe');
    const port = await portOf(log);
    const url = `http://127.0.0.1:${origin.port}/`;
    expect((await getThrough(port, `${url}before`)).status).toBe(200);
    child.stdout?.destroy();
    await getThrough(port, `${url}finds-out`);
    await log.some(({ event }) => event === 'audit_failed');
    expect(await getThrough(port, `${url}after`)).toMatchObject({ status: 503, failure: 'audit_unavailable' });
    expect(origin.paths).not.toContain('/after');
    expect(await ended(child)).toBe(0);
  });
});
