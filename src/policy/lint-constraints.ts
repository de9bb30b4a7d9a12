/**
 * Warnings about rules that ask for leaves that the CA's own name constraints do not let it sign: the signer refuses these
 * hosts (cert_gen_failed), so the rule can never decrypt them.
 */
import type { Host } from '../domain/hostname.ts';
import { isWithin, maySign, type NameConstraints } from '../domain/name-constraints.ts';
import type { RuleWarning } from './lint.ts';
import { makeRule, type RuleDraft } from './rule.ts';

/** None where the CA is not constrained. A rule about any host is not warned of: it may be meant for those that it can sign. */
export function lintConstraints(
  drafts: readonly RuleDraft[],
  constraints: NameConstraints | undefined,
): readonly RuleWarning[] {
  if (constraints === undefined) return [];
  return drafts
    .filter(({ view }) => view.mode === 'intercept')
    .flatMap((draft, order) => {
      const { scope } = makeRule(draft, order);
      if (scope === 'any') return [];
      const never = [
        ...[...scope.exact].filter((host) => !maySign(constraints, host as Host)),
        ...[...scope.below].filter((name) => !someBelow(constraints, name)).map((name) => `*.${name}`),
      ];
      return never.length === 0 ? [] : [warning(draft, never)];
    });
}

/** Whether there is any name below `name` that the CA may sign for. */
function someBelow({ permitted, excluded }: NameConstraints, name: string): boolean {
  if (excluded.some((other) => isWithin(`x.${name}`, other))) return false;
  return permitted === undefined || permitted.some((other) => isWithin(`x.${name}`, other) || isWithin(other, name));
}

function warning(draft: RuleDraft, never: readonly string[]): RuleWarning {
  return {
    draft,
    message: `the CA may not sign for ${never.join(', ')}: its name constraints do not permit it`,
    fix: 'make a CA that permits these hosts (outcall ca generate --permit-domains …), or use mode: proxy',
  };
}
