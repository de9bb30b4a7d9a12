/**
 * Finds the rules that can be about a host, in rule order, at a cost that does not grow with the number of rules.
 * The linear scan is the same answer without the index; one contract suite holds the two equal.
 */
import { parents } from './host-scope.ts';
import type { Rule } from './rule.ts';

export interface RuleFinder {
  /** Every rule that may match this host, and no order but that of the rules. */
  candidates(host: string): readonly Rule[];
}

/** Merged lists kept by host; the agents choose the hosts, so it is emptied when full rather than grown. */
const MAX_CACHED_HOSTS = 4_096;

export class HostIndex implements RuleFinder {
  readonly #exact = new Map<string, Rule[]>();
  readonly #below = new Map<string, Rule[]>();
  readonly #always: Rule[] = [];
  readonly #cache = new Map<string, readonly Rule[]>();

  /** Takes the rules in their order. */
  constructor(rules: readonly Rule[]) {
    for (const rule of rules) {
      if (rule.scope === 'any') {
        this.#always.push(rule);
      } else {
        for (const host of rule.scope.exact) append(this.#exact, host, rule);
        for (const name of rule.scope.below) append(this.#below, name, rule);
      }
    }
  }

  candidates(host: string): readonly Rule[] {
    const cached = this.#cache.get(host);
    if (cached !== undefined) return cached;
    const lists = [this.#always, this.#exact.get(host) ?? []];
    for (const parent of parents(host)) lists.push(this.#below.get(parent) ?? []);
    const found = [...new Set(lists.flat())].sort((a, b) => a.order - b.order);
    if (this.#cache.size >= MAX_CACHED_HOSTS) this.#cache.clear();
    this.#cache.set(host, found);
    return found;
  }
}

export class LinearScan implements RuleFinder {
  readonly #rules: readonly Rule[];

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  candidates(): readonly Rule[] {
    return this.#rules;
  }
}

function append(map: Map<string, Rule[]>, key: string, rule: Rule): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [rule]);
  else list.push(rule);
}
