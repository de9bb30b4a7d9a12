/**
 * Where the bytes of the CA key are: in the signer's locked memory while it signs, nowhere after it stopped, and at no time
 * in a worker (row 35, S011-EC-011). Looks into /proc/PID/mem of real processes.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { canonicalHost, type Host } from '../../../src/domain/hostname.ts';
import { initCa } from '../../../src/pki/ca-files.ts';
import { serveLeaves } from '../../../src/pki/leaf-server.ts';
import { SignerClient, signerReady, stopSigner } from '../../../src/pki/signer-client.ts';
import { SIGNER_EXEC_ARGV } from '../../../src/pki/signer-process.ts';
import { TempFolder } from '../../kit/temp.ts';
import { ipcPort } from './ports.ts';

const HOSTS = ['a.test', 'b.test', 'c.test'];

describe.each(['rsa', 'ecdsa'] as const)('the bytes of an %s CA key', (algorithm) => {
  it('are in no form in a worker, in the signer only as it signs, and gone when it has stopped', async () => {
    using folder = new TempFolder();
    const { paths } = await initCa(folder.path, { algorithm, force: false, now: Date.now() });
    const needles = formsOf(paths.key);
    const { child: signer, lacking } = await startSigner(paths.cert, paths.key);
    using _signer = ended(signer);
    expect(lacking).toEqual([]);
    const client = new SignerClient(ipcPort(signer));

    const worker = fork(join(import.meta.dirname, 'worker-child.ts'), HOSTS, { execArgv: [] });
    using _worker = ended(worker);
    const done = new Promise((resolve) => {
      worker.on('message', (message) => (message as { type: string }).type === 'done' && resolve(message));
    });
    serveLeaves(ipcPort(worker), (host) => client.leafFor(host));
    expect(await done).toEqual({ type: 'done', size: HOSTS.length });

    const { keyPem } = await client.leafFor(canonicalHost('a.test') as Host);
    expect(found(worker, { leafKey: Buffer.from(keyPem) }), 'the search finds what is there').toEqual(['leafKey']);
    expect(found(worker, needles)).toEqual([]);
    // Not the file's text, nor its DER: only OpenSSL's own numbers.
    expect(found(signer, needles).filter((form) => !form.startsWith('number'))).toEqual([]);
    expect(found(signer, needles)).toContain('number of d');

    expect(readFileSync(`/proc/${signer.pid}/coredump_filter`, 'latin1').trim()).toBe('00000000');
    expect(/VmLck:\s+(\d+) kB/.exec(readFileSync(`/proc/${signer.pid}/status`, 'latin1'))?.[1]).toBe('64');

    expect(await stopSigner(ipcPort(signer))).toBe(true);
    expect(found(signer, needles)).toEqual([]);
    expect(signer.exitCode, 'it was alive when its memory was searched').toBeNull();
  });
});

async function startSigner(cert: string, key: string): Promise<{ child: ChildProcess; lacking: unknown }> {
  const child = fork(join(import.meta.dirname, 'signer-child.ts'), [cert, key], { execArgv: [...SIGNER_EXEC_ARGV] });
  const ready = signerReady(ipcPort(child));
  const [hardened] = await once(child, 'message');
  await ready;
  return { child, lacking: (hardened as { lacking: unknown }).lacking };
}

function ended(child: ChildProcess): Disposable {
  return { [Symbol.dispose]: () => void child.kill('SIGKILL') };
}

/** The key as it is written in the file, as it is encoded, and as OpenSSL computes with it (words, least significant first). */
function formsOf(keyPath: string): Record<string, Buffer> {
  const pem = readFileSync(keyPath, 'latin1');
  const base64 = pem.split('\n').slice(1, -2);
  const key = createPrivateKey(pem);
  const der = key.export({ type: 'pkcs8', format: 'der' });
  const jwk = key.export({ format: 'jwk' }) as Record<string, string>;
  const forms: Record<string, Buffer> = { 'PEM line': Buffer.from(base64[1] as string) };
  // Where the public part of the file ends for certain: within the private numbers.
  for (const name of ['d', 'p', 'q'].filter((part) => jwk[part] !== undefined)) {
    const number = Buffer.from(jwk[name] as string, 'base64url');
    expect(der.includes(number)).toBe(true);
    forms[`DER of ${name}`] = number.subarray(0, 32);
    forms[`number of ${name}`] = Buffer.from(number).reverse().subarray(0, 32);
  }
  if (jwk['p'] !== undefined) forms['private PEM line'] = Buffer.from(base64[40] as string);
  return forms;
}

function found(child: ChildProcess, needles: Record<string, Buffer>): string[] {
  const names = new Set<string>();
  for (const region of regions(child.pid as number)) {
    for (const [name, needle] of Object.entries(needles)) if (region.includes(needle)) names.add(name);
  }
  return [...names];
}

/**
 * All memory that the process could have written data to: not the files that it maps read-only, and not the 500 MB that V8
 * reserves for machine code. What the kernel does not give (guard pages) is left out.
 */
function* regions(pid: number): Generator<Buffer> {
  const fd = openSync(`/proc/${pid}/mem`, 'r');
  try {
    const maps = readFileSync(`/proc/${pid}/maps`, 'latin1').matchAll(
      /^([0-9a-f]+)-([0-9a-f]+) (r.)(.)\S \S+ \S+ (\d+)/gm,
    );
    for (const [, from, to, readWrite, execute, inode] of maps) {
      if (execute === 'x' || (inode !== '0' && readWrite !== 'rw')) continue;
      const bytes = read(fd, BigInt(`0x${from}`), Number(BigInt(`0x${to}`) - BigInt(`0x${from}`)));
      if (bytes !== undefined) yield bytes;
    }
  } finally {
    closeSync(fd);
  }
}

function read(fd: number, position: bigint, size: number): Buffer | undefined {
  const bytes = Buffer.allocUnsafe(size);
  let filled = 0;
  try {
    while (filled < size) {
      const got = readSync(fd, bytes, filled, size - filled, position + BigInt(filled));
      if (got === 0) break;
      filled += got;
    }
  } catch {
    if (filled === 0) return undefined;
  }
  return bytes.subarray(0, filled);
}
