/** The processes below a daemon, found in /proc: by the title that each gives itself. */
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import type { TestDaemon } from '../../kit/daemon.ts';

/** Mappings larger than this are reserved address space of the engine, not memory that holds anything. */
const MAX_MAPPING_BYTES = 512 * 1024 * 1024;

/** The process id of a child that calls itself `outcalld NAME`: worker-0, signer. */
export function childNamed(daemon: TestDaemon, name: string): number {
  const found = readdirSync('/proc')
    .filter((entry) => /^[0-9]+$/.test(entry))
    .map(Number)
    .find((pid) => parentOf(pid) === daemon.process.pid && commandLineOf(pid).startsWith(`outcalld ${name}`));
  if (found === undefined) throw new Error(`the daemon has no child ${name}`);
  return found;
}

/** False for a process that ended, waited for or not. */
export function isAlive(pid: number): boolean {
  return parentOf(pid) !== undefined && commandLineOf(pid) !== '';
}

export function commandLineOf(pid: number): string {
  return readOrEmpty(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
}

export function environmentOf(pid: number): string {
  return readOrEmpty(`/proc/${pid}/environ`);
}

/** The files that are mapped into the process, libraries among them. */
export function mappedFilesOf(pid: number): ReadonlySet<string> {
  return new Set(readOrEmpty(`/proc/${pid}/maps`).match(/\/.*$/gm));
}

/** Whether these bytes stand anywhere in the memory of the process. */
export function memoryHolds(pid: number, needle: Buffer): boolean {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    return mappingsOf(pid).some(({ start, length }) => readMapping(memory, start, length)?.includes(needle) === true);
  } finally {
    closeSync(memory);
  }
}

function mappingsOf(pid: number): { readonly start: number; readonly length: number }[] {
  return readOrEmpty(`/proc/${pid}/maps`)
    .split('\n')
    .flatMap((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
      if (match === null || line.includes('[v')) return [];
      const start = Number.parseInt(match[1] ?? '', 16);
      const length = Number.parseInt(match[2] ?? '', 16) - start;
      return length <= MAX_MAPPING_BYTES ? [{ start, length }] : [];
    });
}

function readMapping(memory: number, start: number, length: number): Buffer | undefined {
  const buffer = Buffer.alloc(length);
  try {
    return buffer.subarray(0, readSync(memory, buffer, 0, length, start));
  } catch {
    return undefined; // gone, or not to be read
  }
}

function parentOf(pid: number): number | undefined {
  const stat = readOrEmpty(`/proc/${pid}/stat`);
  return stat === '' ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
