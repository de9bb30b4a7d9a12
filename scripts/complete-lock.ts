/**
 * Names in package-lock.json what npm left out of it: optional packages for other platforms that the registry at hand
 * did not have when the lock was written. Without an entry for each, `npm ci` calls the lock out of sync. To be run after
 * every `npm install` (`npm run lock`); a test sees to it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const LOCK = path.resolve(import.meta.dirname, '../package-lock.json');
const FOLDER = 'node_modules/';

interface LockEntry {
  readonly version?: string;
  readonly integrity?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

export interface Lock {
  readonly packages: Readonly<Record<string, LockEntry>>;
  readonly [field: string]: unknown;
}

/** Entries for the optional packages that some package names and the lock does not have; empty when it is complete. */
export function missingEntries({ packages }: Lock): Record<string, LockEntry> {
  const missing: Record<string, LockEntry> = {};
  for (const [where, entry] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const isThere = `${FOLDER}${name}` in packages || `${where}/${FOLDER}${name}` in packages;
      if (!isThere) missing[`${FOLDER}${name}`] = { version, dev: true, optional: true, ...platformOf(name) };
    }
  }
  return missing;
}

/** Where a binary package is for, as its name ends by custom: `-os-cpu` and perhaps a C library. */
function platformOf(name: string): { cpu: string[]; os: string[]; libc?: string[] } {
  const match = /(?:^|[-/])(android|darwin|freebsd|linux|openharmony|win32)-([a-z0-9]+)(?:-(\w+))?$/.exec(name);
  if (match === null) throw new Error(`${name}: no platform can be read from this name`);
  const [, os = '', cpu = '', abi = ''] = match;
  const libc = abi.startsWith('musl') ? ['musl'] : abi.startsWith('gnu') ? ['glibc'] : undefined;
  return { cpu: [cpu], os: [os], ...(libc === undefined || os !== 'linux' ? {} : { libc }) };
}

if (import.meta.main) {
  const lock = JSON.parse(readFileSync(LOCK, 'utf8')) as Lock;
  const all = Object.entries({ ...lock.packages, ...missingEntries(lock) });
  const packages = Object.fromEntries(all.sort(([a], [b]) => a.localeCompare(b, 'en')));
  writeFileSync(LOCK, `${JSON.stringify({ ...lock, packages }, null, 2)}\n`);
}
