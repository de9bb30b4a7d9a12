/**
 * What a schema cannot say about one rule: keys that need one another, the CA, the trust anchors, and names that mean
 * nothing where the rule uses them. Upholds: threat 36 (intercept without a CA is an error, never a tunnel).
 */
import { X509Certificate } from 'node:crypto';
import type { Condition } from './cel-check.ts';
import { nearest } from './problem.ts';
import type { RuleInput } from './schema.ts';

/** What the checks need to know beside the rule itself. */
export interface Surroundings {
  readonly caLoaded: boolean;
  /** File name to PEM text. */
  readonly anchors: ReadonlyMap<string, string>;
}

export interface Finding {
  readonly severity: 'error' | 'warning';
  /** Below the rule, as in ['egress', 'mode']. */
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly fix: string;
}

export function checkRule(rule: RuleInput, surroundings: Surroundings): readonly Finding[] {
  if (rule.action === 'block') return rule.egress === undefined ? [] : [EGRESS_ON_BLOCK];
  if (rule.egress === undefined) return [];
  return [...checkMode(rule.egress, surroundings), ...checkAnchors(rule.egress, surroundings)];
}

/** What a condition may not say, or says in vain, in this rule. */
export function checkUses(rule: RuleInput, condition: Condition): readonly Finding[] {
  const findings: Finding[] = [];
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

type Egress = NonNullable<RuleInput['egress']>;

const EGRESS_ON_BLOCK: Finding = {
  severity: 'error',
  path: ['egress'],
  message: 'egress is only for action: allow',
  fix: 'remove egress, or write action: allow',
};

function checkMode(egress: Egress, { caLoaded }: Surroundings): readonly Finding[] {
  const findings: Finding[] = [];
  if (egress.mode === 'intercept' && !caLoaded) {
    const fix = 'make a CA with `outcall ca init`, then start outcalld with --ca-cert and --ca-key';
    findings.push({
      severity: 'error',
      path: ['egress', 'mode'],
      message: 'mode: intercept needs a CA, and no CA is loaded',
      fix,
    });
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
    findings.push({ severity: 'warning', path: ['egress', 'trust_anchors'], message, fix: 'remove trust_anchors' });
  }
  return findings;
}

function anchorFault(name: string, anchors: ReadonlyMap<string, string>): { message: string; fix: string } | undefined {
  const pem = anchors.get(name);
  if (pem === undefined) {
    const near = nearest(name, anchors.keys());
    return {
      message: `there is no file ${name} beside the rules`,
      fix: near ?? `put ${name} into the folder of the rules`,
    };
  }
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const fix = `put one or more certificates into ${name}, in PEM`;
  if (blocks.length === 0) return { message: `${name} holds no PEM certificate`, fix };
  return blocks.every(isCertificate) ? undefined : { message: `${name} holds a certificate that cannot be read`, fix };
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
