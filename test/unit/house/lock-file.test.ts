import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Lock, missingEntries } from '../../../scripts/complete-lock.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');

describe('package-lock.json', () => {
  const lock = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as Lock;
  const packages = Object.entries(lock.packages).filter(([name]) => name !== '');

  it('names no address that a package came from', () => {
    expect(packages.filter(([, entry]) => entry['resolved'] !== undefined)).toEqual([]);
  });

  it('pins every package by its hash, but for optional ones of platforms that the registry did not have', () => {
    expect(packages.length).toBeGreaterThan(0);
    const unpinned = packages.filter(([, entry]) => entry.integrity === undefined && entry['optional'] !== true);
    expect(unpinned.map(([name]) => name)).toEqual([]);
  });

  it('has an entry for every optional package, without which npm ci refuses it: npm run lock', () => {
    expect(Object.keys(missingEntries(lock))).toEqual([]);
    const { '': root = {}, ...rest } = lock.packages;
    const gone = packages.find(([, entry]) => entry['optional'] === true)?.[0] ?? '';
    const { [gone]: _, ...without } = rest;
    expect(Object.keys(missingEntries({ packages: { '': root, ...without } }))).toEqual([gone]);
  });
});

describe('package.json', () => {
  it('pins every version exactly', () => {
    const manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as Record<string, unknown>;
    const kinds = ['dependencies', 'devDependencies', 'optionalDependencies'];
    const versions = kinds.flatMap((kind) => Object.entries((manifest[kind] ?? {}) as Record<string, string>));
    expect(versions.length).toBeGreaterThan(0);
    expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });
});
