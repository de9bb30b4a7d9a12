/**
 * The rule set in force, and how another comes into force: read, compile, hand to every process, wait until all have it.
 * A set with any error is reported whole and changes nothing (threats row 27). Reloads go one after the other.
 */

import type { Log } from '../audit/log.ts';
import { type RulesFiles, readRulesFiles } from '../config/rules-files.ts';
import type { NameConstraints } from '../domain/name-constraints.ts';
import type { Enforcement } from '../domain/verdict.ts';
import { loadRules } from '../policy/load.ts';
import { formatProblem, type Problem } from '../policy/problem.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import type { RulesPayload } from './messages.ts';

export interface RulesInForce {
  readonly payload: RulesPayload;
  readonly rules: RuleSet;
  readonly warnings: readonly Problem[];
  readonly loadedAt: Date;
}

export type ReloadOutcome =
  | { readonly ok: true; readonly inForce: RulesInForce }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface RulesKeeperOptions {
  readonly path: string;
  /** Whether there is a CA now, and what bounds it. */
  ca(): { readonly loaded: boolean; readonly constraints: NameConstraints | undefined };
  readonly enforcement: Enforcement;
  readonly log: Log;
  /** Resolves when every process has taken the set. */
  distribute(payload: RulesPayload): Promise<void>;
  /** The set is in force; resolves when what follows from it has been done. */
  taken(rules: RuleSet): Promise<void>;
}

export class RulesKeeper {
  readonly #options: RulesKeeperOptions;
  #inForce: RulesInForce | undefined;
  /** What was last tried, good or bad, so that a look at unchanged files does nothing. */
  #lastTried: string | undefined;
  #problems: readonly Problem[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: RulesKeeperOptions) {
    this.#options = options;
  }

  get inForce(): RulesInForce | undefined {
    return this.#inForce;
  }

  /** Why the files as they are now are not in force; empty when they are. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Reads and takes what is on disk. `force` false: only when it differs from what was tried last. Never rejects. */
  reload(force: boolean): Promise<ReloadOutcome> {
    const done = this.#queue.then(() => this.#reload(force));
    this.#queue = done;
    return done;
  }

  async #reload(force: boolean): Promise<ReloadOutcome> {
    const files = await readRulesFiles(this.#options.path);
    const tried = JSON.stringify([files.sources, [...files.anchors], files.problems]);
    const known = this.#inForce;
    if (!force && tried === this.#lastTried && known !== undefined) {
      return this.#problems.length > 0 ? { ok: false, problems: this.#problems } : { ok: true, inForce: known };
    }
    this.#lastTried = tried;
    return this.#take(files, (known?.payload.generation ?? 0) + 1);
  }

  async #take(files: RulesFiles, generation: number): Promise<ReloadOutcome> {
    const { enforcement, log } = this.#options;
    const { loaded: caLoaded, constraints } = this.#options.ca();
    const { sources, anchors } = files;
    if (sources.length === 0 && files.problems.length > 0) return this.#refuse(files.problems);
    const loaded = loadRules(sources, { caLoaded, enforcement, generation, anchors, constraints });
    if (!loaded.ok) return this.#refuse([...files.problems, ...loaded.problems]);
    if (files.problems.length > 0) return this.#refuse(files.problems);
    const inForce = {
      payload: { generation, caLoaded, enforcement, sources, anchors },
      rules: loaded.rules,
      warnings: loaded.warnings,
      loadedAt: new Date(),
    };
    for (const warning of loaded.warnings)
      log.warn({ event: 'rules_warning', problem: warning }, formatProblem(warning));
    await this.#options.distribute(inForce.payload);
    this.#inForce = inForce;
    this.#problems = [];
    await this.#options.taken(loaded.rules);
    log.info({ event: 'rules_loaded', generation, rules: loaded.rules.rules.length }, 'the rule set is in force');
    this.#sayAudit(loaded.rules);
    return { ok: true, inForce };
  }

  /** As loud as it can be: nobody may take a set in audit for one that blocks. */
  #sayAudit({ enforcement, rules, generation }: RuleSet): void {
    const audited = rules.filter((rule) => rule.enforcement === 'audit').length;
    const fields = { event: 'audit_mode', enforcement, rules_in_audit: audited, generation };
    if (enforcement === 'audit') {
      this.#options.log.warn(
        fields,
        'AUDIT: what no rule allows is let through and recorded; nothing is blocked by default',
      );
    } else if (audited > 0) {
      this.#options.log.warn(
        fields,
        `AUDIT: ${audited} of ${rules.length} rules do not block; what they would is recorded`,
      );
    }
  }

  #refuse(problems: readonly Problem[]): ReloadOutcome {
    this.#problems = problems;
    const generation = this.#inForce?.payload.generation;
    if (generation !== undefined) {
      const errors = problems.filter(({ severity }) => severity === 'error').length;
      this.#options.log.error(
        { event: 'rules_refused', generation, problems },
        `${errors} errors in the rules; generation ${generation} stays in force`,
      );
    }
    return { ok: false, problems };
  }
}
