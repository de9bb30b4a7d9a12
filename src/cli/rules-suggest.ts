/** `outcall rules suggest [RECORDS]`: the least rules that allow what was recorded, as a rule file on standard output. */
import type { Command } from 'commander';
import { suggestRules } from '../policy/suggest.ts';
import { withAdminSocket } from './admin-socket-option.ts';
import { CliError, type CliIo, EXIT_FAILURE } from './io.ts';
import { readRecords } from './records-input.ts';

interface SuggestOptions {
  readonly adminSocket: string;
  readonly agent?: string;
  readonly missing: boolean;
}

export function addRulesSuggest(rules: Command, io: CliIo): void {
  withAdminSocket(rules.command('suggest'))
    .description('the least rules that allow what was recorded, with the evidence for each; see to lines marked CHECK')
    .argument('[records]', 'a file of audit records, or - for standard input (default: those of outcalld)')
    .option('--agent <name>', 'from what this agent did (name or address), and for it alone')
    .option('--missing', 'only what the rules in force during an audit run would have blocked', false)
    .action((records: string | undefined, options: SuggestOptions) => suggest(io, records, options));
}

async function suggest(io: CliIo, source: string | undefined, options: SuggestOptions): Promise<void> {
  const records = await readRecords(io, source, options);
  const { agent, missing } = options;
  const { text, rules, flagged } = suggestRules(records, { missing, ...(agent === undefined ? {} : { agent }) });
  if (rules === 0)
    throw new CliError(EXIT_FAILURE, 'nothing in these records was let through, so there is nothing to allow');
  io.out(text);
  io.err(`${rules} ${rules === 1 ? 'rule' : 'rules'}, ${flagged} with something to check\n`);
}
