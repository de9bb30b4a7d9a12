/**
 * `outcall rules explain`: why a connection or request is decided as it is, by the rules on disk; with --flow, why a
 * recorded one was, and whether it would be today. Exit 6 where there is no record of that flow.
 */
import type { Command } from 'commander';
import type { AuditRecord } from '../domain/record.ts';
import type { Asked, Explanation, PhaseTrace } from '../policy/explain.ts';
import { askedOf, questionKey } from '../policy/replay.ts';
import type { RuleSet } from '../policy/rule-set.ts';
import { withAdminSocket } from './admin-socket-option.ts';
import { type AskedOptions, askedByOptions, withAskedOptions } from './asked-options.ts';
import { explanationText, verdictText } from './explanation-text.ts';
import { CliError, type CliIo, EXIT_NOT_FOUND } from './io.ts';
import { recordLine } from './record-line.ts';
import { readRecords } from './records-input.ts';
import { loadRuleSet, rulesPaths } from './rules-source.ts';

interface ExplainOptions extends AskedOptions {
  readonly adminSocket: string;
  readonly flow?: string;
  readonly records?: string;
  readonly json: boolean;
}

export function addRulesExplain(rules: Command, io: CliIo): void {
  withAdminSocket(withAskedOptions(rules.command('explain')))
    .description('why something is allowed or blocked: every rule considered, and what each part of it came to')
    .argument('[path...]', 'rule files, or folders of them (default: those of outcalld)')
    .option('--flow <id>', 'explain what is recorded of this flow')
    .option('--records <file>', 'where --flow looks: a file of records, or - (default: outcalld)')
    .option('--json', 'one JSON object', false)
    .action((paths: readonly string[], options: ExplainOptions) => explain(io, paths, options));
}

async function explain(io: CliIo, paths: readonly string[], options: ExplainOptions): Promise<void> {
  const asked = options.flow === undefined ? askedByOptions(options) : undefined;
  const rules = await loadRuleSet(io, await rulesPaths(paths, options));
  if (asked === undefined) return replay(io, rules, options.flow as string, options);
  const explanation = rules.explain(asked);
  io.out(options.json ? `${JSON.stringify(explanation)}\n` : explanationText(asked, explanation));
}

interface Replayed {
  readonly record: AuditRecord;
  readonly asked: Asked | undefined;
  readonly explanation: Explanation | undefined;
}

async function replay(io: CliIo, rules: RuleSet, flow: string, options: ExplainOptions): Promise<void> {
  const records = (await readRecords(io, options.records, options)).filter((record) => record.flow === flow);
  if (records.length === 0) throw new CliError(EXIT_NOT_FOUND, `there is no record of the flow ${flow}`);
  const questions = new Map(records.map((record) => [questionKey(record), record] as const));
  const replayed = [...questions.values()].map((record): Replayed => {
    const asked = askedOf(record);
    return { record, asked, explanation: asked === undefined ? undefined : rules.explain(asked) };
  });
  const shown = replayed.map(({ record, explanation }) => ({ record, explanation: explanation ?? null }));
  io.out(options.json ? `${JSON.stringify(shown)}\n` : replayed.map(replayText).join('\n'));
}

function replayText({ record, asked, explanation }: Replayed): string {
  const recorded = `recorded: ${recordLine(record, false)}\n`;
  const last = explanation?.phases.at(-1);
  if (asked === undefined || explanation === undefined || last === undefined)
    return `${recorded}the record does not hold what was asked, so it cannot be decided again\n`;
  return `${recorded}${explanationText(asked, explanation)}${comparison(record, last)}\n`;
}

/** Whether the rules that were read say today what was said then. */
function comparison({ verdict, rule, would_block, generation }: AuditRecord, now: PhaseTrace): string {
  const then = verdict === 'failed' ? 'it failed' : `${verdict} by ${rule}`;
  const same = now.verdict === verdict && now.rule === rule && now.wouldBlock === would_block;
  return same
    ? `the same as recorded, by generation ${generation}`
    : `recorded by generation ${generation}: ${then}; now: ${verdictText(now)}`;
}
