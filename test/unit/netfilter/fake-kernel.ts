/** A kernel in memory: it holds what listing.json holds, and the grants that it is given; each may be made to fail. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Ipv4Range } from '../../../src/domain/ipv4-range.ts';
import type { Kernel } from '../../../src/netfilter/kernel.ts';
import { LockFailure } from '../../../src/netfilter/lock-failure.ts';

export class FakeKernel implements Kernel {
  readonly applied: string[] = [];
  table: 'ours' | 'gone' | 'changed' = 'gone';
  readonly routed = new Set<string>();
  /** `address . port` each. */
  readonly grants = new Set<string>();
  #set = '';
  failWith: string | undefined;
  /** Settles before the next text is applied. */
  hold: Promise<void> | undefined;

  async apply(text: string): Promise<void> {
    await this.hold;
    if (this.failWith !== undefined) throw new LockFailure(this.failWith);
    this.applied.push(text);
    if (text.startsWith('table')) {
      this.#set = text;
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
    const listing = this.#listing();
    if (this.table === 'changed') listing.nftables.pop();
    for (const { set } of listing.nftables) if (set !== undefined) set.elem = [...this.grants].map(elementOf);
    return listing;
  }

  /** Of the plan of the listing, or of that one without its network of one agent or with another interface. */
  #listing(): Listing {
    const shared = /iifname "([a-z0-9]+)" jump door0/.exec(this.#set)?.[1] ?? 'eth0';
    const text = readFileSync(join(import.meta.dirname, 'listing.json'), 'utf8').replaceAll('"eth0"', `"${shared}"`);
    const listing = JSON.parse(text) as Listing;
    if (this.#set.includes('"eth2"')) return listing;
    return { nftables: listing.nftables.filter((object) => !/"(eth2|door1|agents1)"/.test(JSON.stringify(object))) };
  }

  async routePool({ cidr }: Ipv4Range): Promise<void> {
    this.routed.add(cidr);
  }

  async unroutePool({ cidr }: Ipv4Range): Promise<void> {
    this.routed.delete(cidr);
  }

  async localRoutes(): Promise<readonly string[]> {
    return [...this.routed];
  }
}

interface Listing {
  readonly nftables: { set?: { elem?: unknown } }[];
}

function elementOf(grant: string): unknown {
  const [address, port] = grant.split(' . ');
  return { elem: { val: { concat: [address, Number(port)] }, expires: 599 } };
}
