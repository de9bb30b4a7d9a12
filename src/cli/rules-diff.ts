/**
 * `outcall rules diff OLD NEW [RECORDS]`: what other rules would have made of recorded traffic. Exit 0 where nothing would
 * change, 3 where something would or may, 1 where it cannot be done.
 */
import type { Command } from 'commander';
import { type Answered, diffRules, type RulesDiff } from '../policy/rules-diff.ts';
import { withAdminSocket } from './admin-socket-option.ts';
import { verdictText } from './explanation-text.ts';
import { CliError, type CliIo, EXIT_DIFFERENT } from './io.ts';
import { printable, whereText } from './record-line.ts';
import { readRecords } from './records-input.ts';
import { loadRuleSet } from './rules-source.ts';

interface DiffOptions {
  readonly adminSocket: string;
  readonly json: boolean;
}

export function addRulesDiff(rules: Command, io: CliIo): void {
  withAdminSocket(rules.command('diff'))
    .description('what other rules would have made of recorded traffic; exit 3 where something would change')
    .argument('<old>', 'a rule file or folder')
    .argument('<new>', 'another')
    .argument('[records]', 'a file of audit records, or - for standard input (default: those of outcalld)')
    .option('--json', 'one JSON object', false)
    .action((before: string, after: string, records: string | undefined, options: DiffOptions) =>
      diff(io, { before, after, records }, options),
    );
}

interface Given {
  readonly before: string;
  readonly after: string;
  readonly records: string | undefined;
}

async function diff(io: CliIo, given: Given, options: DiffOptions): Promise<void> {
  const [before, after] = [await loadRuleSet(io, [given.before]), await loadRuleSet(io, [given.after])];
  const found = diffRules(before, after, await readRecords(io, given.records, options));
  io.out(options.json ? `${JSON.stringify(diffJson(found))}\n` : diffText(found));
  if (found.changed.length + found.unclear.length > 0) throw new CliError(EXIT_DIFFERENT, '');
}

function diffText({ changed, unclear, same, unreadable }: RulesDiff): string {
  const unread =
    unreadable === 0 ? '' : `; ${unreadable} ${unreadable === 1 ? 'record does' : 'records do'} not say what was asked`;
  const summary = `${changed.length} would change, ${unclear.length} may change, ${same} would not${unread}\n`;
  return `${changed.map(answeredText).join('')}${unclear.map(answeredText).join('')}${summary}`;
}

function answeredText({ record, records, before, after }: Answered): string {
  const what = printable(`${record.method ?? 'CONNECT'} ${whereText(record)}`);
  const who = printable(record.agent === '' ? record.agent_ip : record.agent);
  const turn = `${before.verdict} -> ${after.verdict}`;
  return `${turn}  ${what}  (${who}, ${records} ${records === 1 ? 'record' : 'records'})\n  old: ${verdictText(before)}\n  new: ${verdictText(after)}\n`;
}

function diffJson({ changed, unclear, same, unreadable }: RulesDiff): object {
  const view = ({ record, records, before, after }: Answered) => ({
    record,
    records,
    old: answerOf(before),
    new: answerOf(after),
  });
  return { changed: changed.map(view), unclear: unclear.map(view), same, unreadable };
}

function answerOf({ verdict, rule, mode, reason, phase }: Answered['before']): object {
  return { verdict, rule, mode, reason, phase };
}
