/**
 * What a schema cannot say about one rule: keys that need one another, the CA, the trust anchors, and names that mean
 * nothing where the rule uses them. Upholds: threat 36 (intercept without a CA is an error, never a tunnel).
 */
import { anchorFault } from './anchors.ts';
import type { Condition } from './cel-check.ts';
import type { Finding } from './finding.ts';
import { CERTIFICATE_NAMES, HELLO_NAMES } from './names.ts';
import type { RuleInput } from './schema.ts';
import { checkTls } from './tls-checks.ts';

/** What the checks need to know beside the rule itself. */
export interface Surroundings {
  readonly caLoaded: boolean;
  /** File name to PEM text. */
  readonly anchors: ReadonlyMap<string, string>;
}

export function checkRule(rule: RuleInput, surroundings: Surroundings): readonly Finding[] {
  if (rule.action === 'block') return rule.egress === undefined ? [] : [EGRESS_ON_BLOCK];
  return [
    ...(rule.egress === undefined ? [] : checkMode(rule.egress, surroundings)),
    ...(rule.egress === undefined ? [] : checkAnchors(rule.egress, surroundings)),
    ...checkEnforcement(rule),
  ];
}

/** What a condition may not say, or says in vain, in this rule. */
export function checkUses(rule: RuleInput, condition: Condition, anchors: Surroundings['anchors']): readonly Finding[] {
  const findings: Finding[] = [...checkTlsNames(rule, condition)];
  const readsCertificate = condition.uses.values().some((name) => CERTIFICATE_NAMES.has(name));
  if (rule.egress !== undefined && rule.action === 'allow') {
    findings.push(...checkTls(rule.egress, anchors, readsCertificate));
  }
  const path = ['condition'];
  if (rule.action === 'block' && condition.uses.has('network.ip')) {
    const message = 'network.ip in a block rule: the address is not known when rules are decided, only the name';
    findings.push({
      severity: 'error',
      path,
      message,
      fix: 'block by http.host; private addresses are refused without a rule',
    });
  }
  const readsBody = condition.uses.has('http.body') || condition.uses.has('http.json');
  if (rule.action === 'allow' && readsBody && rule.egress?.match_body !== true) {
    const message = 'http.body and http.json are always null without egress.match_body';
    findings.push({ severity: 'warning', path, message, fix: 'egress: { mode: intercept, match_body: true }' });
  }
  return findings;
}

/** Names that nobody fills in a rule of this mode would make its condition an error for ever. */
function checkTlsNames(rule: RuleInput, { uses }: Condition): readonly Finding[] {
  const mode = rule.action === 'block' ? undefined : (rule.egress?.mode ?? 'proxy');
  const certificate = uses.values().find((name) => CERTIFICATE_NAMES.has(name));
  const hello = uses.values().find((name) => HELLO_NAMES.has(name));
  const name = mode === 'direct_ip' ? (certificate ?? hello) : mode === 'intercept' ? certificate : undefined;
  if (name === undefined) return [];
  const why =
    mode === 'direct_ip' ? 'what is relayed under direct_ip is not read' : 'a rule that decrypts does not see it';
  return [{ severity: 'error', path: ['condition'], message: `${name}: ${why}`, fix: 'use mode: proxy' }];
}

/** An allow rule blocks by its response condition and by `tls13_uninspectable: deny`, and by nothing else. */
function checkEnforcement({ enforcement, egress }: RuleInput): readonly Finding[] {
  const blocks = egress?.response !== undefined || egress?.tls?.tls13_uninspectable === 'deny';
  if (enforcement !== 'audit' || blocks) return [];
  const message = 'enforcement: audit has no effect here: an allow rule without egress.response blocks nothing';
  return [{ severity: 'warning', path: ['enforcement'], message, fix: 'remove it, or set it on the block rule' }];
}

type Egress = NonNullable<RuleInput['egress']>;

const EGRESS_ON_BLOCK: Finding = {
  severity: 'error',
  path: ['egress'],
  message: 'egress is only for action: allow',
  fix: 'remove egress, or write action: allow',
};

/** What to say of a setting that takes interception where there is no CA. */
export function needsCa(setting: string): { readonly message: string; readonly fix: string } {
  return {
    message: `${setting} needs a CA, and no CA is loaded`,
    fix: 'make a CA with `outcall ca init --out DIR`, then start outcalld with --ca-dir DIR, or --ca-cert and --ca-key',
  };
}

function checkMode(egress: Egress, { caLoaded }: Surroundings): readonly Finding[] {
  const findings: Finding[] = [];
  if (egress.mode === 'intercept' && !caLoaded) {
    findings.push({ severity: 'error', path: ['egress', 'mode'], ...needsCa('mode: intercept') });
  }
  if (egress.match_body && egress.mode !== 'intercept') {
    const message = 'match_body is only for mode: intercept';
    findings.push({
      severity: 'error',
      path: ['egress', 'match_body'],
      message,
      fix: 'mode: intercept, or remove match_body',
    });
  }
  if (egress.response !== undefined && egress.mode !== 'intercept') {
    const message = 'response is only for mode: intercept';
    const fix = 'mode: intercept, or remove response';
    findings.push({ severity: 'error', path: ['egress', 'response'], message, fix });
  }
  if (egress.mode === 'direct_ip' && egress.ports === undefined) {
    const message = 'mode: direct_ip must list its ports';
    findings.push({ severity: 'error', path: ['egress', 'mode'], message, fix: 'add ports: [22]' });
  }
  return findings;
}

function checkAnchors(egress: Egress, { anchors }: Surroundings): readonly Finding[] {
  const findings: Finding[] = [];
  for (const [i, name] of (egress.trust_anchors ?? []).entries()) {
    const fault = anchorFault(name, anchors);
    if (fault !== undefined) findings.push({ severity: 'error', path: ['egress', 'trust_anchors', i], ...fault });
  }
  if (egress.trust_anchors !== undefined && egress.mode !== 'intercept') {
    const message = 'trust_anchors have no effect without mode: intercept; a tunnel is verified by the client';
    findings.push({
      severity: 'warning',
      path: ['egress', 'trust_anchors'],
      message,
      fix: 'tls: { trust_anchors: […] } has the tunnel verified, or remove it',
    });
  }
  return findings;
}
