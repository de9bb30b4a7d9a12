import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { differences, readTable } from '../../../src/netfilter/inspect.ts';
import { lockLines } from '../../../src/netfilter/ruleset.ts';
import { ip, PLAN } from './plans.ts';

/** What nft 1.0.6 lists of the lock of PLAN with two grants. */
const LISTING = readFileSync(join(import.meta.dirname, 'listing.json'), 'utf8');

interface Listing {
  nftables: Record<string, Record<string, unknown>>[];
}

function listing(change: (listing: Listing) => void = () => undefined): Listing {
  const parsed = JSON.parse(LISTING) as Listing;
  change(parsed);
  return parsed;
}

function problemsAfter(change: (listing: Listing) => void): readonly string[] {
  return differences(lockLines(PLAN), readTable(listing(change)).lines);
}

function ofKind(found: Listing, kind: string, name: string): Record<string, unknown> {
  const object = found.nftables.find((each) => each[kind]?.['name'] === name)?.[kind];
  if (object === undefined) throw new Error(`no ${kind} ${name}`);
  return object;
}

describe('what the kernel lists of the lock', () => {
  it('reads as the lines that were meant', () => {
    expect(problemsAfter(() => undefined)).toEqual([]);
  });

  it('reads the same where nft knows protocols by number only, as in an image without /etc/protocols', () => {
    const unnamed = (protocol: number) =>
      JSON.parse(LISTING.replaceAll('"right": "tcp"', `"right": ${protocol}`)) as unknown;
    expect(differences(lockLines(PLAN), readTable(unnamed(6)).lines)).toEqual([]);
    expect(differences(lockLines(PLAN), readTable(unnamed(17)).lines)).not.toEqual([]);
  });

  it('reads with its grants, and how long they hold', () => {
    expect(readTable(listing()).grants).toEqual(
      [
        { address: ip('10.203.128.9'), port: 22, expiresSecs: expect.any(Number) },
        { address: ip('10.203.128.10'), port: 5432, expiresSecs: expect.any(Number) },
      ].sort((a, b) => a.address - b.address),
    );
  });

  it('counts a grant that never ends as one that is there', () => {
    const { grants } = readTable(
      listing((found) => Object.assign(ofKind(found, 'set', 'direct'), { elem: [{ concat: ['10.203.128.9', 22] }] })),
    );
    expect(grants).toEqual([{ address: ip('10.203.128.9'), port: 22, expiresSecs: 0 }]);
  });

  it.each<[string, (found: Listing) => void, string]>([
    [
      'each rule that is gone',
      (found) =>
        found.nftables.splice(
          found.nftables.findIndex((each) => 'rule' in each),
          1,
        ),
      'missing: prerouting: iifname "eth0" jump door0',
    ],
    [
      'a rule that was added',
      (found) => found.nftables.push({ rule: { chain: 'input', expr: [{ accept: null }] } }),
      'added: input: accept',
    ],
    [
      'a policy that was opened',
      (found) => Object.assign(ofKind(found, 'chain', 'forward'), { policy: 'accept' }),
      'added: chain forward: filter forward 0 policy accept',
    ],
    [
      'a chain that is hooked elsewhere',
      (found) => Object.assign(ofKind(found, 'chain', 'input'), { prio: 100 }),
      'missing: chain input: filter input 0 policy drop',
    ],
    [
      'a chain of another type',
      (found) => Object.assign(ofKind(found, 'chain', 'output'), { type: 'route' }),
      'added: chain output: filter output 0 policy drop type route',
    ],
    [
      'a set of another shape',
      (found) => Object.assign(ofKind(found, 'set', 'direct'), { timeout: 0 }),
      'added: set direct: ipv4_addr . inet_service size 16384 timeout 0 ["timeout"]',
    ],
    [
      'an object of a kind that is never ours',
      (found) => found.nftables.push({ flowtable: { name: 'fast' } }),
      'added: {"flowtable":{"name":"fast"}}',
    ],
    [
      'an expression that is never ours',
      (found) => found.nftables.push({ rule: { chain: 'input', expr: [{ dup: { addr: '198.18.0.1' } }] } }),
      'added: input: {"dup":{"addr":"198.18.0.1"}}',
    ],
  ])('differs by %s', (_what, change, problem) => {
    expect(problemsAfter(change)).toContain(problem);
  });

  it('differs where only the order differs', () => {
    const problems = problemsAfter((found) => {
      const rules = found.nftables.filter((each) => 'rule' in each);
      [rules[0]!['rule'], rules[1]!['rule']] = [rules[1]!['rule']!, rules[0]!['rule']!];
    });
    expect(problems).toEqual(['the rules stand in another order']);
  });

  it('differs by every single value of a rule', () => {
    const flat = readTable(listing()).lines;
    const paths = leaves(
      listing()
        .nftables.filter((each) => 'rule' in each)
        .map((each) => each['rule']?.['expr']),
    );
    expect(paths.length).toBeGreaterThan(100);
    for (const path of paths) {
      const changed = listing((found) => {
        const rules = found.nftables.filter((each) => 'rule' in each);
        replaceAt(rules[Number(path[0])]!['rule']!['expr'], path.slice(1));
      });
      expect([path, differences(flat, readTable(changed).lines).length > 0]).toEqual([path, true]);
    }
  });

  it('is refused where it is no listing', () => {
    for (const value of [undefined, null, 7, 'x', {}, { nftables: 7 }])
      expect(() => readTable(value)).toThrow(TypeError);
  });

  it('never passes for the lock when it is something else', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.dictionary(fc.constantFrom('rule', 'chain', 'set', 'map'), fc.constant({ expr: [] }), { minKeys: 1 }),
        ),
        (nftables) => {
          return differences(lockLines(PLAN), readTable({ nftables }).lines).length > 0;
        },
      ),
    );
  });
});

/** The paths of all values in a tree that are not trees themselves; those of null say nothing. */
function leaves(tree: unknown, path: readonly string[] = []): string[][] {
  if (tree === null || tree === undefined) return [];
  if (typeof tree !== 'object') return [[...path]];
  return Object.entries(tree).flatMap(([key, value]) => leaves(value, [...path, key]));
}

function replaceAt(tree: unknown, [key, ...rest]: readonly string[]): void {
  const holder = tree as Record<string, unknown>;
  if (key === undefined) return;
  if (rest.length > 0) replaceAt(holder[key], rest);
  else holder[key] = typeof holder[key] === 'number' ? holder[key] + 1 : `${String(holder[key])}x`;
}
