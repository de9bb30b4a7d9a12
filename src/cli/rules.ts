/** `outcall rules`: the group; each command is a file of its own. */
import type { Command } from 'commander';
import type { CliIo } from './io.ts';
import { addRulesCheck } from './rules-check.ts';
import { addRulesDiff } from './rules-diff.ts';
import { addRulesExplain } from './rules-explain.ts';
import { addRulesList } from './rules-list.ts';
import { addRulesReload } from './rules-reload.ts';
import { addRulesSchema } from './rules-schema.ts';
import { addRulesSuggest } from './rules-suggest.ts';
import { addRulesTest } from './rules-test.ts';

export function addRulesCommands(program: Command, io: CliIo): void {
  const rules = program
    .command('rules')
    .description('check, test, explain, compare, suggest, list and reload the rules');
  addRulesCheck(rules, io);
  addRulesDiff(rules, io);
  addRulesExplain(rules, io);
  addRulesList(rules, io);
  addRulesReload(rules, io);
  addRulesSchema(rules, io);
  addRulesSuggest(rules, io);
  addRulesTest(rules, io);
}
