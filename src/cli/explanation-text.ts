/** An explanation for people: each phase, under it the rules in their order, under each the parts of its condition. */
import { hostInUrl } from '../domain/hostname.ts';
import type { Asked, Explanation, PhaseTrace, RuleTrace } from '../policy/explain.ts';
import type { PartTrace } from '../policy/explain-parts.ts';

const VALUE_CHARS = 'unknown'.length;
const MAX_SOURCE_CHARS = 60;

export function explanationText(asked: Asked, { phases }: Pick<Explanation, 'phases'>): string {
  return phases.map((phase) => phaseText(asked, phase)).join('\n');
}

/** `allow by messages-only (intercept)`, `block by default: no rule allows this request`. */
export function verdictText({ verdict, rule, mode, reason, wouldBlock }: PhaseTrace): string {
  if (verdict === 'unknown') return `cannot be told from this: ${reason} (rule ${rule})`;
  const audit = wouldBlock === null ? '' : `; in audit, would be blocked by ${wouldBlock}`;
  return `${verdict} by ${rule}${mode === null ? '' : ` (${mode})`}${reason === null ? '' : `: ${reason}`}${audit}`;
}

function phaseText(asked: Asked, phase: PhaseTrace): string {
  const rules = phase.rules.map(ruleText).join('');
  const others = phase.elsewhere === 0 ? '' : `  ${phase.elsewhere} more: about other hosts\n`;
  return `${questionText(asked, phase.phase)}\n${rules}${others}  => ${verdictText(phase)}\n`;
}

function questionText({ host, port, recordType, request, response }: Asked, phase: PhaseTrace['phase']): string {
  const authority = `${hostInUrl(host)}${port === undefined ? '' : `:${port}`}`;
  switch (phase) {
    case 'dns':
      return `DNS ${recordType} ${host}`;
    case 'connect':
      return `CONNECT ${authority}`;
    case 'hello':
      return `TLS ClientHello for ${authority}`;
    case 'certificate':
      return `TLS certificate of ${authority}`;
    case 'response':
      return `${response?.status} from ${authority}`;
    case 'request': {
      const usual = port === (request?.scheme === 'http' ? 80 : 443);
      return `${request?.method} ${request?.scheme}://${usual ? hostInUrl(host) : authority}${request?.target}`;
    }
  }
}

function ruleText(rule: RuleTrace): string {
  const kind = rule.mode === null ? rule.action : `${rule.action} ${rule.mode}`;
  const outcome = rule.outcome === 'error' ? `error: ${rule.error}` : OUTCOMES[rule.outcome];
  const width = Math.min(
    MAX_SOURCE_CHARS,
    Math.max(0, ...rule.parts.map(({ source, depth }) => source.length + 2 * depth)),
  );
  const head = `  ${rule.id} (${kind}, ${rule.file}:${rule.line}): ${outcome}${rule.decides ? ' <= decides' : ''}\n`;
  return head + rule.parts.map((part) => partText(part, width)).join('');
}

const OUTCOMES = {
  true: 'matches',
  false: 'does not match',
  unknown: 'may match',
  skipped: 'is for other ports, or not for this phase',
} as const;

function partText({ source, value, depth, operands }: PartTrace, width: number): string {
  // What is true says by itself what it compares.
  const telling = value === 'true' ? [] : operands.filter((operand) => operand.value !== 'unknown');
  const values = telling.map((operand) => `${operand.source} is ${operand.value}`).join(', ');
  const left = `${'  '.repeat(depth)}${source}`.padEnd(width);
  return `      ${left}  ${value.padEnd(VALUE_CHARS)}  ${values}`.trimEnd().concat('\n');
}
