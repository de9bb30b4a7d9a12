/** A kernel in memory: it holds what listing.json holds, and the grants that it is given; each may be made to fail. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Kernel } from '../../../src/netfilter/kernel.ts';
import { LockFailure } from '../../../src/netfilter/lock-failure.ts';

export class FakeKernel implements Kernel {
  readonly applied: string[] = [];
  table: 'ours' | 'gone' | 'changed' = 'gone';
  routed = false;
  /** `address . port` each. */
  readonly grants = new Set<string>();
  failWith: string | undefined;
  /** Settles before the next text is applied. */
  hold: Promise<void> | undefined;

  async apply(text: string): Promise<void> {
    await this.hold;
    if (this.failWith !== undefined) throw new LockFailure(this.failWith);
    this.applied.push(text);
    if (text.startsWith('table')) {
      this.table = 'ours';
      this.grants.clear();
    }
    for (const [, verb, list] of text.matchAll(/^(add|delete) element inet outcall direct \{ (.*) \}$/gm)) {
      for (const grant of list?.split(', ') ?? []) verb === 'add' ? this.grants.add(grant) : this.grants.delete(grant);
    }
  }

  async listTable(): Promise<unknown> {
    if (this.failWith !== undefined) throw new LockFailure(this.failWith);
    if (this.table === 'gone') return undefined;
    const listing = JSON.parse(readFileSync(join(import.meta.dirname, 'listing.json'), 'utf8')) as Listing;
    if (this.table === 'changed') listing.nftables.pop();
    for (const { set } of listing.nftables) if (set !== undefined) set.elem = [...this.grants].map(elementOf);
    return listing;
  }

  async routePool(): Promise<void> {
    this.routed = true;
  }

  async hasPoolRoute(): Promise<boolean> {
    return this.routed;
  }
}

interface Listing {
  readonly nftables: { set?: { elem?: unknown } }[];
}

function elementOf(grant: string): unknown {
  const [address, port] = grant.split(' . ');
  return { elem: { val: { concat: [address, Number(port)] }, expires: 599 } };
}
